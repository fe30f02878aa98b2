"""One worker process, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Child
from pathlib import Path
from typing import Any

from motia_runtime.bind import HandlerError
from motia_runtime.context import Context
from motia_runtime.execute import HandlerTimeout
from motia_runtime.isolation.failures import NotBegun, WorkerDied, ending, raised
from motia_runtime.isolation.inputs import pack
from motia_runtime.isolation.output import Output
from motia_runtime.isolation.requests import Requests
from motia_runtime.isolation.wire import (
    HEAD,
    LARGEST,
    Ask,
    Begun,
    Broken,
    Done,
    Failed,
    FromApp,
    FromProcess,
    Hello,
    Ready,
    Refusal,
    Reply,
    Run,
    Say,
    decode_from_process,
    framed,
)

START = 60.0  # seconds that a process may take to import its handler
LAST_WORDS = 1.0  # seconds that what a dead process has left in its pipes is read for
LEAVE = 1.0  # seconds that an idle process may take to go when told to
PROGRAM = "motia_runtime.isolation.child"
LATE = Refusal("RuntimeError", "the run has ended; nothing can be asked of its ctx any more")


class Process:
    """Runs the handler of one step, once at a time. Made by `start`; `alive` until it was seen to have died, was killed or closed."""

    def __init__(self, child: Child, step: str, root: Path) -> None:
        self._child = child
        self._root = root
        self._output = Output(step)
        self._what = f"the process of {step}"
        self._number = 0  # of the newest run
        self._begun = False
        self._requests: Requests | None = None
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._result: asyncio.Future[None] | None = None
        self.alive = True
        self._life = loop.create_task(self._live())

    @classmethod
    async def start(cls, hello: Hello, root: Path) -> Process:
        """One that has imported its handler. Raises `HandlerError` when it can't, also when the import ends the process."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder we stand in is the user's: nothing in it takes the place of a standard module
            "-m",
            PROGRAM,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,  # so that ^C reaches the app alone, and what the handler starts can be killed with it
        )
        process = cls(child, hello.step, root)
        try:
            process._send(hello)
            done, _ = await asyncio.wait((process._ready,), timeout=START)
            if not done:
                raise HandlerError(f"{hello.step}: its process did not get ready within {START:g} s; import less in it")
            process._ready.result()
        except WorkerDied as problem:
            await process.close()
            raise HandlerError(f"{hello.step}: importing its handler ends the process: {problem}") from None
        except BaseException:
            process.kill()
            await process.close()
            raise
        return process

    @property
    def gone(self) -> bool:
        """Dead, and all it had to say was heard."""
        return self._life.done()

    async def run(self, args: tuple[Any, ...], ctx: Context, timeout: float) -> None:
        """Run the handler. Raises `HandlerTimeout`, `WorkerDied` and `NotBegun`, after which the process is no more; else what `failures.raised`
        says."""
        attempt = ctx._run
        self._number += 1
        self._begun = False
        self._output.trace_id = attempt.trace_id
        run = Run(
            self._number,
            pack(args),
            attempt.run_id,
            attempt.trace_id,
            attempt.number,
            attempt.trigger,
            attempt.span_id,
            attempt.tracestate,
        )
        result = self._result = asyncio.get_running_loop().create_future()
        requests = self._requests = Requests(ctx, self._send)
        try:
            self._send(run)
            done, _ = await asyncio.wait((result,), timeout=timeout)
            if not done:
                self.kill()
                raise HandlerTimeout(f"no result after {timeout:g} s; its process was killed")
            try:
                result.result()
            except WorkerDied as problem:
                if not self._begun:
                    raise NotBegun(str(problem), problem.stack) from None
                raise
        except asyncio.CancelledError:  # the engine stops
            self.kill()
            raise
        finally:
            self._result = self._requests = None
            requests.close()

    def kill(self) -> None:
        """At once, with all that it has started."""
        self.alive = False
        if sys.platform == "win32":
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Have an idle process go; wait until it is gone. Twice is harmless."""
        self.alive = False
        assert self._child.stdin is not None
        self._child.stdin.close()
        done, _ = await asyncio.wait((self._life,), timeout=LEAVE)
        if not done:
            self.kill()
            await self._life

    # -- the other side

    def _send(self, message: FromApp) -> None:
        assert self._child.stdin is not None
        if not self._child.stdin.is_closing():
            self._child.stdin.write(framed(message))

    async def _live(self) -> None:
        """Take what the process says until it has died; then tell whoever waits for it."""
        child = self._child
        assert child.stdout is not None
        assert child.stderr is not None
        told = asyncio.create_task(self._output.follow(child.stderr))
        heard = asyncio.create_task(self._listen(child.stdout))
        gone = asyncio.create_task(child.wait())
        await asyncio.wait((heard, gone), return_when=asyncio.FIRST_COMPLETED)
        nonsense = heard.result() if heard.done() else None
        if nonsense is None:  # after its last words it dies; what it has said before it died is read
            await asyncio.wait((heard, gone), timeout=LAST_WORDS)
        why = nonsense or ending(child.returncode)
        self.kill()
        await gone
        await asyncio.wait((told, heard), timeout=LAST_WORDS)  # longer only if somebody else holds its pipes
        told.cancel()
        heard.cancel()
        died = WorkerDied(f"{self._what} {why}", self._output.stack(self._root))
        for waiting in (self._ready, self._result):
            if waiting is not None and not waiting.done():
                waiting.set_exception(died)
                waiting.exception()  # nobody may be there to see it

    async def _listen(self, stream: asyncio.StreamReader) -> str | None:
        """Take messages until the stream ends, or until one that makes no sense: the handler has written over what is not its own."""
        while True:
            try:
                size = int.from_bytes(await stream.readexactly(HEAD), "big")
                if size > LARGEST:
                    return f"sent what is no message ({size:,} bytes), and was killed"
                self._take(decode_from_process(await stream.readexactly(size)))
            except asyncio.IncompleteReadError:
                return None
            except Exception as problem:
                return f"sent what is no message ({type(problem).__name__}: {problem}), and was killed"

    def _take(self, message: FromProcess) -> None:
        if isinstance(message, Ready):
            if not self._ready.done():
                self._ready.set_result(None)
        elif isinstance(message, Broken):
            if not self._ready.done():
                self._ready.set_exception(HandlerError(message.message))
        elif message.run != self._number or self._requests is None or self._result is None or self._result.done():
            if isinstance(message, Ask):  # something that the handler left behind still runs
                self._send(Reply(message.id, refusal=LATE))
        elif isinstance(message, Begun):
            self._begun = True
        elif isinstance(message, Ask):
            self._requests.take(message)
        elif isinstance(message, Say):
            self._requests.say(message)
        elif isinstance(message, Done):
            self._result.set_result(None)
        elif isinstance(message, Failed):
            self._result.set_exception(raised(message, self._requests.refused))
