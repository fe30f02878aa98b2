"""Event steps: from a delivery to its end. One `EventWorker` per step; the only place that decides between retry and dead letter.

A delivery ends in exactly one way: committed and acked; handed on as a retry record and acked; buried as a dead letter and acked; or given
back (broker unreachable, engine stopping) to come again. Attempts are counted in the retry record, not by the broker's delivery count, so a
crash or a restart does not use up attempts of events that only waited in a buffer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from motia_runtime.cancels import RunCancelled
from motia_runtime.commit import Claim
from motia_runtime.controls.cancelled import finish_flushed
from motia_runtime.controls.control import Arrival, Control, Input, Unreadable
from motia_runtime.controls.keys import path_of
from motia_runtime.controls.order import controls_of
from motia_runtime.controls.priority import LOOK_AHEAD, ByPriority, urgency_of
from motia_runtime.deadletters import HISTORY, Story, letter_of, rounds_of
from motia_runtime.handler import NonRetryable, RetryLater, Trigger, ValidationFailed
from motia_runtime.inputs import inputs_of
from motia_runtime.isolation.failures import WorkerDied
from motia_runtime.isolation.pool import PROCESSES
from motia_runtime.naming import durable, encode, event_subject, plan_subject, retry_subject, topic_of
from motia_runtime.plans import Planned
from motia_runtime.ports import Conflict, Consumer, Delivery, LogUnavailable, Record, TooLarge
from motia_runtime.records import ErrorInfo
from motia_runtime.runs import CONFLICTS_PER_RUN, Attempt, Plan, Runs, retry_delay, skipped_by
from motia_runtime.suspects import Suspects
from motia_runtime.trace import REPLAY_OF, format_parent, headers_in, new_trace, read
from motia_runtime.worker import Worker
from motia_spec.model import EventStep

CONCURRENCY = 128  # runs of an async step at once in one process, unless the spec limits them
THREAD_CONCURRENCY = 16  # of a plain function
PREFETCH = 128  # deliveries held ready beyond those that run, without a priority
IN_LINE = 4_096  # with a limit for each key: many of them may wait behind a few keys
PARK = 60.0  # seconds between looks at an event that is newer than this app


class EventWorker(Worker):
    def __init__(self, plan: Plan, step: EventStep, runs: Runs, suspects: Suspects) -> None:
        self._plan = plan
        self.step = step
        self.runs = runs
        threads = PROCESSES if step.isolation == "process" else THREAD_CONCURRENCY
        default = CONCURRENCY if plan.bound.handler.is_async or plan.bound.handler.remote else threads
        super().__init__(step.name, runs, step.limit or default)
        self._suspects = suspects
        self._inputs = inputs_of(step, runs)
        self._topics = {event_subject(topic): topic for topic in step.topics}
        self._controls: tuple[Control, ...] = controls_of(plan, step, runs)
        self._plans = plan_subject(step.name, "")[:-1]  # what the subjects of all plans begin with
        self._direct = len(self._controls) == 1  # that of what people cancel
        if step.priority:
            self._urgent = path_of(step.priority)
            self._waiting = ByPriority(self._urgency)

    async def start(self) -> None:
        for control in self._controls:
            await control.start()
        self._consumer = await self._consume(self._limit + self._look_ahead)

    @property
    def _look_ahead(self) -> int:
        """Deliveries held ready beyond those that run."""
        if self.step.concurrency and self.step.concurrency.key:
            return IN_LINE
        return LOOK_AHEAD if self.step.priority else min(self._limit, PREFETCH)

    async def declare(self) -> None:
        """See that the step's consumer is there, and take nothing: what is emitted from now on waits for an engine. Raises `LogUnavailable`."""
        consumer = await self._consume(0)
        await consumer.stop()

    @property
    def _alone(self) -> Callable[[], bool] | None:
        """Whether this engine is to have all deliveries. None: all engines share them."""
        return None

    async def _consume(self, credit: int) -> Consumer:
        subjects = [*(event_subject(t) for t in self.step.topics), retry_subject(self.step.name)]
        return await self.runs.services.log.consume(
            durable(self.step.name), subjects, self._deliver, credit=credit, alone=self._alone
        )

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        for control in self._controls:
            await control.stop()

    def _work(self, delivery: Delivery) -> Coroutine[Any, Any, None]:
        return self._process(Arrival(delivery, read_input(delivery.record, self._topics), self, self._decode))

    def _process(self, arrival: Arrival) -> Coroutine[Any, Any, None]:
        """Through the controls to its run, and to its end. Most steps have none that would do anything with most arrivals."""
        if self._direct and self.runs.cancels.none and not self._suspects.suspected(arrival.delivery):
            return self._run(arrival)
        return self._controlled(arrival)

    async def _controlled(self, arrival: Arrival) -> None:
        passed = 0
        try:
            for control in self._controls:
                if not await control.admit(arrival):
                    return
                passed += 1
            await self._run_alone(arrival) if self._suspects.suspected(arrival.delivery) else await self._run(arrival)
        finally:
            for control in reversed(self._controls[:passed]):
                control.leave(arrival)

    async def _run_alone(self, arrival: Arrival) -> None:
        if await self.recovered(arrival):
            return
        async with self._suspects.trial(self.step, arrival.asked.event_id, self._plan.bound.handler) as trial:
            if trial.guilty:
                await self._bury_guilty(arrival)
                return
            arrival.apart = trial.handler
            try:
                await self._run_until_it_ends(arrival)
            finally:
                arrival.apart = None
                self._survived(arrival)

    async def _run_until_it_ends(self, arrival: Arrival) -> None:
        while True:
            try:
                await self._run(arrival)
                return
            except WorkerDied as problem:
                if await self._suspects.died(self.step, arrival.asked.event_id):
                    await self._bury_guilty(arrival, f"; at last {problem}", problem.stack)
                    return

    @asynccontextmanager
    async def alone(self, arrival: Arrival) -> AsyncIterator[bool]:
        if not self._suspects.suspected(arrival.delivery):
            yield True
            return
        async with self._suspects.trial(self.step, arrival.asked.event_id) as trial:
            if trial.guilty:
                await self._bury_guilty(arrival)
            yield not trial.guilty

    async def _bury_guilty(self, arrival: Arrival, more: str = "", stack: str = "") -> None:
        message = f"the process died each time this event was run ({arrival.delivery.delivered} deliveries{more})"
        await self._end_failed(arrival, self.attempt(arrival), ErrorInfo("ProcessDied", message, stack))
        self._survived(arrival)

    def _survived(self, arrival: Arrival) -> None:
        if self._suspects.suspected(arrival.delivery):
            self._suspects.cleared(self.step, arrival.asked.event_id)

    async def _run(self, arrival: Arrival) -> None:
        runs, step, asked = self.runs, self.step, arrival.asked
        trigger = Trigger(type="event", topic=asked.topic, event_id=asked.event_id)
        queued = max(0.0, runs.services.clock.time() - arrival.record.time)
        claim = self._claim(arrival)
        if not arrival.fresh and await self._recovered(arrival, claim):
            return
        handler, timeout = arrival.apart or self._plan.bound.handler, step.timeout
        cancels, watchdog = runs.cancels, runs.executor.watchdog
        conflicts = 0
        try:
            while True:
                attempt = runs.begin(
                    self._plan, asked.trace, trigger, claim, asked.attempt, queued, arrival.record.data
                )
                attempt.conflicts = conflicts
                try:
                    if not handler.is_async or not cancels.none:
                        call = runs.executor.run(handler, (arrival.value,), attempt.ctx, timeout)
                        own = await cancels.run(attempt, call)
                    else:  # as these two, without their coroutines
                        value = arrival.value
                        cancels.enter(attempt)
                        try:
                            watchdog.watch(attempt, timeout)
                            try:
                                await handler.function(value, attempt.ctx)
                            except BaseException as problem:
                                watchdog.explain(problem, attempt)
                            finally:
                                watchdog.forget(attempt)
                            if attempt.cancelled:
                                raise RunCancelled
                            own = attempt.effects is None or await attempt.effects.commit()
                        except BaseException as problem:
                            cancels.explain(problem, attempt)
                            await attempt.look_again(problem)
                            raise
                        finally:
                            cancels.leave(attempt)
                except LogUnavailable:
                    raise
                except RunCancelled:
                    await finish_flushed(runs.services, claim.subject)
                    self.drop(arrival, "cancelled", attempt)
                    return
                except Conflict as problem:
                    conflicts += 1
                    if conflicts > CONFLICTS_PER_RUN:
                        await self._failed(arrival, attempt, problem)
                        return
                    await attempt.begin_again(conflicts)
                except Exception as problem:
                    await self._failed(arrival, attempt, problem)
                    return
                else:
                    arrival.delivery.ack()
                    runs.end(attempt, "ok" if own else "recovered")
                    return
        finally:
            if claim.turn:
                runs.services.commits.end_turn(claim)

    def _decode(self, topic: str, data: bytes) -> Any:
        read = self._inputs.get(topic)
        if read is None:
            raise Unreadable(LookupError(f"the step no longer subscribes to {topic!r}"))
        try:
            return read(data)
        except ValidationFailed as fault:
            raise Unreadable(fault) from fault

    def _urgency(self, delivery: Delivery) -> float:
        try:
            value = self._decode(read_input(delivery.record, self._topics).topic, delivery.record.data)
        except Unreadable:
            return 0
        return urgency_of(value, self._urgent)

    async def _failed(self, arrival: Arrival, attempt: Attempt, problem: Exception) -> None:
        retry, asked = self.step.retry, arrival.asked
        if arrival.apart is not None and isinstance(problem, WorkerDied):
            self.runs.end(attempt, "retry", self.runs.describe(problem))
            raise problem  # no attempt has failed: this is what it is tried for
        if isinstance(problem, Unreadable) and await self._parked(arrival, attempt):
            return
        error = self.runs.describe(problem.fault if isinstance(problem, Unreadable) else problem)
        final = isinstance(problem, (Unreadable, NonRetryable)) or skipped_by(retry, problem)
        if not final and asked.attempt < self._attempts:
            delay = problem.delay if isinstance(problem, RetryLater) else retry_delay(retry, asked.attempt)
            at = self.runs.services.clock.time() + delay
            await self._hand_on(arrival, asked.attempt + 1, at, "retry", flushed=attempt.claim.flushed)
            self.runs.end(attempt, "retry", error)
        else:
            await self._end_failed(arrival, attempt, error)

    @property
    def _attempts(self) -> int:
        return self.step.retry.attempts

    async def _end_failed(self, arrival: Arrival, attempt: Attempt, error: ErrorInfo) -> None:
        if self.step.dead_letter:
            await self._bury(arrival, attempt, error)
            arrival.delivery.ack()
            self.runs.end(attempt, "dead", error)
        else:
            arrival.delivery.term(error.type)
            self.runs.end(attempt, "failed", error)

    async def _bury(self, arrival: Arrival, attempt: Attempt, error: ErrorInfo) -> None:
        """The letter is committed like effects, so that a crash leaves one of it."""
        story, data = self._story(arrival.asked, error, attempt), arrival.record.data
        trace = format_parent(attempt.trace_id, attempt.span_id)
        commits = self.runs.services.commits
        part = f"dead{arrival.asked.redrives}"
        try:
            await commits.commit(attempt.claim, part, Planned("", trace, [], [letter_of(story, data)]), ())
        except TooLarge:
            story = msgspec.structs.replace(story, data_left_out=True)
            await commits.commit(attempt.claim, part, Planned("", trace, [], [letter_of(story, data)]), ())

    async def _parked(self, arrival: Arrival, attempt: Attempt) -> bool:
        """An event that says it is of a newer version (`$v`) and can't be read waits for an app that can: while a new version is being
        rolled out, old instances neither drop it nor bury it. True when it was put aside."""
        if not says_newer(arrival.record.data):
            return False
        now = self.runs.services.clock.time()
        if now - arrival.asked.first_seen > self.runs.park_limit:
            return False
        await self._hand_on(arrival, arrival.asked.attempt, now + PARK, f"park:{arrival.record.seq}")
        self.runs.end(attempt, "parked")
        return True

    async def _hand_on(
        self,
        arrival: Arrival,
        attempt: int,
        at: float,
        why: str,
        *,
        slot: str | None = None,
        flushed: int | None = None,
    ) -> None:
        """Have this step get the event again then, and end this delivery."""
        self.runs.services.commits.check_touch(arrival.since)
        asked = arrival.asked
        flushed = asked.flushed if flushed is None else flushed
        headers = {
            "Motia-Event": asked.event_id,
            "Motia-Topic": asked.topic,
            "Motia-Attempt": str(attempt),
            "Motia-Redrives": str(asked.redrives),
            "Motia-First": repr(asked.first_seen),
            "Motia-Why": why,
            "Motia-Flushed": str(flushed),
            **headers_in(asked.trace),
        }
        if asked.trace.replay_of:
            headers[REPLAY_OF] = asked.trace.replay_of
        if asked.history:
            headers[HISTORY] = asked.history
        once = f"{why}:{self.step.name}:{asked.event_id}:{asked.redrives}:{attempt}" if slot is None else None
        await self.runs.services.log.append(
            retry_subject(self.step.name), arrival.record.data, headers=headers, id=once, at=at, slot=slot
        )
        arrival.delivery.ack()

    # -- what controls may do (`Hands`)

    async def hand_on(self, arrival: Arrival, at: float, *, why: str, slot: str | None = None) -> None:
        await self._hand_on(arrival, arrival.asked.attempt, at, why, slot=slot)

    def drop(self, arrival: Arrival, outcome: str, attempt: Attempt | None = None) -> None:
        arrival.delivery.ack()
        self._survived(arrival)
        self.runs.end(attempt or self.attempt(arrival), outcome)

    def note(self, arrival: Arrival, outcome: str) -> None:
        self.runs.end(self.attempt(arrival), outcome)

    async def bury(self, arrival: Arrival, kind: str, message: str) -> None:
        await self._end_failed(arrival, self.attempt(arrival), ErrorInfo(kind, message))

    async def fail(self, arrival: Arrival, attempt: Attempt, problem: Exception) -> None:
        await self._failed(arrival, attempt, problem)
        self._survived(arrival)

    async def recovered(self, arrival: Arrival) -> bool:
        return await self._recovered(arrival, self._claim(arrival))

    async def _recovered(self, arrival: Arrival, claim: Claim) -> bool:
        if arrival.fresh or not await self.runs.services.commits.redo(claim, f"dead{arrival.asked.redrives}"):
            return False
        self.drop(arrival, "recovered")
        return True

    def attempt(self, arrival: Arrival) -> Attempt:
        asked = arrival.asked
        trigger = Trigger(type="event", topic=asked.topic, event_id=asked.event_id)
        claim, given = self._claim(arrival), arrival.record.data
        return self.runs.begin(self._plan, asked.trace, trigger, claim, asked.attempt, given=given)

    def _claim(self, arrival: Arrival) -> Claim:
        asked, name = arrival.asked, self.step.name
        plan = f"{self._plans}{encode(asked.event_id)}"
        return Claim(f"{name}:{asked.event_id}", plan, arrival.since, asked.flushed)

    def _story(self, asked: Input, error: ErrorInfo, attempt: Attempt) -> Story:
        return Story(
            step=self.step.name,
            topic=asked.topic,
            event_id=asked.event_id,
            attempts=asked.attempt,
            failed_at=self.runs.services.clock.time(),
            error=error,
            trace_id=asked.trace.trace_id,
            span_id=attempt.span_id,
            tracestate=attempt.tracestate,
            redrives=asked.redrives,
            flushed=attempt.claim.flushed,
            history=rounds_of(asked.history),
        )


def read_input(record: Record, topics: dict[str, str]) -> Input:
    """`topics` by subject. `Motia-` headers count on retry records only, which nobody but an engine writes."""
    headers = record.headers
    trace = read(headers) or new_trace()
    if REPLAY_OF in headers:
        trace = msgspec.structs.replace(trace, replay_of=headers[REPLAY_OF])
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
        flushed=int(headers.get("Motia-Flushed", "0")),
        history=headers.get(HISTORY, ""),
    )


def says_newer(data: bytes) -> bool:
    """True for a JSON object whose `$v` is a whole number above 1, the version of all schemas that this app knows."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    version = value.get("$v") if isinstance(value, dict) else None
    return isinstance(version, int) and not isinstance(version, bool) and version > 1
