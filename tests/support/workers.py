"""An engine whose handlers run in workers, and workers in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from motia_generator import generate
from motia_runtime.app import load_version
from motia_runtime.clock import VirtualClock
from motia_runtime.http.tasks import Access
from motia_runtime.memory import MemoryLog
from motia_runtime.nats.messenger import NatsMessenger
from motia_runtime.remote.fleet import Fleet
from motia_runtime.remote.python.handlers import Handlers
from motia_runtime.remote.python.worker import Worker
from motia_runtime.testing import AppUnderTest
from motia_runtime.types import load_types
from motia_spec import compile_project
from motia_spec.model import Project
from support.process import clean_environ

Open = Callable[[], Awaitable[NatsMessenger]]


class Remote:
    """`app` is what tests look at."""

    def __init__(self, project: Project, app: AppUnderTest, engine: NatsMessenger, open: Open) -> None:
        self.project = project
        self.app = app
        self.engine = engine
        self.open = open
        self.workers: list[Worker] = []
        self.fleets: list[Fleet] = []

    async def worker(self, capacity: int = 100, open: Open | None = None) -> Worker:
        """A Python worker that serves."""
        handlers = Handlers(self.project, load_types(self.project, generate))
        worker = Worker(self.project, await (open or self.open)(), handlers, capacity=capacity)
        worker.start()
        self.workers.append(worker)
        return worker

    async def node(self, environ: dict[str, str], count: int = 1, capacity: int = 100) -> Fleet:
        """Node workers that serve. Raises what `Fleet.prepare` raises."""
        fleet = Fleet({**clean_environ(), **environ}, count, capacity)
        self.fleets.append(fleet)
        await fleet.change(await fleet.prepare(self.project), 0)
        return fleet


@asynccontextmanager
async def remote_app(folder: Path, open: Open, start: float = 1_700_000_000.0) -> AsyncIterator[Remote]:
    project = compile_project(folder, environ={}, handlers=False).require()
    clock = VirtualClock(start)
    log = MemoryLog(clock)
    messenger = await open()
    version = load_version(project, log, clock, tasks=Access(None), messenger=messenger, remote={"python", "node"})
    await version.engine.start()
    remote = Remote(project, AppUnderTest(version, log, clock), messenger, open)
    try:
        yield remote
    finally:
        await version.engine.stop(grace=0)
        for worker in remote.workers:
            await worker.leave(0)
        for fleet in remote.fleets:
            await fleet.stop(0)
        log.close()
