"""One process of the Node worker, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from typing import Any

from motia_runtime.bind import HandlerError
from motia_runtime.remote.node import PROGRAM
from motia_runtime.runlog import LINE_LENGTH
from motia_runtime.supervise import shown

START = 60.0  # seconds that a process may take to import its handlers
LATE = 3.0  # seconds beyond the grace that it may take to leave before it is killed
LONGEST = 1 << 20  # bytes of a line

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_log = logging.getLogger("motia.worker")


class WorkerFailed(RuntimeError):
    """A worker could not be started, for another reason than its handlers. The message says which."""


class Child:
    """Made by `start`: its handlers are imported, and it is connected. It serves from `serve` on, until `leave`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr)]

    @classmethod
    async def start(cls, node: str, manifest: str, environ: Mapping[str, str]) -> Child:
        """Raises `HandlerError` when a handler can't be imported, `WorkerFailed` for all else."""
        try:
            process = await asyncio.create_subprocess_exec(
                node, str(PROGRAM),
                stdin=PIPE, stdout=PIPE, stderr=PIPE, env=dict(environ), limit=LONGEST,
                start_new_session=sys.platform != "win32",  # ^C reaches us alone, who tell it to leave
            )  # fmt: skip
        except OSError as problem:
            raise WorkerFailed(f"Node can't be started: {problem}") from None
        child = cls(process)
        try:
            child._say(manifest)
            said = await asyncio.wait_for(child._hear("ready", "broken"), START)
        except TimeoutError:
            await child.kill()
            raise HandlerError(f"the Node worker did not import its handlers within {START:g} s") from None
        except BaseException:
            await child.kill()
            raise
        if "broken" in said:
            await child.kill()
            kind = HandlerError if said.get("handler") else WorkerFailed
            raise kind(str(said["broken"]))
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def serve(self) -> None:
        """From now on it takes runs."""
        self._say("serve")
        await self._hear("serving")

    async def leave(self, grace: float) -> None:
        """Let it finish for `grace` seconds what it has begun, and give back the rest."""
        self._say(f"leave {grace:g}")
        try:
            await asyncio.wait_for(self._process.wait(), grace + LATE)
        except TimeoutError:
            _log.error("the Node worker did not stop within %g s and is killed", grace + LATE)
        await self.kill()

    async def kill(self) -> None:
        """At once. Twice is harmless."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def ended(self) -> str:
        """Wait for its end; how that was, in words."""
        code = await self._process.wait()
        await asyncio.wait(self._reading, timeout=1.0)
        for task in self._reading:
            task.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return shown(code)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")

    async def _hear(self, *words: str) -> dict[str, Any]:
        """The next that it says with one of these. Raises `WorkerFailed` when it ends instead."""
        while True:
            getting = asyncio.create_task(self._said.get())
            ending = asyncio.create_task(self._process.wait())
            try:
                await asyncio.wait((getting, ending), return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    await asyncio.wait((*self._reading, getting), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    raise WorkerFailed(f"the Node worker ended with {shown(ending.result())} while it started")
                said = getting.result()
            finally:
                getting.cancel()
                ending.cancel()
            if any(word in said for word in words):
                return said

    async def _read(self, stream: asyncio.StreamReader) -> None:
        """What it says to us, and what its handlers print."""
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than any line is read
                continue
            if not line:
                return
            text = line.decode(errors="backslashreplace").rstrip("\r\n")
            if text.startswith("\x1e"):
                said = json.loads(text[1:])
                if "log" in said:
                    _log.log(_LEVELS.get(said["log"], logging.INFO), "%s", str(said["message"]))
                else:
                    self._said.put_nowait(said)
            elif text.strip():
                _log.info("%s", text[:LINE_LENGTH])
