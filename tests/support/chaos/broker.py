"""A real nats-server outside of the app, which can be killed, frozen and filled up. Same port and same store over restarts."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from pathlib import Path

from motia_runtime.nats import binary
from support.waiting import wait_for

READY = 20.0  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """`store` may be on a file system of its own; `max_file` bounds what JetStream takes of it, in bytes."""

    def __init__(self, folder: Path, *, store: Path | None = None, max_file: int = 4 << 30) -> None:
        self.port = free_port()
        self.store = store or folder / "store"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.conf").write_text(
            "\n".join(
                [
                    f'listen: "127.0.0.1:{self.port}"',
                    f"log_file: {json.dumps(str(folder / 'server.log'))}",
                    f"jetstream {{ store_dir: {json.dumps(str(self.store))}, max_mem: 64MB, "
                    f'max_file: {max_file}, sync_interval: "100ms" }}',
                ]
            )
        )

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with (self._folder / "server.out").open("ab") as out:
            self._process = subprocess.Popen(
                [binary.find(), "-c", self._folder / "server.conf"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers, f"nats-server does not answer: {self.last_words()}", READY)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            return connection.recv(5) == b"INFO "
        return False

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator would, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join((self._folder / "server.log").read_text(errors="replace").splitlines()[-5:])
        return "it wrote no log"
