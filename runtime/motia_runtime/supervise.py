"""Several processes of one app on one machine: started, started again when they die, drained together.

The supervisor runs no user code and takes no request and no event. A worker is a `motia start` of its own that shares the port (the kernel spreads
connections over those that listen) and holds one end of a socket of which the supervisor holds the other (`tether`): the worker says
on it when it serves, and its end tells the worker that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Sequence

AGAIN = (0.1, 30.0)  # seconds before a worker that died is started again, first and longest
SETTLED = 10.0  # seconds after which a worker counts as one that runs: its next death is a first one
LATE = 2.0  # seconds beyond the grace that a worker may take to stop before it is killed

_log = logging.getLogger("motia.app")


class WorkerEnded(RuntimeError):
    """The app can't be started: its first worker ended before it served. The worker has said why; `code` is what it ended with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the first worker ended with {shown(code)} before it served; what it logged says why")
        self.code = code


class Supervisor:
    """See the module. `command`: a worker's, to which its number (from 1) and the file descriptor of its line are added. `start` and `stop` once each."""

    def __init__(self, command: Sequence[str], workers: int, *, grace: float) -> None:
        self._command = tuple(command)
        self._count = workers
        self._grace = grace
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._serving: set[int] = set()
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Until all workers serve: the first alone, so that what keeps the app from starting is said once, then the others together.
        Raises `WorkerEnded`; then none runs."""
        first = asyncio.create_task(self._keep(1))
        self._keepers.append(first)
        await self._until_serving(1)
        if first.done() and not self._stopping.is_set():
            first.result()
        self._keepers += [asyncio.create_task(self._keep(number)) for number in range(2, self._count + 1)]
        await self._until_serving(self._count)

    async def stop(self) -> bool:
        """Have all workers finish what they have begun; kill those that are not gone in time. False: there were such."""
        self._stopping.set()
        async with self._changed:
            self._changed.notify_all()
        self._tell(signal.SIGTERM)
        keepers = [keeper for keeper in self._keepers if not keeper.done()]
        late: set[asyncio.Task[None]] = set()
        if keepers:
            _, late = await asyncio.wait(keepers, timeout=self._grace + LATE)
        if late:
            numbers = ", ".join(map(str, sorted(self._running)))
            _log.error("worker %s did not stop within %g s and is killed", numbers, self._grace + LATE)
            self.kill()
            await asyncio.wait(late)
        return not late

    def kill(self) -> None:
        """End all workers at once."""
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _until_serving(self, count: int) -> None:
        def settled() -> bool:
            return len(self._serving) >= count or self._stopping.is_set() or any(k.done() for k in self._keepers)

        async with self._changed:
            await self._changed.wait_for(settled)

    async def _keep(self, number: int) -> None:
        """One worker, again and again."""
        wait, longest = AGAIN
        has_served = False
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    code = await self._run(number)
                    how = f"ended with {shown(code)}"
                except OSError as problem:  # no memory, or too many processes, at the moment
                    code, how = 1, f"could not be started ({problem})"
                has_served = has_served or number in self._serving
                self._serving.discard(number)
                if self._stopping.is_set():
                    return
                if number == 1 and not has_served:
                    raise WorkerEnded(code)
                if time.monotonic() - began > SETTLED:
                    wait = AGAIN[0]
                _log.error("worker %d %s; starting it again in %g s", number, how, wait)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
                wait = min(wait * 2, longest)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _run(self, number: int) -> int:
        """One life of a worker; its exit code."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                fd = theirs.fileno()
                process = await asyncio.create_subprocess_exec(
                    *self._command, "--worker", str(number), "--tether", str(fd),
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=(fd,),
                    start_new_session=True,  # ^C reaches the supervisor alone, which then tells them
                )  # fmt: skip
            self._running[number] = process
            if self._stopping.is_set():  # told while it was being started
                process.terminate()
            ours.setblocking(False)
            hearing = asyncio.create_task(self._hear(number, ours))
            try:
                return await process.wait()
            finally:
                del self._running[number]
                hearing.cancel()
                await asyncio.wait([hearing])

    async def _hear(self, number: int, line: socket.socket) -> None:
        try:
            told = await asyncio.get_running_loop().sock_recv(line, 1)
        except OSError:
            return  # it ended
        if told:
            self._serving.add(number)
            async with self._changed:
                self._changed.notify_all()


def shown(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
