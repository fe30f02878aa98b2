"""Event steps: from a delivery to its end. One `EventWorker` per step; the only place that decides between retry and dead letter.

A delivery ends in exactly one way: committed and acked; handed on as a retry record and acked; buried as a dead letter and acked; or given
back (broker unreachable, engine stopping) to come again. Attempts are counted in the retry record, not by the broker's delivery count, so a
crash or a restart does not use up attempts of events that only waited in a buffer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from motia_runtime.deadletters import DeadLetters, Story
from motia_runtime.handler import NonRetryable, Trigger, ValidationFailed
from motia_runtime.naming import durable, event_subject, retry_subject, topic_of
from motia_runtime.ports import Conflict, Delivery, LogUnavailable, Record
from motia_runtime.records import ErrorInfo
from motia_runtime.runner import TraceContext
from motia_runtime.runs import CONFLICTS_PER_RUN, Attempt, Plan, Runs, conflict_pause, retry_delay, skipped_by
from motia_runtime.suspects import Suspects
from motia_runtime.trace import format_context, new_trace, parse
from motia_runtime.worker import Worker
from motia_spec.model import EventStep

CONCURRENCY = 128  # runs of an async step at once in one process, unless the spec limits them
THREAD_CONCURRENCY = 16  # of a plain function
PREFETCH = 128  # deliveries held ready beyond those that run
PARK = 60.0  # seconds between looks at an event that is newer than this app


class Input(msgspec.Struct, frozen=True):
    """What a delivery says about the run it asks for."""

    topic: str
    event_id: str  # the same for all attempts, redrives and subscribers
    attempt: int
    redrives: int
    trace: TraceContext
    first_seen: float  # when the event was first stored, seconds since the epoch


class Unreadable(Exception):
    """The event itself can't be handed to the handler, so trying again would not help."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(str(fault))
        self.fault = fault


class EventWorker(Worker):
    def __init__(self, plan: Plan, step: EventStep, runs: Runs, letters: DeadLetters, suspects: Suspects) -> None:
        self._plan = plan
        self._step = step
        default = CONCURRENCY if plan.bound.handler.is_async else THREAD_CONCURRENCY
        super().__init__(step.name, runs, step.concurrency.limit if step.concurrency else default)
        self._letters = letters
        self._suspects = suspects
        self._inputs = {topic: runs.topic(topic) for topic in step.topics}
        self._foreign = runs.foreign_topics
        self._topics = {event_subject(topic): topic for topic in step.topics}

    async def start(self) -> None:
        subjects = [*(event_subject(t) for t in self._step.topics), retry_subject(self._step.name)]
        credit = self._limit + min(self._limit, PREFETCH)
        self._consumer = await self._runs.services.log.consume(
            durable(self._step.name), subjects, self._deliver, credit=credit
        )

    async def _work(self, delivery: Delivery) -> None:
        asked = read_input(delivery.record, self._topics)
        if asked.attempt == 1 and not asked.redrives and await self._delayed(delivery.record, asked):
            delivery.ack()
        elif not self._suspects.suspected(delivery):
            await self._run(delivery, asked)
        else:
            async with self._suspects.lane:
                if not await self._suspects.may_run(self._step, asked.event_id):
                    await self._bury_crasher(delivery, asked)
                    return
                try:
                    await self._run(delivery, asked)
                finally:
                    self._suspects.survived(self._step, asked.event_id)

    async def _run(self, delivery: Delivery, asked: Input) -> None:
        runs, step, record = self._runs, self._step, delivery.record
        trigger = Trigger(type="event", topic=asked.topic, event_id=asked.event_id)
        queued = max(0.0, runs.services.clock.time() - record.time)
        run_id = f"{step.name}:{asked.event_id}"
        conflicts = 0
        while True:
            attempt = runs.begin(self._plan, asked.trace, trigger, run_id, asked.attempt, queued)
            attempt.conflicts = conflicts
            try:
                value = self._decode(asked.topic, record.data)
                await runs.executor.run(self._plan.bound.handler, (value,), attempt.ctx, step.timeout)
                await attempt.commit()
            except LogUnavailable:
                raise
            except Conflict as problem:
                conflicts += 1
                if conflicts > CONFLICTS_PER_RUN:
                    await self._failed(delivery, asked, attempt, problem)
                    return
                await asyncio.sleep(conflict_pause(conflicts))
            except Exception as problem:
                await self._failed(delivery, asked, attempt, problem)
                return
            else:
                delivery.ack()
                runs.end(attempt, "ok")
                return

    def _decode(self, topic: str, data: bytes) -> Any:
        codec = self._inputs.get(topic)
        if codec is None:
            raise Unreadable(LookupError(f"the step no longer subscribes to {topic!r}"))
        try:
            return codec.decode(data, trusted=topic not in self._foreign)
        except ValidationFailed as fault:
            raise Unreadable(fault) from fault

    async def _failed(self, delivery: Delivery, asked: Input, attempt: Attempt, problem: Exception) -> None:
        step, retry = self._step, self._step.retry
        if isinstance(problem, Unreadable) and await self._parked(delivery, asked, attempt):
            return
        error = self._runs.describe(problem.fault if isinstance(problem, Unreadable) else problem)
        final = isinstance(problem, (Unreadable, NonRetryable)) or skipped_by(retry, problem)
        if not final and asked.attempt < retry.attempts:
            at = self._runs.services.clock.time() + retry_delay(retry, asked.attempt)
            await self._hand_on(delivery.record, asked, asked.attempt + 1, at, "retry")
            delivery.ack()
            self._runs.end(attempt, "retry", error)
        elif step.dead_letter:
            await self._letters.bury(self._story(asked, error, attempt.span_id), delivery.record.data)
            delivery.ack()
            self._runs.end(attempt, "dead", error)
        else:
            delivery.term(error.type)
            self._runs.end(attempt, "failed", error)

    async def _parked(self, delivery: Delivery, asked: Input, attempt: Attempt) -> bool:
        """An event that says it is of a newer version (`$v`) and can't be read waits for an app that can: while a new version is being
        rolled out, old instances neither drop it nor bury it. True when it was put aside."""
        if not says_newer(delivery.record.data):
            return False
        now = self._runs.services.clock.time()
        if now - asked.first_seen > self._runs.park_limit:
            return False
        await self._hand_on(delivery.record, asked, asked.attempt, now + PARK, f"park:{delivery.record.seq}")
        delivery.ack()
        self._runs.end(attempt, "parked")
        return True

    async def _delayed(self, record: Record, asked: Input) -> bool:
        """Hand a fresh event on to its due time when the step has a `delay`."""
        due = record.time + self._step.delay
        if not self._step.delay or record.subject.startswith("retry.") or self._runs.services.clock.time() >= due:
            return False
        await self._hand_on(record, asked, 1, due, "delay")
        return True

    async def _hand_on(self, record: Record, asked: Input, attempt: int, at: float, why: str) -> None:
        headers = {
            "Motia-Event": asked.event_id,
            "Motia-Topic": asked.topic,
            "Motia-Attempt": str(attempt),
            "Motia-Redrives": str(asked.redrives),
            "Motia-First": repr(asked.first_seen),
            "traceparent": format_context(asked.trace),
        }
        once = f"{why}:{self._step.name}:{asked.event_id}:{asked.redrives}:{attempt}"
        await self._runs.services.log.append(
            retry_subject(self._step.name), record.data, headers=headers, id=once, at=at
        )

    async def _bury_crasher(self, delivery: Delivery, asked: Input) -> None:
        error = ErrorInfo(
            "ProcessDied", f"the process died each time this event was run ({delivery.delivered} deliveries)"
        )
        trigger = Trigger(type="event", topic=asked.topic, event_id=asked.event_id)
        attempt = self._runs.begin(
            self._plan, asked.trace, trigger, f"{self._step.name}:{asked.event_id}", asked.attempt
        )
        await self._letters.bury(self._story(asked, error, attempt.span_id), delivery.record.data)
        delivery.ack()
        self._runs.end(attempt, "dead", error)

    def _story(self, asked: Input, error: ErrorInfo, span_id: str) -> Story:
        return Story(
            step=self._step.name,
            topic=asked.topic,
            event_id=asked.event_id,
            attempts=asked.attempt,
            failed_at=self._runs.services.clock.time(),
            error=error,
            trace_id=asked.trace.trace_id,
            span_id=span_id,
            redrives=asked.redrives,
        )


def read_input(record: Record, topics: dict[str, str]) -> Input:
    """`topics` by subject. `Motia-` headers count on retry records only, which nobody but an engine writes."""
    headers = record.headers
    trace = parse(headers.get("traceparent")) or new_trace()
    topic = topics.get(record.subject)
    if topic is None and not record.subject.startswith("retry."):
        topic = topic_of(record.subject)  # the consumer still has the filter of an older version of the spec
    if topic is not None:
        return Input(topic, str(record.seq), 1, 0, trace, record.time)
    return Input(
        topic=headers.get("Motia-Topic", ""),
        event_id=headers.get("Motia-Event", str(record.seq)),
        attempt=int(headers.get("Motia-Attempt", "1")),
        redrives=int(headers.get("Motia-Redrives", "0")),
        trace=trace,
        first_seen=float(headers.get("Motia-First", record.time)),
    )


def says_newer(data: bytes) -> bool:
    """True for a JSON object whose `$v` is a whole number above 1, the version of all schemas that this app knows."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    version = value.get("$v") if isinstance(value, dict) else None
    return isinstance(version, int) and not isinstance(version, bool) and version > 1
