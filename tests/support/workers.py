"""An engine whose Python handlers run in workers, and workers in the same process."""

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
from motia_runtime.remote.python.handlers import Handlers
from motia_runtime.remote.python.worker import Worker
from motia_runtime.testing import AppUnderTest
from motia_runtime.types import load_types
from motia_spec import compile_project
from motia_spec.model import Project

Open = Callable[[], Awaitable[NatsMessenger]]


class Remote:
    """`app` is what tests look at."""

    def __init__(self, project: Project, app: AppUnderTest, engine: NatsMessenger, open: Open) -> None:
        self.project = project
        self.app = app
        self.engine = engine
        self.open = open
        self.workers: list[Worker] = []

    async def worker(self, capacity: int = 100) -> Worker:
        """A Python worker that serves."""
        handlers = Handlers(self.project, load_types(self.project, generate))
        worker = Worker(self.project, await self.open(), handlers, capacity=capacity)
        worker.start()
        self.workers.append(worker)
        return worker


@asynccontextmanager
async def remote_app(folder: Path, open: Open, start: float = 1_700_000_000.0) -> AsyncIterator[Remote]:
    project = compile_project(folder, environ={}).require()
    clock = VirtualClock(start)
    log = MemoryLog(clock)
    messenger = await open()
    version = load_version(project, log, clock, tasks=Access(None), messenger=messenger, remote={"python"})
    await version.engine.start()
    remote = Remote(project, AppUnderTest(version, log, clock), messenger, open)
    try:
        yield remote
    finally:
        await version.engine.stop(grace=0)
        for worker in remote.workers:
            await worker.leave(0)
        log.close()
