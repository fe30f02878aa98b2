"""Takes runs of Python steps, and says what becomes of them. On the main thread, beside the handlers' own."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import CancelledError, Future

import msgspec

from motia_runtime.context import new_id
from motia_runtime.handler import Problem
from motia_runtime.isolation.failures import failed
from motia_runtime.naming import durable
from motia_runtime.remote.messenger import Messenger
from motia_runtime.remote.python.handlers import Handlers
from motia_runtime.remote.python.line import Line
from motia_runtime.remote.service import Endpoint, Service
from motia_runtime.remote.wire import (
    HEARTBEAT,
    PROTOCOL,
    QUEUE,
    VERSION,
    Alive,
    Cancel,
    Claim,
    Config,
    Done,
    Failed,
    Refused,
    Result,
    Run,
    Told,
    cancel_subject,
    load_from_engine,
    run_subject,
)
from motia_runtime.version import __version__
from motia_spec.model import Project

CAPACITY = 100  # runs at once, unless told otherwise
FETCH = 30.0  # seconds that a piece of a large run may take

_log = logging.getLogger("motia.worker")
_config = msgspec.json.Decoder(Config).decode


class _Head(msgspec.Struct):
    """What every version of the protocol has."""

    type: str = ""
    protocol: int = 0


_head = msgspec.json.Decoder(_Head).decode


class _Running(msgspec.Struct, eq=False):
    run: Run
    line: Line
    endpoint: Endpoint
    began: float
    call: Future[Result | None]


class Worker:
    """Serves the steps of `handlers` until it is told to `leave`."""

    def __init__(self, project: Project, messenger: Messenger, handlers: Handlers, *, capacity: int = CAPACITY) -> None:
        prefix = project.nats.prefix
        self._root = project.root
        self._messenger = messenger
        self._handlers = handlers
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, _Running] = {}  # by the subject of the run
        self._fetching: set[asyncio.Task[None]] = set()
        self._count = 0
        self._quiet = asyncio.Event()
        self._endpoints = {
            step: Endpoint(durable(step), run_subject(prefix, step), step) for step in sorted(handlers.steps)
        }
        self._cancels = [cancel_subject(prefix, step) for step in self._endpoints]
        self._listening: list[int] = []
        self._beating: asyncio.Task[None] | None = None
        self._service = Service(
            messenger,
            id=new_id().replace("-", ""),
            name=f"{prefix}_python",
            version=__version__,
            description=f"Python steps of {project.name}",
            metadata={VERSION: str(PROTOCOL), "Motia-Capacity": str(capacity)},
            endpoints=list(self._endpoints.values()),
        )

    def start(self) -> None:
        for subject in self._cancels:
            self._messenger.listen(subject, self._heard_cancel)
        for endpoint in self._endpoints.values():
            self._listening.append(self._messenger.listen(endpoint.subject, self._heard, queue=QUEUE))
        self._service.start()
        self._beating = self._loop.create_task(self._beat())

    async def leave(self, grace: float) -> None:
        """Take no more, let what runs finish for `grace` seconds, give back the rest."""
        await asyncio.gather(self._service.stop(), *(self._messenger.unlisten(number) for number in self._listening))
        if self._running or self._fetching:
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), grace)
            except TimeoutError:
                for subject in list(self._running):
                    self._running[subject].line.send(Refused(why="draining"))
                    self._drop(subject)
        if self._beating is not None:
            self._beating.cancel()
        self._handlers.close()

    # -- runs

    def _heard(self, _: str, to: str, status: int, head: dict[str, str], data: bytes) -> None:
        if not to:
            return
        line = Line(self._messenger, self._loop, to, timeout=FETCH)
        try:
            protocol = _head(data).protocol
            if protocol != PROTOCOL:
                line.send(
                    Refused(
                        why="protocol",
                        message=f"the engine speaks protocol {protocol}, this worker {PROTOCOL}; update the older one",
                    )
                )
                return
            message = load_from_engine(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            line.send(Refused(why="protocol", message=f"what came is no run: {problem}"))
            return
        if len(self._running) + len(self._fetching) >= self._capacity:
            line.send(Refused(why="busy"))
        elif isinstance(message, Claim):
            task = self._loop.create_task(self._fetch(message, to, line))
            self._fetching.add(task)
            task.add_done_callback(self._fetched)
        elif isinstance(message, Run):
            self._begin(message, to)

    async def _fetch(self, claim: Claim, to: str, line: Line) -> None:
        run = load_from_engine(await line.fetch(claim))
        if isinstance(run, Run):
            self._begin(run, to)

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.warning("a large run could not be read: %s", problem)  # its engine will find that nobody has it
        self._settle()

    def _begin(self, run: Run, to: str) -> None:
        endpoint = self._endpoints.get(run.step)
        line = Line(self._messenger, self._loop, to, emits=frozenset(_config(run.config).emits), timeout=run.timeout)
        if endpoint is None:
            line.send(Refused(why="unknown", message=f"this worker has no step {run.step!r}"))
            return
        self._count += 1
        call = self._handlers.run(self._count, run, line)
        self._running[to] = _Running(run, line, endpoint, time.perf_counter(), call)
        call.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._ended, to))

    def _ended(self, to: str) -> None:
        running = self._running.pop(to, None)
        if running is None:
            return  # cancelled
        seconds = time.perf_counter() - running.began
        message = self._outcome(running)
        running.endpoint.count(seconds, message.message if isinstance(message, Failed) else "")
        running.line.send(message)
        self._settle()

    def _outcome(self, running: _Running) -> Done | Failed:
        try:
            return Done(result=running.call.result(), effects=running.line.effects())
        except Problem as problem:
            told = Told(
                status=problem.status,
                title=problem.title,
                detail=problem.detail,
                type=problem.type,
                extra=problem.extra,
            )
            return Failed(names=["Problem"], message=problem.title, problem=told)
        except (Exception, CancelledError) as problem:
            error = failed(0, problem, self._root)
            return Failed(
                names=error.names,
                message=error.message,
                stack=error.stack,
                final=error.final,
                delay=error.delay,
                ask=error.ask,
            )

    def _heard_cancel(self, _: str, to: str, status: int, head: dict[str, str], data: bytes) -> None:
        message = load_from_engine(data)
        if isinstance(message, Cancel):
            self._drop(message.run)

    def _drop(self, subject: str) -> None:
        running = self._running.pop(subject, None)
        if running is not None:
            running.call.cancel()
            running.endpoint.count(time.perf_counter() - running.began, "cancelled")
            self._settle()

    def _settle(self) -> None:
        if not self._running and not self._fetching:
            self._quiet.set()

    async def _beat(self) -> None:
        """Say of each run that it goes on."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            for running in self._running.values():
                running.line.send(Alive())
