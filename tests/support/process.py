"""A real `motia` process: started, talked to, killed, stopped. Never left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

READY = 30.0  # seconds an app may take to answer
_URL = re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\]):\d+")


class AppProcess:
    """`motia dev` or `motia start` in a folder. `url` is its API, read from what it printed."""

    def __init__(self, folder: Path, command: str, args: tuple[str, ...], env: dict[str, str]) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.url = ""
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "motia_runtime", command, "--port", "0", *args],
            cwd=folder,
            env=clean_environ() | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                found = _URL.search(line)
                if found and not self.url:
                    self.url = found[0]
                self._heard.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, timeout: float = READY, *, after: int = 0) -> str:
        """The first line with `text` in it, from line number `after` on."""
        deadline = time.monotonic() + timeout
        with self._heard:
            while True:
                for line in self.lines[after:]:
                    if text in line:
                        return line
                ended = self.process.poll() is not None and not self._reader.is_alive()
                left = deadline - time.monotonic()
                if left <= 0 or ended:
                    why = f"ended with {self.process.returncode}" if ended else f"not within {timeout:g} s"
                    raise AssertionError(f"no line with {text!r}: {why}\n{self.output}")
                self._heard.wait(min(left, 0.2))

    def wait_ready(self) -> None:
        import httpx

        deadline = time.monotonic() + READY
        while True:
            if self.url:
                try:
                    if httpx.get(self.url + "/readyz", timeout=1).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the app did not get ready (exit code {self.process.poll()})\n{self.output}")
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the app did not stop within {timeout:g} s of SIGTERM\n{self.output}") from None
        self._reader.join(5)
        return self.process.returncode


def clean_environ() -> dict[str, str]:
    """The environment without what would change an app's behaviour."""
    return {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("NATS_", "MOTIA_")) and k not in ("PORT", "FORCE_COLOR")
    } | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def running_app(
    folder: Path, command: str = "start", *args: str, env: dict[str, str] | None = None, ready: bool = True
) -> Iterator[AppProcess]:
    """The app, ready unless it may die before that; stopped or killed at the end of the block."""
    app = AppProcess(folder, command, args, env or {})
    try:
        if ready:
            app.wait_ready()
        yield app
    finally:
        if app.process.poll() is None:
            app.process.send_signal(signal.SIGTERM)
            try:
                app.process.wait(10)
            except subprocess.TimeoutExpired:
                app.kill()
        if app.process.stdout is not None:
            app._reader.join(5)
            app.process.stdout.close()


def motia(
    folder: Path, *args: str, env: dict[str, str] | None = None, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A `motia` command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "motia_runtime", *args],
        cwd=folder,
        env=clean_environ() | (env or {}),
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_project(folder: Path, spec: str, **handlers: str) -> Path:
    """motia.yaml and steps/NAME.py."""
    import textwrap

    (folder / "steps").mkdir(parents=True, exist_ok=True)
    (folder / "motia.yaml").write_text(textwrap.dedent(spec))
    for name, source in handlers.items():
        (folder / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
    return folder


def look(folder: Path, *args: str, env: dict[str, str] | None = None) -> Any:
    """What a `motia` command that only reads says with `--json`. Run in this process, since tests look often, and a process each time would take
    the processor from the app they wait for."""
    from motia_runtime.cli.root import motia as root

    wiped = {name: None for name in os.environ if name.startswith(("NATS_", "MOTIA_")) or name == "PORT"}
    done = CliRunner().invoke(root, ["-C", str(folder), *args, "--json"], env={**wiped, **(env or {})})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
