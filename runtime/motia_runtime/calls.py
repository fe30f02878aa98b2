"""Runs of api steps: middleware and handler called, result finished (or its pieces sent), effects committed, in this order. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from motia_runtime.bind import Bound, BoundStep
from motia_runtime.cancels import RunCancelled
from motia_runtime.commit import Claim
from motia_runtime.context import SyncContext
from motia_runtime.handler import Problem, Request
from motia_runtime.ports import Conflict, LogUnavailable
from motia_runtime.runner import Answer, Gone, Recipient, Streamed, TraceContext
from motia_runtime.runs import CONFLICTS_PER_REQUEST, Plan, Runs
from motia_runtime.streaming import CLOSING, Streaming
from motia_spec.model import ApiStep

Call = Callable[[Request, Any], Awaitable[Any]]


class Calls:
    """The api runs of one engine. Lives as long as it."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._steps: dict[str, tuple[Plan, Bound]] = {}
        self.under_way = 0
        self._streams: set[asyncio.Task[Any]] = set()  # those that stream an answer
        self._quiet: asyncio.Event | None = None  # made by `until_quiet`; set when no run is under way

    def add(self, plan: Plan) -> None:
        self._steps[plan.name] = plan, self._chain(plan.bound)

    async def run_api(
        self,
        step: ApiStep,
        request: Request,
        trace: TraceContext,
        finish: Callable[[Any], Answer | Streamed],
        stream_to: Callable[[], Recipient] | None = None,
        claim: Claim | None = None,
    ) -> Answer | None:
        """As `runner.ApiRunner.run_api`. `claim` stays the same however often the run is repeated."""
        plan, chain = self._steps[step.name]
        runs = self._runs
        executor = runs.executor
        watchdog = executor.watchdog
        cancels = runs.cancels
        conflicts = 0
        streaming: Streaming | None = None
        self.under_way += 1
        try:
            while True:
                attempt = runs.begin(plan, trace, request, claim)
                attempt.conflicts = conflicts
                try:
                    cancels.enter(attempt)  # as `Cancels.run`, without its coroutine
                    try:
                        if not chain.is_async:
                            result = await executor.run(chain, (request,), attempt.ctx, step.timeout)
                        else:  # as `Executor.run`, without its coroutine
                            watchdog.watch(attempt, step.timeout)
                            try:
                                result = await chain.function(request, attempt.ctx)
                            except BaseException as problem:
                                watchdog.explain(problem, attempt)
                            finally:
                                watchdog.forget(attempt)
                        answer: Answer | None
                        finished = finish(result)
                        if isinstance(finished, Streamed):
                            if streaming is None:
                                streaming = self._streaming(step, stream_to)
                                self._streams.add(streaming.task)
                            answer = await streaming.drive(finished, attempt)
                        else:
                            answer = finished
                        if attempt.cancelled:
                            raise RunCancelled
                        if attempt.has_effects:
                            await attempt.commit()
                        if answer is None:
                            assert streaming is not None
                            await streaming.close()
                    except BaseException as problem:
                        cancels.explain(problem, attempt)
                        await attempt.look_again(problem)
                        raise
                    finally:
                        cancels.leave(attempt)
                except RunCancelled:
                    runs.end(attempt, "cancelled", status=503)
                    raise
                except Gone:
                    runs.end(attempt, "gone")
                    raise
                except Conflict as problem:
                    conflicts += 1
                    if attempt.streamed is not None:
                        runs.end(attempt, "failed", runs.describe(problem))
                        raise LogUnavailable(
                            "another run wrote what it had read, when part of its answer was sent"
                        ) from problem
                    if conflicts > CONFLICTS_PER_REQUEST:
                        runs.end(attempt, "failed", runs.describe(problem), status=503)
                        raise LogUnavailable("too many concurrent writers of the same state key") from problem
                    claim = attempt.claim  # what it has flushed is not repeated
                    await attempt.begin_again(conflicts)
                except Problem as problem:
                    runs.end(attempt, "ok" if problem.status < 500 else "failed", status=problem.status)
                    raise
                except BaseException as problem:
                    runs.end(attempt, "failed", runs.describe(problem))
                    raise
                else:
                    runs.end(attempt, "ok", status=None if answer is None else answer.status)
                    return answer
        finally:
            if claim is not None and claim.turn:
                runs.services.commits.end_turn(claim)
            if streaming is not None:
                self._streams.discard(streaming.task)
            self.under_way -= 1
            if self._quiet is not None and not self.under_way:
                self._quiet.set()

    async def until_quiet(self, grace: float, streams: float | None = None) -> None:
        """Api runs are ended by their requests; waited for only so that their threads and timeouts last as long as they, `grace` seconds at most.
        Streamed answers may have no end of their own: they break off after `streams` seconds, or with the grace."""
        if not self.under_way:
            return
        self._quiet = asyncio.Event()
        cut = asyncio.get_running_loop().call_later(grace if streams is None else streams, self._cut_streams)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace)
        cut.cancel()
        cut_off = set(self._streams)
        self._cut_streams()
        if cut_off:
            await asyncio.wait(cut_off, timeout=CLOSING)

    def _cut_streams(self) -> None:
        for task in self._streams:
            task.cancel()

    def _streaming(self, step: ApiStep, stream_to: Callable[[], Recipient] | None) -> Streaming:
        if stream_to is None:
            why = (
                "it has `idempotency`, and an answer that is kept is given whole"
                if step.idempotency
                else "whoever asked takes it whole only"
            )
            raise TypeError(f"the answer of {step.name} can't be streamed: {why}")
        return Streaming(step.name, self._runs.executor, stream_to, step.timeout)

    def _chain(self, bound: BoundStep) -> Bound:
        """The handler with its middleware around it, as one async function of (request, ctx)."""
        innermost = _begun(bound.handler) if bound.handler.generator else bound.handler
        if not bound.middleware:
            return innermost
        executor = self._runs.executor

        async def handle(request: Request, ctx: Any) -> Any:
            if innermost.is_async:
                return await innermost.function(request, ctx)
            return await executor.run(innermost, (request,), ctx, bound.step.timeout)

        call: Call = handle
        for middleware in reversed(bound.middleware):
            call = _around(middleware, call)
        return Bound(innermost.handler, call, True, 2)


def _begun(bound: Bound) -> Bound:
    """A handler that is a generator, as an async function that gives the generator; nothing of it has run by then."""
    function = bound.function

    async def begin(request: Request, ctx: Any) -> Any:
        return function(request, ctx if bound.generator == "async" else SyncContext(ctx, asyncio.get_running_loop()))

    return Bound(bound.handler, begin, True, bound.arity)


def _around(middleware: Bound, inner: Call) -> Call:
    async def call(request: Request, ctx: Any) -> Any:
        async def proceed(changed: Request | None = None) -> Any:
            return await inner(request if changed is None else changed, ctx)

        return await middleware.function(request, ctx, proceed)

    return call
