"""The engine: steps consumed, handlers called, effects committed. One per app version; a reload makes a new one and stops the old.

Built by `app` from a project, its handlers and a log; knows neither NATS nor HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from motia_runtime.bind import Bound, BoundStep
from motia_runtime.deadletters import DeadLetters
from motia_runtime.effects import Services
from motia_runtime.events import EventWorker
from motia_runtime.execute import Executor
from motia_runtime.handler import Problem, Request
from motia_runtime.ports import ACK_WAIT, Clock, Conflict, Log, LogUnavailable
from motia_runtime.records import RecordWriter
from motia_runtime.runner import Answer, TraceContext
from motia_runtime.runs import CONFLICTS_PER_RUN, Plan, Runs, conflict_pause
from motia_runtime.state import StateStore
from motia_runtime.streams import StreamStore
from motia_runtime.suspects import Suspects
from motia_runtime.ticks import CronWorker
from motia_runtime.types import Types
from motia_runtime.worker import Worker
from motia_spec.model import ApiStep, CronStep, EventStep, Project

TOUCH = ACK_WAIT / 3  # seconds between signs of work on what is in hand

Call = Callable[[Request, Any], Awaitable[Any]]


class Engine:
    """Implements `runner.ApiRunner`. `start` and `stop` once each; api steps run in between."""

    def __init__(self, project: Project, bound: Mapping[str, BoundStep], types: Types, log: Log, clock: Clock) -> None:
        self._executor = Executor()
        self.state = StateStore(log, project, types)
        self.letters = DeadLetters(log)
        services = Services(log, clock, self.state, StreamStore(log, project, types))
        self._runs = Runs(project, types, services, self._executor)
        self._apis: dict[str, tuple[Plan, Bound]] = {}
        self._workers: list[Worker] = []
        self._toucher: asyncio.Task[None] | None = None
        self._calls = 0  # api runs under way
        self.running = False
        self._suspects = Suspects(log)
        self._quiet: asyncio.Event | None = None  # made by `stop`; set when no api run is under way
        for step in project.steps.values():
            if step.name not in bound:
                continue  # a noop
            plan = self._runs.plan(bound[step.name])
            if isinstance(step, ApiStep):
                self._apis[step.name] = plan, self._chain(plan.bound)
            elif isinstance(step, EventStep) and step.topics:
                self._workers.append(EventWorker(plan, step, self._runs, self.letters, self._suspects))
            elif isinstance(step, CronStep):
                self._workers.append(CronWorker(plan, step, self._runs))

    @property
    def busy(self) -> int:
        """Runs under way and deliveries in hand."""
        return self._calls + sum(worker.busy for worker in self._workers)

    @property
    def records(self) -> RecordWriter:
        return self._runs.records

    async def start(self) -> None:
        """Begin to consume. Raises `LogUnavailable`; then nothing is consumed."""
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except BaseException:
            await self.stop(0)
            raise
        self._toucher = asyncio.create_task(self._touch_for_ever())
        self.running = True

    async def stop(self, grace: float) -> None:
        """Take nothing new, let what runs finish for `grace` seconds, give back the rest."""
        self.running = False
        await asyncio.gather(self._until_quiet(grace), *(worker.stop(grace) for worker in self._workers))
        await self._suspects.stop()
        if self._toucher is not None:
            self._toucher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._toucher
        self._runs.records.flush()
        self._executor.close()

    async def _until_quiet(self, grace: float) -> None:
        """Api runs are ended by their requests; here only so that their threads and timeouts last as long as they."""
        if self._calls:
            self._quiet = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), grace)

    async def _touch_for_ever(self) -> None:
        clock, work = self._runs.services.clock, self._runs.work
        while True:
            await work.wait()  # an idle engine wakes nobody
            await clock.sleep_until(clock.time() + TOUCH)
            for worker in self._workers:
                worker.touch()
            if not any(worker.busy for worker in self._workers):
                work.clear()

    # -- api steps

    async def run_api(
        self, step: ApiStep, request: Request, trace: TraceContext, finish: Callable[[Any], Answer]
    ) -> Answer:
        plan, chain = self._apis[step.name]
        runs = self._runs
        run_id: str | None = None
        conflicts = 0
        self._calls += 1
        try:
            while True:
                attempt = runs.begin(plan, trace, request, run_id)
                attempt.conflicts = conflicts
                try:
                    answer = finish(await runs.executor.run(chain, (request,), attempt.ctx, step.timeout))
                    if attempt.has_effects:
                        await attempt.commit()
                except Conflict as problem:
                    conflicts += 1
                    if conflicts > CONFLICTS_PER_RUN:
                        runs.end(attempt, "failed", runs.describe(problem), status=503)
                        raise LogUnavailable("too many concurrent writers of the same state key") from problem
                    run_id = attempt.run_id  # what it has flushed is not repeated
                    await asyncio.sleep(conflict_pause(conflicts))
                except Problem as problem:
                    runs.end(attempt, "ok" if problem.status < 500 else "failed", status=problem.status)
                    raise
                except BaseException as problem:
                    runs.end(attempt, "failed", runs.describe(problem))
                    raise
                else:
                    runs.end(attempt, "ok", status=answer.status)
                    return answer
        finally:
            self._calls -= 1
            if self._quiet is not None and not self._calls:
                self._quiet.set()

    def _chain(self, bound: BoundStep) -> Bound:
        """The handler with its middleware around it, as one async function of (request, ctx)."""
        if not bound.middleware:
            return bound.handler
        innermost = bound.handler

        async def handle(request: Request, ctx: Any) -> Any:
            if innermost.is_async:
                return await innermost.function(request, ctx)
            return await self._executor.run_in_thread(innermost.function, (request,), ctx, bound.step.timeout)

        call: Call = handle
        for middleware in reversed(bound.middleware):
            call = _around(middleware, call)
        return Bound(innermost.handler, call, True, 2)


def _around(middleware: Bound, inner: Call) -> Call:
    async def call(request: Request, ctx: Any) -> Any:
        async def proceed(changed: Request | None = None) -> Any:
            return await inner(request if changed is None else changed, ctx)

        return await middleware.function(request, ctx, proceed)

    return call
