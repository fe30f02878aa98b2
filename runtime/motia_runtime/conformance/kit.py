"""Broker, engine and worker of one run of the kit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from motia_runtime.app import load_version
from motia_runtime.clock import VirtualClock
from motia_runtime.conformance.project import PREFIX, Language, write
from motia_runtime.http.tasks import Access
from motia_runtime.memory import MemoryLog
from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.messenger import NatsMessenger
from motia_runtime.testing import AppUnderTest
from motia_spec import compile_project

START = 60.0  # seconds that a worker may take to serve
LEAVE = 20.0  # seconds that it may take to go
SILENT = 2.5  # seconds without a word after which a worker is gone: half as long as usual, to wait less
LAST_LINES = 20  # of what it says, that are kept
BEGAN = 1_700_000_000.0  # the first second of the engine's clock


class Broken(AssertionError):
    """The worker did not do what the protocol asks. The message says what, in the words of the case."""


def expect(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        raise Broken(f"{what}: {json.dumps(found, default=str)[:300]}, not {json.dumps(wanted, default=str)[:300]}")


async def until(check: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """What `check` gives, once that is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (found := check()):
        if loop.time() > deadline:
            raise Broken(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.01)
    return found


class Kit:
    """Lives as long as the worker is tried. `app`: the engine's side; `messenger`: for messages of the cases' own."""

    def __init__(
        self, folder: Path, command: str, environ: Mapping[str, str], app: AppUnderTest, messenger: NatsMessenger
    ) -> None:
        self.folder = folder
        self.app = app
        self.messenger = messenger
        self.pids: list[int] = []
        program, *args = shlex.split(command)
        self._command = [shutil.which(program) or program, *args]  # before it runs in another folder
        if os.sep in self._command[0]:
            self._command[0] = os.path.abspath(self._command[0])
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._reading: asyncio.Task[None] | None = None
        self._count = 0

    # -- the worker

    async def start(self) -> None:
        """Start the worker; returns when it serves all steps. Raises `Broken` when it does not."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.folder,
                env=dict(self._environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=sys.platform != "win32",
            )
        except OSError as problem:
            raise Broken(f"{self._command[0]} can't be started: {problem.strerror}") from None
        self._reading = asyncio.create_task(self._read(self._process))
        steps = {"Script", "Brief", "Many", "Pair", "Tick", "Answer"}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START
        while True:
            served = {
                e["subject"].rpartition(".")[2] for info in await self.services("INFO") for e in info["endpoints"]
            }
            if served >= steps:
                return
            if self._process.returncode is not None or loop.time() > deadline:
                missing = ", ".join(sorted(steps - served))
                raise Broken(
                    f"the worker does not serve {missing} as endpoints of a micro service; it said:\n{self.said}"
                )

    async def services(self, verb: str) -> list[dict[str, Any]]:
        """What those say that answer `$SRV.<verb>` within a moment."""
        found: list[dict[str, Any]] = []
        inbox = f"_INBOX.conformance.{self.token()}"
        number = self.messenger.listen(
            inbox, lambda s, r, status, h, data: found.append(json.loads(data)) if data else None
        )
        self.messenger.send(f"$SRV.{verb}", b"", reply=inbox)
        await asyncio.sleep(0.2)
        await self.messenger.unlisten(number)
        return [one for one in found if one.get("name", "").startswith(PREFIX)]

    def kill(self) -> None:
        """kill -9, with all that it has started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code. Raises `Broken` when it does not go."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), LEAVE)
            except TimeoutError:
                self.kill()
                raise Broken(f"it did not go within {LEAVE:g} s of SIGTERM; it said:\n{self.said}") from None
        await self.gone()
        assert self._process.returncode is not None
        return self._process.returncode

    async def gone(self) -> None:
        assert self._process is not None
        await self._process.wait()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=2)
            self._reading.cancel()

    @property
    def said(self) -> str:
        return "\n".join(self._said)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._said.append(line.decode(errors="replace").rstrip())

    # -- scripts

    def token(self) -> str:
        self._count += 1
        return f"s{self._count}"

    async def emit(self, *commands: list[Any], **more: Any) -> tuple[str, str]:
        """Have the handler do this. Gives the id of the script, and of its trace."""
        token = self.token()
        trace = await self.app.emit("script", {"id": token, "do": list(commands), **more})
        return token, trace

    async def script(self, *commands: list[Any]) -> list[Any]:
        """As `emit`; what it has seen, when all is done."""
        token, _ = await self.emit(*commands)
        await self.app.settle(60)
        found = await self.app.state.get("seen", token)
        if found is None:
            errors = [letter.story.error.message for letter in await self.app.dead_letters()]
            raise Broken(f"the script {commands} did not end well; dead letters say: {errors[:3]}")
        seen: list[Any] = found
        return seen

    async def failures(self) -> dict[str, Any]:
        """Dead letters by the id of their script, taken away."""
        found = {}
        for letter in await self.app.dead_letters("Script"):
            found[json.loads(letter.data)["id"]] = letter.story
            await self.app._log.delete("dlq", letter.id)
        return found


@asynccontextmanager
async def open_kit(folder: Path, command: str, language: Language, environ: Mapping[str, str]) -> AsyncIterator[Kit]:
    """All but the worker, which the first case starts. `folder` is empty."""
    write(folder, language)
    project = compile_project(folder, environ={}, handlers=False).require()
    async with AsyncExitStack() as stack:
        server = await EmbeddedServer.start(folder)
        stack.push_async_callback(server.stop)
        links = [await connect(server.settings, name="motia conformance", jetstream=False) for _ in range(2)]
        for link in links:
            stack.push_async_callback(link.close)
        clock = VirtualClock(BEGAN)
        log = MemoryLog(clock)
        version = load_version(
            project, log, clock, tasks=Access(None), messenger=NatsMessenger(links[0]), remote={"python", "node"}
        )
        version.engine.switchboard.silent = SILENT
        await version.engine.start()
        stack.callback(log.close)
        stack.push_async_callback(version.engine.stop, 0)
        reach = {**environ, **server.settings.environ()}
        kit = Kit(folder, command, reach, AppUnderTest(version, log, clock), NatsMessenger(links[1]))
        try:
            yield kit
        finally:
            if kit._process is not None:
                kit.kill()
                await kit.gone()
