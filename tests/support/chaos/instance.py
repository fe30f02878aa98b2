"""One instance of the app: a `motia` process with a saboteur in it, and the supervisor that starts it again whenever it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from support.chaos.broker import free_port
from support.process import clean_environ
from support.waiting import wait_for

READY = 60.0  # seconds; the machine may be busy
AGAIN = 0.2  # seconds until a dead one is started again
TESTS = Path(__file__).parents[2]


class Instance:
    """`orders`: see `entry.Orders`; `folder` holds the project, `logs` what the process said, over all of its lives."""

    def __init__(
        self, name: str, folder: Path, broker: str, logs: Path, *, command: str = "start", orders: dict[str, Any] | None = None
    ) -> None:  # fmt: skip
        self.name = name
        self.port = free_port()
        self.exits: list[int] = []  # of lives that ended while they should not have
        self._folder = folder
        self._logs = logs
        self._command = command
        self._orders = {"folder": str(logs), "name": name, **(orders or {})}
        self._environ = {"NATS_URL": broker, "CHAOS_SCRATCH": str(logs)}
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._lock = threading.Lock()
        self._supervisor: threading.Thread | None = None
        self._client = httpx.Client(timeout=1)  # made once: each takes 50 ms

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._logs / f"{self.name}.log"

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def hits(self) -> list[str]:
        """The points at which it died by its own hand."""
        path = self._logs / f"{self.name}.hits"
        return path.read_text().splitlines() if path.exists() else []

    def died_since(self, hits: int) -> bool:
        """By its own hand, after so many times before."""
        return len(self.hits) > hits

    # -- lives --

    def start(self, *, supervised: bool = True, **orders: Any) -> None:
        """`orders` are for this life only."""
        if self._supervisor is not None and not self._wanted:
            self._supervisor.join(10)
            self._supervisor = None
        with self._lock:
            self._wanted = supervised
            self._spawn(orders)
        if supervised and self._supervisor is None:
            self._supervisor = threading.Thread(target=self._supervise, name=f"chaos-{self.name}", daemon=True)
            self._supervisor.start()

    def _spawn(self, orders: dict[str, Any]) -> None:
        path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = clean_environ() | self._environ
        environ |= {"CHAOS": json.dumps(self._orders | orders), "PYTHONPATH": os.pathsep.join(path)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.chaos.entry", self._command, "--port", str(self.port)],
                cwd=self._folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _supervise(self) -> None:
        while True:
            process = self._process
            assert process is not None
            code = process.wait()
            with self._lock:
                if not self._wanted:
                    return
                if process is self._process:
                    self.exits.append(code)
            time.sleep(AGAIN)
            with self._lock:
                if not self._wanted:
                    return
                if process is self._process:
                    self._spawn({})

    def wait_ready(self) -> None:
        wait_for(self.ready, f"{self.name} did not get ready\n{self.last_words()}", READY)

    def ready(self) -> bool:
        try:
            return self._client.get(self.url + "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_dead(self, seconds: float = 30.0) -> int:
        """Its exit code; for lives without a supervisor."""
        assert self._process is not None
        return self._process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def retire(self) -> None:
        """Have nobody start it again when it dies, until `start`."""
        with self._lock:
            self._wanted = False

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def tell(self, **orders: Any) -> None:
        """Further orders for the life that runs."""
        (self._logs / f"{self.name}.arm").write_text(json.dumps(orders))
        self.signal(signal.SIGUSR2)

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM, for good; the exit code."""
        with self._lock:
            self._wanted = False
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait(10)
        if self._supervisor is not None:
            self._supervisor.join(5)
            self._supervisor = None
        self._client.close()
        return code
