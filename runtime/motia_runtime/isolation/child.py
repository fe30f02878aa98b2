"""The program of a worker process: `python -m motia_runtime.isolation.child`, started by `process` and talked to over stdin and stdout.

The main thread runs the event loop and async handlers, a second one plain handlers, a third one reads what the app says. When the app goes away, so does
the process, whatever its handler is doing: at the end of stdin, and on Linux by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import io
import itertools
import logging
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import Future
from typing import Any, NoReturn, cast

from motia_runtime.bind import HandlerError, bind_one
from motia_runtime.context import Context, Secrets, SyncContext
from motia_runtime.execute import HandlerExited
from motia_runtime.isolation.failures import failed, refused
from motia_runtime.isolation.inputs import unpack
from motia_runtime.isolation.remote import Codecs, RemoteAttempt
from motia_runtime.isolation.wire import (
    HEAD,
    LARGEST,
    Ask,
    Begun,
    Broken,
    Done,
    FromApp,
    FromProcess,
    Hello,
    Ready,
    Reply,
    Run,
    Say,
    decode_from_app,
    framed,
)
from motia_runtime.ports import TooLarge
from motia_runtime.types import load_types
from motia_spec.model import EventStep, Project

OOM_SCORE = "500"  # when memory is short, the kernel shall take worker processes before the app


class Line:
    """The connection to the app. Any thread may send; `read` is called by one."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in = io.FileIO(incoming)
        self._out = outgoing
        self._sending = threading.Lock()
        self._ids = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}

    def send(self, message: FromProcess) -> None:
        data = framed(message)
        if len(data) > LARGEST:
            raise TooLarge(f"{len(data):,} bytes are more than a handler in a process may send at once ({LARGEST:,})")
        rest = memoryview(data)
        with self._sending:
            while rest:
                try:
                    rest = rest[os.write(self._out, rest) :]
                except OSError:
                    _leave()

    def ask(self, run: int, what: str, *args: Any) -> Future[Any]:
        number, answer = next(self._ids), Future[Any]()
        self._asked[number] = answer
        try:
            self.send(Ask(run, number, what, list(args)))
        except BaseException:
            del self._asked[number]
            raise
        return answer

    def say(self, line: Say) -> None:
        self.send(line)

    def read(self) -> FromApp:
        """The next message. The process ends when there is none."""
        return decode_from_app(self._exactly(int.from_bytes(self._exactly(HEAD), "big")))

    def answer(self, reply: Reply) -> None:
        answer = self._asked.pop(reply.id)
        if not answer.set_running_or_notify_cancel():
            return
        if reply.refusal is None:
            answer.set_result(reply.value)
            return
        answer.set_exception(refused(reply.refusal, reply.id))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = self._in.read(size - len(data))
            except OSError:
                more = None
            if not more:
                _leave()
            data += more
        return bytes(data)


class Worker:
    """Runs the handler of one step, once at a time."""

    def __init__(self, project: Project, step: EventStep, line: Line) -> None:
        """Raises `HandlerError`."""
        self._project = project
        self._step = step
        self._line = line
        self._secrets = Secrets(project.secrets)
        # types first: the handler imports them
        self._codecs = Codecs(project, load_types(project, _generate), step)
        self._bound = bind_one(project, step)

    async def work(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        runs: asyncio.Queue[Run] = asyncio.Queue()
        threading.Thread(target=self._listen, args=(loop, runs), name="motia-wire", daemon=True).start()
        self._line.send(Ready())
        while True:
            run = await runs.get()
            try:
                await self._call(run, loop)
            except BaseException as problem:
                self._line.send(failed(run.number, _told(problem), self._project.root))
            else:
                self._line.send(Done(run.number))

    def _listen(self, loop: asyncio.AbstractEventLoop, runs: asyncio.Queue[Run]) -> None:
        while True:
            message = self._line.read()
            if isinstance(message, Reply):
                self._line.answer(message)
            elif isinstance(message, Run):
                loop.call_soon_threadsafe(runs.put_nowait, message)

    async def _call(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self._line.send(Begun(run.number))
        args = unpack(run.args)
        # it has all that contexts ask of `Running`, which tests/engine/test_isolation.py checks
        attempt = cast(Any, RemoteAttempt(self._step.name, run, self._line, self._codecs, self._secrets))
        ctx = Context(attempt)
        if self._bound.is_async:
            await self._bound.function(*args, ctx)
        else:
            await asyncio.to_thread(self._bound.function, *args, SyncContext(ctx, loop))


def _told(problem: BaseException) -> BaseException:
    """What ends a program or a task ends neither here."""
    told = problem
    if isinstance(problem, SystemExit):
        told = HandlerExited(f"the handler called sys.exit({problem.code!r})")
    elif isinstance(problem, KeyboardInterrupt):
        told = HandlerExited("the handler raised KeyboardInterrupt")
    elif isinstance(problem, asyncio.CancelledError):
        told = HandlerExited("the handler raised CancelledError, and nobody had cancelled it")
    return told.with_traceback(problem.__traceback__)


def _leave() -> NoReturn:
    """The app has gone, or wants this process to go: nothing here is worth waiting for."""
    os._exit(0)


def _generate(project: Project) -> dict[str, str]:
    from motia_generator import generate  # only when the files on disk are of another spec

    return generate(project)


def _depend_on(parent: int) -> None:
    """Have the kernel end this process when the app dies, also while native code holds the interpreter (prctl(2), PR_SET_PDEATHSIG = 1)."""
    if sys.platform != "linux":
        return
    if parent:
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before
            _leave()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(OOM_SCORE)


def _take_line() -> Line:
    """stdin and stdout become the connection; what the handler prints goes to stderr, and it has nothing to read."""
    line = Line(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable(all_threads=False)  # a crash in native code says where, and `process` reads it
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return line


def main() -> None:
    line = _take_line()
    hello = line.read()
    if not isinstance(hello, Hello):
        raise TypeError("the app says Hello first")
    _depend_on(hello.parent)
    sys.path[:] = hello.path
    project: Project = pickle.loads(hello.project)  # noqa: S301  # our own parent's
    step = project.steps[hello.step]
    assert isinstance(step, EventStep)
    try:
        worker = Worker(project, step, line)
    except HandlerError as problem:
        line.send(Broken(str(problem)))
        return
    asyncio.run(worker.work())


if __name__ == "__main__":
    main()
