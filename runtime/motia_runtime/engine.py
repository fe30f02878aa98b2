"""The engine: steps consumed, handlers called, effects committed. One per app version; a reload makes a new one and stops the old.

Built by `app` from a project, its handlers and a log; knows neither NATS nor HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal, TypeAlias

from motia_runtime.batch import BatchWorker
from motia_runtime.bind import Bindings
from motia_runtime.calls import Calls
from motia_runtime.changes import ChangeWorker, change_workers
from motia_runtime.commit import Commits
from motia_runtime.context import new_id
from motia_runtime.controls.idempotency import Once
from motia_runtime.controls.rate_limit import Limiter
from motia_runtime.deadletters import DeadLetters
from motia_runtime.effects import Services
from motia_runtime.events import EventWorker
from motia_runtime.execute import Executor
from motia_runtime.ingress import IngressWorker
from motia_runtime.isolation.apart import Apart
from motia_runtime.isolation.pool import Pools
from motia_runtime.live.door import Door
from motia_runtime.live.hub import Hub
from motia_runtime.manual import TaskWorker
from motia_runtime.ordered import OrderedWorker
from motia_runtime.orphans import Orphans
from motia_runtime.ports import ACK_WAIT, Clock, Log
from motia_runtime.records import RecordWriter, RunRecord
from motia_runtime.redaction import Redaction
from motia_runtime.remote.messenger import Messenger
from motia_runtime.remote.switchboard import Switchboard
from motia_runtime.revisions import revisions
from motia_runtime.runner import ApiRunner
from motia_runtime.runs import Attempt, Runs
from motia_runtime.state import StateStore
from motia_runtime.streams import StreamStore
from motia_runtime.suspects import Suspects
from motia_runtime.sweep import Sweeper
from motia_runtime.tasks import Tasks
from motia_runtime.ticks import CronWorker
from motia_runtime.types import Types
from motia_runtime.worker import Worker
from motia_spec.model import ApiStep, CronStep, EventStep, NoopStep, Project

TOUCH = ACK_WAIT / 3  # seconds between signs of work on what is in hand

Role: TypeAlias = Literal["all", "http", "engine"]  # api steps only; event and cron steps only


class Engine:
    """Implements `runner.ApiRunner`. `start` and `stop` once each; api steps run in between."""

    def __init__(
        self,
        project: Project,
        bound: Bindings,
        types: Types,
        log: Log,
        clock: Clock,
        *,
        role: Role = "all",
        messenger: Messenger | None = None,
    ) -> None:
        """`messenger`: how workers are reached, if any step's handler is in one."""
        self._steps = project.steps
        self._executor = Executor()
        self._pools = Pools(project)
        self.state = StateStore(log, project, types)
        self.letters = DeadLetters(log)
        engine_id = new_id()
        self.switchboard = Switchboard(project, messenger, engine_id)
        self._orphans = Orphans(log, clock, engine_id)
        self._commits = Commits(log, clock, self._orphans)
        self._sweeper = Sweeper(log, clock, self._commits, self._orphans, engine_id)
        self.streams = StreamStore(log, project, types)
        services = Services(log, clock, self.state, self.streams, self._commits, Redaction(project))
        self.live = Hub(log, clock)
        self.door = Door(project, bound, self._executor)
        self._runs = Runs(project, types, services, self._executor)
        self._workers: list[Worker] = []
        self._elsewhere: list[
            EventWorker | ChangeWorker | IngressWorker
        ] = []  # not ours to run: their events wait for an engine that does
        self._toucher: asyncio.Task[None] | None = None
        self.calls = Calls(self._runs)
        self._once = Once(self.calls, services)
        self.runners: dict[str, ApiRunner] = {}  # of the api steps that `calls` is not for, by name
        self.limiters: dict[str, Limiter] = {}  # of those with a rate limit
        self.running = False
        self._suspects = Suspects(log, Apart(project))
        if any(topic.external == "in" for topic in project.topics.values()):
            ingress = IngressWorker(project, self._runs)
            (self._elsewhere if role == "http" else self._workers).append(ingress)
        self.tasks = Tasks(project, types, log, clock, self._commits, self._runs.records)
        for step in project.steps.values():
            if isinstance(step, NoopStep) and step.opens_tasks:
                manual = TaskWorker(step, self._runs, self._suspects, self.tasks)
                (self._elsewhere if role == "http" else self._workers).append(manual)
            if step.name not in bound:
                continue  # a noop
            placed = self.switchboard.place(bound[step.name])
            plan = self._runs.plan(placed if role == "http" else self._pools.place(placed))
            if isinstance(step, ApiStep):
                self.calls.add(plan)
                if step.idempotency is not None:
                    self.runners[step.name] = self._once
                if step.rate_limit is not None:
                    self.limiters[step.name] = Limiter(step.name, step.rate_limit, log, clock)
            elif isinstance(step, EventStep):
                kind = OrderedWorker if step.order_by else BatchWorker if step.batch else EventWorker
                worker = kind(plan, step, self._runs, self._suspects)
                (self._elsewhere if role == "http" else self._workers).append(worker)
                changes = change_workers(step, revisions(project), self._runs)
                (self._elsewhere if role == "http" else self._workers).extend(changes)
            elif isinstance(step, CronStep) and role != "http":
                self._workers.append(CronWorker(plan, step, self._runs))

    @property
    def busy(self) -> int:
        """Runs under way and deliveries in hand."""
        return self.calls.under_way + sum(worker.busy for worker in self._workers)

    @property
    def requests(self) -> int:
        """Runs of api steps under way."""
        return self.calls.under_way

    def in_hand(self) -> dict[str, int]:
        """Deliveries running, and waiting for that, of each step that is consumed here."""
        found: dict[str, int] = {}
        for worker in self._workers:
            if worker.name in self._steps:
                found[worker.name] = found.get(worker.name, 0) + worker.busy
        return found

    @property
    def under_way(self) -> list[Attempt]:
        """Runs whose handler is at work, in the order in which they began."""
        return self._runs.cancels.under_way

    def so_far(self, attempt: Attempt) -> RunRecord:
        """As `Runs.so_far`."""
        return self._runs.so_far(attempt)

    @property
    def records(self) -> RecordWriter:
        return self._runs.records

    async def start(self) -> None:
        """Begin to consume. Raises `LogUnavailable`, `HandlerError` of a handler in a process; then nothing is consumed."""
        try:
            self.switchboard.start()
            await self._runs.cancels.start()
            await self._pools.start()
            await asyncio.gather(*(worker.declare() for worker in self._elsewhere))
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except BaseException:
            await self.stop(0)
            raise
        self._toucher = asyncio.create_task(self._touch_for_ever())
        self._sweeper.start()
        self.running = True

    async def stop(self, grace: float, *, streams: float | None = None) -> None:
        """Take nothing new, let what runs finish for `grace` seconds (answers that are streamed for `streams` seconds), give back the rest."""
        self.running = False
        self.live.stop()
        stopping = [worker.stop(grace) for worker in self._workers]
        await asyncio.gather(self.calls.until_quiet(grace, streams), *stopping, self.switchboard.stop_waiting())
        await self._once.stop()
        await asyncio.gather(self._suspects.stop(), *(limiter.stop() for limiter in self.limiters.values()))
        await self._runs.cancels.stop()
        await self._sweeper.stop()
        await self._orphans.stop()
        if self._toucher is not None:
            self._toucher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._toucher
        await self._pools.close()
        await self.switchboard.close()
        self._runs.records.flush()
        self._executor.close()

    async def _touch_for_ever(self) -> None:
        clock, work = self._runs.services.clock, self._runs.work
        while True:
            await work.wait()  # an idle engine wakes nobody
            await clock.pause(TOUCH)
            for worker in self._workers:
                worker.touch()
            if not any(worker.holds for worker in self._workers):
                work.clear()
