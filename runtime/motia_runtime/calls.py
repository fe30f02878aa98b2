"""Runs of api steps: middleware and handler called, result finished, effects committed, in this order. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from motia_runtime.bind import Bound, BoundStep
from motia_runtime.cancels import RunCancelled
from motia_runtime.commit import Claim
from motia_runtime.handler import Problem, Request
from motia_runtime.ports import Conflict, LogUnavailable
from motia_runtime.runner import Answer, TraceContext
from motia_runtime.runs import CONFLICTS_PER_REQUEST, Plan, Runs, conflict_pause
from motia_spec.model import ApiStep

Call = Callable[[Request, Any], Awaitable[Any]]


class Calls:
    """The api runs of one engine. Lives as long as it."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._steps: dict[str, tuple[Plan, Bound]] = {}
        self.under_way = 0
        self._quiet: asyncio.Event | None = None  # made by `until_quiet`; set when no run is under way

    def add(self, plan: Plan) -> None:
        self._steps[plan.name] = plan, self._chain(plan.bound)

    async def run(
        self,
        step: ApiStep,
        request: Request,
        trace: TraceContext,
        finish: Callable[[Any], Answer],
        claim: Claim | None = None,
    ) -> Answer:
        """As `runner.ApiRunner.run_api`."""
        plan, chain = self._steps[step.name]
        runs = self._runs
        executor = runs.executor
        watchdog = executor.watchdog
        cancels = runs.cancels
        conflicts = 0
        self.under_way += 1
        try:
            while True:
                attempt = runs.begin(plan, trace, request, claim)
                attempt.conflicts = conflicts
                try:
                    cancellable = cancels.enter(attempt)  # as `Cancels.run`, without its coroutine
                    try:
                        if not chain.is_async:
                            result = await executor.run(chain, (request,), attempt.ctx, step.timeout)
                        else:  # as `Executor.run`, without its coroutine
                            task = watchdog.watch(step.timeout, cancellable.task)
                            try:
                                result = await chain.function(request, attempt.ctx)
                            except BaseException as problem:
                                watchdog.explain(problem, task, step.timeout)
                            finally:
                                watchdog.forget(task)
                        answer = finish(result)
                        if cancellable.cancelled:
                            raise RunCancelled
                        if attempt.has_effects:
                            await attempt.commit()
                    except BaseException as problem:
                        cancels.explain(problem, cancellable)
                        raise
                    finally:
                        cancels.leave(attempt)
                except RunCancelled:
                    runs.end(attempt, "cancelled", status=503)
                    raise
                except Conflict as problem:
                    conflicts += 1
                    if conflicts > CONFLICTS_PER_REQUEST:
                        runs.end(attempt, "failed", runs.describe(problem), status=503)
                        raise LogUnavailable("too many concurrent writers of the same state key") from problem
                    claim = attempt.claim  # what it has flushed is not repeated
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
            self.under_way -= 1
            if self._quiet is not None and not self.under_way:
                self._quiet.set()

    async def until_quiet(self, grace: float) -> None:
        """Api runs are ended by their requests; waited for only so that their threads and timeouts last as long as they, `grace` seconds at most."""
        if self.under_way:
            self._quiet = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), grace)

    def _chain(self, bound: BoundStep) -> Bound:
        """The handler with its middleware around it, as one async function of (request, ctx)."""
        if not bound.middleware:
            return bound.handler
        innermost = bound.handler
        executor = self._runs.executor

        async def handle(request: Request, ctx: Any) -> Any:
            if innermost.is_async:
                return await innermost.function(request, ctx)
            return await executor.run_in_thread(innermost.function, (request,), ctx, bound.step.timeout)

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
