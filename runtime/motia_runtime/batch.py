"""`batch`: one run for many events. The handler gets a list: up to `size` events, or as many as have come `wait` after the first.

The run of a list commits one plan, stored together with a word at each event's own place that says where it stands (`commit`). So whatever lists a crash
makes of its events next time, each of them finds the plan that it was part of, and its effects are true once.

A list whose run fails is halved, and its halves are run; an event that fails alone has failed like any other. So one bad event in a list costs
the others nothing but time. A list of which an event is cancelled begins again without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from motia_runtime.cancels import RunCancelled
from motia_runtime.commit import Claim
from motia_runtime.controls.cancelled import Cancelled, finish_flushed
from motia_runtime.controls.concurrency import ALL
from motia_runtime.controls.control import Arrival, Unreadable
from motia_runtime.controls.priority import LOOK_AHEAD, urgency_of
from motia_runtime.controls.slots import Slots
from motia_runtime.events import EventWorker, read_input
from motia_runtime.handler import RetryLater, Trigger
from motia_runtime.isolation.pool import PROCESSES
from motia_runtime.ports import Conflict, Delivery, LogUnavailable
from motia_runtime.records import ErrorInfo, RunRecord
from motia_runtime.redaction import Redaction
from motia_runtime.runs import CONFLICTS_PER_RUN, Attempt, Plan, Runs
from motia_runtime.suspects import Suspects
from motia_runtime.trace import new_span_id
from motia_runtime.worker import OUTAGE_PAUSE
from motia_spec.model import EventStep

LISTS = 4  # runs at once in one process, unless the spec limits them
IN_HAND = 16_384  # events in an engine, at most
SOON = 0.001  # seconds that count as now
WITHOUT = ErrorInfo("RunCancelled", "an event of the list was cancelled; the others begin again without it")

Pairs = list[tuple[Arrival, Claim]]

_log = logging.getLogger("motia.engine")


class BatchWorker(EventWorker):
    def __init__(self, plan: Plan, step: EventStep, runs: Runs, suspects: Suspects) -> None:
        super().__init__(plan, step, runs, suspects)
        assert step.batch is not None
        self._size = step.batch.size
        self._wait = step.batch.wait
        self._limit = step.limit or (PROCESSES if step.isolation == "process" else LISTS)
        services = runs.services
        self._slots = Slots(step.name, step.limit, services.log, services.clock) if step.limit else None
        self._in_hand: dict[Delivery, Arrival] = {}
        self._lists: dict[asyncio.Task[None], list[Arrival]] = {}
        self._due: float | None = None  # when the first of those that wait has waited long enough, `Clock.steady`
        self._alarm: asyncio.Task[None] | None = None
        self._about_to_fill = False

    @property
    def _look_ahead(self) -> int:
        more = max(self._size, LOOK_AHEAD) if self.step.priority else self._size
        return min(self._limit * self._size, IN_HAND) + more - self._limit

    @property
    def busy(self) -> int:
        """Runs under way or about to be; not events that wait for others."""
        return len(self._running) + self._about_to_fill

    @property
    def holds(self) -> int:
        return len(self._in_hand)

    def touch(self) -> None:
        for delivery in self._in_hand:
            delivery.touch()

    async def stop(self, grace: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await super().stop(grace)
        if self._slots is not None:
            await self._slots.stop()

    # -- lists

    def _deliver(self, delivery: Delivery) -> None:
        if self._stopping:
            delivery.nak(0)
            return
        self._in_hand[delivery] = Arrival(delivery, read_input(delivery.record, self._topics), self, self._decode)
        self._waiting.append(delivery)
        self.runs.work.set()
        if not self._about_to_fill:  # once for all that come in this turn of the loop
            self._about_to_fill = True
            asyncio.get_running_loop().call_soon(self._fill)

    def _urgency(self, delivery: Delivery) -> float:
        try:
            return urgency_of(self._in_hand[delivery].value, self._urgent)
        except Unreadable:
            return 0

    def _fill(self) -> None:
        self._about_to_fill = False
        while self._waiting and self._has_room() and not self._stopping:
            if len(self._waiting) < self._size and not self._is_due():
                return
            count = min(self._size, len(self._waiting))
            arrivals = [self._in_hand[self._waiting.popleft()] for _ in range(count)]
            self._due = None
            task = asyncio.get_running_loop().create_task(self._handle_list(arrivals))
            self._lists[task] = arrivals
            self._running[task] = arrivals[0].delivery
            task.add_done_callback(self._done)

    def _is_due(self) -> bool:
        clock = self.runs.services.clock
        if self._due is None:
            self._due = min(self._in_hand[delivery].since for delivery in self._waiting) + self._wait
        left = self._due - clock.steady()
        if left < SOON:
            return True
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().create_task(self._ring(clock.time() + left))
        return False

    async def _ring(self, at: float) -> None:
        await self.runs.services.clock.sleep_until(at)
        self._alarm = None
        self._fill()

    def _done(self, task: asyncio.Task[None]) -> None:
        arrivals = self._lists.pop(task)
        del self._running[task]
        for arrival in arrivals:
            del self._in_hand[arrival.delivery]
        if self._consumer is not None:
            self._consumer.resume(len(arrivals))
        self._fill()

    async def _handle_list(self, arrivals: list[Arrival]) -> None:
        try:
            await self._process_list(arrivals)
        except asyncio.CancelledError:
            for arrival in arrivals:
                arrival.delivery.nak(0)
            if not self._stopping:
                raise
        except Exception as problem:
            self._give_back(arrivals, problem)

    def _give_back(self, arrivals: list[Arrival], problem: Exception) -> None:
        if isinstance(problem, LogUnavailable):
            _log.warning(
                "%s: the broker did not take the outcome of a run (%s); it will run again", self._name, problem
            )
        else:
            seqs = ", ".join(str(arrival.record.seq) for arrival in arrivals[:10])
            _log.error("%s: the engine failed on records %s; they come again", self._name, seqs, exc_info=problem)
        for arrival in arrivals:
            arrival.delivery.nak(OUTAGE_PAUSE)  # nothing to those that have ended

    async def _process_list(self, arrivals: list[Arrival]) -> None:
        """Each through the controls, what is left to its run."""
        admitted = await self._admit_all(arrivals)
        try:
            if admitted:
                async with self._slot():
                    calm = [arrival for arrival in admitted if not self._suspects.suspected(arrival.delivery)]
                    await self._run_list(calm)
                    for arrival in admitted:
                        if self._suspects.suspected(arrival.delivery):
                            await self._run_alone(arrival)
        finally:
            for arrival in admitted:
                for control in reversed(self._controls):
                    control.leave(arrival)

    async def _admit_all(self, arrivals: list[Arrival]) -> list[Arrival]:
        only = self._controls[0] if len(self._controls) == 1 else None
        if isinstance(only, Cancelled) and not any(map(only.hits, arrivals)):
            return arrivals
        found = await asyncio.gather(*map(self._admitted, arrivals), return_exceptions=True)
        admitted: list[Arrival] = []
        for arrival, outcome in zip(arrivals, found, strict=True):
            if isinstance(outcome, Exception):
                self._give_back([arrival], outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome:
                admitted.append(arrival)
        return admitted

    async def _admitted(self, arrival: Arrival) -> bool:
        passed = 0
        try:
            for control in self._controls:
                if not await control.admit(arrival):
                    break
                passed += 1
        finally:
            if passed < len(self._controls):
                for control in reversed(self._controls[:passed]):
                    control.leave(arrival)
        return passed == len(self._controls)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        slots = self._slots
        if slots is None:
            yield
            return
        slot = await slots.take_now(ALL) or await slots.take(ALL)
        try:
            yield
        finally:
            slots.give(slot)

    # -- runs

    async def _run(self, arrival: Arrival) -> None:
        await self._run_list([arrival])

    async def _run_list(self, arrivals: list[Arrival]) -> None:
        pairs = [(arrival, self._claim(arrival)) for arrival in arrivals]
        old = [pair for pair in pairs if not pair[0].fresh]
        left = {arrival for arrival, _ in await self._not_done(old)} if old else set()
        pairs = [pair for pair in pairs if pair[0].fresh or pair[0] in left]
        readable: Pairs = []
        for arrival, claim in pairs:
            try:
                arrival.value  # noqa: B018  # decoded here, so that one that nobody can read fails alone
            except Unreadable as problem:
                await self._failed(arrival, self.attempt(arrival), problem)
            else:
                readable.append((arrival, claim))
        await self._run_pairs(readable)

    async def _run_pairs(self, pairs: Pairs) -> None:
        conflicts = 0
        failed: tuple[Attempt, Exception] | None = None
        holder: Claim | None = None  # of a turn, if it has one
        try:
            while pairs and failed is None:
                first, claim = pairs[0]
                if holder is not None and holder is not claim:
                    claim.turn, holder.turn = holder.turn, ()
                holder = claim
                claim.members = [member for _, member in pairs]
                attempt = self._attempt_of(pairs)
                attempt.conflicts = conflicts
                values = [arrival.value for arrival, _ in pairs]
                try:
                    handler = first.apart or self._plan.bound.handler
                    call = self.runs.executor.run(handler, (values,), attempt.ctx, self.step.timeout)
                    own = await self.runs.cancels.run(attempt, call)
                except LogUnavailable:
                    raise
                except RunCancelled:
                    pairs = await self._without_cancelled(pairs, attempt)
                except Conflict as problem:
                    conflicts += 1
                    if conflicts > CONFLICTS_PER_RUN:
                        failed = (attempt, problem)
                        break
                    await attempt.begin_again(conflicts)
                    if claim.stored:  # a plan that came to nothing, or another list has some of them
                        pairs = await self._not_done(pairs)
                except Exception as problem:
                    failed = (attempt, problem)
                else:
                    for arrival, _ in pairs:
                        arrival.delivery.ack()
                    self.runs.end(attempt, "ok" if own else "recovered")
                    for arrival, _ in pairs[1:]:
                        if arrival.asked.trace.trace_id != first.asked.trace.trace_id:
                            self.runs.records.add(_Part(attempt, arrival))
                    return
        finally:
            if holder is not None:
                self.runs.services.commits.end_turn(holder)
        if failed is not None:
            await self._list_failed(pairs, *failed)

    def _attempt_of(self, pairs: Pairs) -> Attempt:
        first, claim = pairs[0]
        asked = first.asked
        trigger = Trigger(type="event", topic=asked.topic, event_id=asked.event_id)
        queued = max(0.0, self.runs.services.clock.time() - first.record.time)
        number = max(arrival.asked.attempt for arrival, _ in pairs)
        attempt = self.runs.begin(self._plan, asked.trace, trigger, claim, number, queued)
        attempt.events = [(arrival.asked.trace.trace_id, arrival.asked.event_id) for arrival, _ in pairs]
        return attempt

    async def _without_cancelled(self, pairs: Pairs, attempt: Attempt) -> Pairs:
        """What is left of a list whose run was interrupted: neither those that are cancelled nor those whose effects are true all the same."""
        claim = pairs[0][1]
        hit = {arrival for arrival, _ in pairs if self._is_cancelled(arrival)}
        hit = hit or {arrival for arrival, _ in pairs}  # the handler has raised it by itself
        last = attempt if len(hit) == len(pairs) else None  # the run of the first of those that end here
        if last is None:
            self.runs.end(attempt, "split", WITHOUT)
        if claim.stored:
            pairs = await self._not_done(pairs)
        claim.cancelled = False
        for arrival, its in pairs:
            if arrival in hit:
                if not arrival.fresh:
                    await finish_flushed(self.runs.services, its.subject)
                self.drop(arrival, "cancelled", last)
                last = None
        if last is not None:
            self.runs.end(last, "recovered")
        return [pair for pair in pairs if pair[0] not in hit]

    def _is_cancelled(self, arrival: Arrival) -> bool:
        asked = arrival.asked
        return self.runs.cancels.hits(asked.trace.trace_id, self.step.name, asked.event_id)

    async def _not_done(self, pairs: Pairs) -> Pairs:
        """Those whose effects are not true yet; the others are ended."""
        parts = [f"dead{arrival.asked.redrives}" for arrival, _ in pairs]
        done = await self.runs.services.commits.redo_together([claim for _, claim in pairs], parts)
        for (arrival, _), is_done in zip(pairs, done, strict=True):
            if is_done:
                self.drop(arrival, "recovered")
        return [pair for pair, is_done in zip(pairs, done, strict=True) if not is_done]

    async def _list_failed(self, pairs: Pairs, attempt: Attempt, problem: Exception) -> None:
        claim = pairs[0][1]
        if len(pairs) > 1 and not isinstance(problem, RetryLater):
            self.runs.end(attempt, "split", self.runs.describe(problem))
            if claim.stored:
                pairs = await self._not_done(pairs)
            middle = len(pairs) // 2
            await self._run_pairs(pairs[:middle])
            await self._run_pairs(pairs[middle:])
            return
        claim.members = [claim]
        await self._failed(pairs[0][0], attempt, problem)
        for arrival, _ in pairs[1:]:
            await self._failed(arrival, self.attempt(arrival), problem)


class _Part:
    """The run of a list, as the trace of another of its events shows it."""

    __slots__ = ("_arrival", "_attempt")

    def __init__(self, attempt: Attempt, arrival: Arrival) -> None:
        self._attempt = attempt
        self._arrival = arrival

    def record(self, epoch: float, redaction: Redaction) -> RunRecord:
        run, asked, data = self._attempt, self._arrival.asked, self._arrival.record.data
        return RunRecord(
            trace_id=asked.trace.trace_id,
            span_id=new_span_id(),
            parent_id=asked.trace.parent_id,
            tracestate=asked.trace.tracestate,
            step=run.step,
            trigger=Trigger(type="event", topic=asked.topic, event_id=asked.event_id),
            attempt=asked.attempt,
            started=epoch + run.start,
            queued=max(0.0, epoch + run.start - self._arrival.record.time),
            duration=run.duration,
            outcome=run.outcome,
            input=redaction.payload(data, redaction.input_of(asked.topic), known=run.outcome == "ok"),
            batch=run.trace_id,
        )
