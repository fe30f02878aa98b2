"""A worker process on the line of its supervisor: it tells when it serves, and goes when the supervisor is gone, however that ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

READY = b"r"
LATE = 5.0  # seconds beyond its grace that a worker may take to stop before it ends itself


class Tether:
    """The worker's end of a socket whose other end only the supervisor holds. Lives as long as the process.

    When the line breaks, the process gets SIGTERM, which drains it; a thread sees to it that it ends also when its event loop hangs. On
    Linux the kernel sends the same signal, so that a process dies that has not come to this thread yet."""

    def __init__(self, fd: int, *, grace: float) -> None:
        self._line = socket.socket(fileno=fd)
        self._line.setblocking(True)
        os.set_inheritable(fd, False)
        self._grace = grace
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG; a death before it shows on the line
        threading.Thread(target=self._hold, name="motia-tether", daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        try:
            self._line.send(READY)
        except OSError:
            return  # it is gone, and the thread has noticed

    def _hold(self) -> None:
        try:
            while self._line.recv(1):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace + LATE)
        os._exit(1)
