"""Cron steps: one tick per due time, over any number of instances.

Every instance works out the due times and tries to append the tick with the sequence of the tick before it (compare-and-set), so one succeeds; the
others read what it wrote and go on from there. That holds however late an instance wakes up, not only within a dedupe window. The last tick is
kept without an age limit, so a restart knows what was missed. A durable consumer hands the tick to one instance; unless `overlap: allow`, one at a
time over all of them.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from motia_runtime.handler import NonRetryable, Trigger
from motia_runtime.naming import cron_subject, durable
from motia_runtime.ports import Conflict, Consumer, Delivery, LogUnavailable, Record
from motia_runtime.runs import CONFLICTS_PER_RUN, Plan, Runs, conflict_pause, retry_delay, skipped_by
from motia_runtime.trace import new_trace, parse
from motia_spec.cron import parse as parse_cron
from motia_spec.model import CronStep

LATE = 30.0  # seconds a tick may be late and still count as on time, besides the step's `catchUp`
OUTAGE_PAUSE = 1.0  # seconds between tries to reach the broker
CONCURRENCY = 16  # runs at once of a step with `overlap: allow`, in one process

_log = logging.getLogger("motia.cron")


class Tick(msgspec.Struct, frozen=True):
    """What is stored for a due time."""

    due: float  # seconds since the epoch
    skip: bool = False  # the run before was still going on, and the step says `overlap: skip`


_decode = msgspec.json.Decoder(Tick).decode
_encode = msgspec.json.Encoder().encode


class CronWorker:
    def __init__(self, plan: Plan, step: CronStep, runs: Runs) -> None:
        self._plan = plan
        self._step = step
        self._runs = runs
        self._schedule = parse_cron(step.cron, step.timezone)
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._consumer: Consumer | None = None
        self._claims: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def busy(self) -> int:
        return len(self._running)

    async def start(self) -> None:
        exclusive = self._step.overlap != "allow"
        log = self._runs.services.log
        # the consumer first: a new one sees what is appended after its creation
        self._consumer = await log.consume(
            durable(self._step.name),
            [cron_subject(self._step.name)],
            self._deliver,
            credit=1 if exclusive else CONCURRENCY,
            exclusive=exclusive,
        )
        last = await log.last(cron_subject(self._step.name))
        self._claims = asyncio.create_task(self._claim_for_ever(last))

    async def stop(self, grace: float) -> None:
        self._stopping = True
        if self._claims is not None:
            self._claims.cancel()
            await asyncio.wait([self._claims])
        if self._consumer is not None:
            await self._consumer.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        late = list(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def touch(self) -> None:
        for delivery in self._running.values():
            delivery.touch()

    # -- claiming due times

    async def _claim_for_ever(self, last: Record | None) -> None:
        clock = self._runs.services.clock
        seq, done = (last.seq, _decode(last.data).due) if last else (0, clock.time())
        due = self._first_due(done)
        while due is not None:
            await clock.sleep_until(due)
            late = clock.time() - due
            if late > max(LATE, self._step.catch_up):
                _log.warning(
                    "%s: missed its time by %.0f s, more than `catchUp` allows; skipped", self._step.name, late
                )
                done = due
            else:
                try:
                    seq, done = await self._claim(due, seq)
                except LogUnavailable as problem:
                    _log.warning("%s: the tick could not be stored (%s); trying again", self._step.name, problem)
                    await clock.sleep_until(clock.time() + OUTAGE_PAUSE)
                    continue
            due = self._schedule.next_after(max(done, due))

    def _first_due(self, done: float) -> float | None:
        """After a start: the newest time that was missed, when `catchUp` still wants it; else the next."""
        now = self._runs.services.clock.time()
        missed = self._schedule.previous(now + 0.001)
        if missed is not None and missed > done and now - missed <= self._step.catch_up:
            return missed
        return self._schedule.next_after(max(done, now))

    async def _claim(self, due: float, seq: int) -> tuple[int, float]:
        """Store the tick, or find that somebody else has. Gives the sequence and due time of the newest tick."""
        log, name = self._runs.services.log, self._step.name
        skip = False
        if self._step.overlap == "skip":
            backlog = await log.backlog(durable(name))
            skip = backlog.waiting + backlog.in_flight > 0
        while True:
            try:
                seq = await log.append(
                    cron_subject(name), _encode(Tick(due, skip)), expect=seq, id=f"cron:{name}:{due:.3f}"
                )
            except Conflict:
                last = await log.last(cron_subject(name))
                seq, done = (last.seq, _decode(last.data).due) if last else (0, 0.0)
                if done >= due:
                    return seq, done
            else:
                return seq, due

    # -- running

    def _deliver(self, delivery: Delivery) -> None:
        if self._stopping:
            delivery.nak(0)
            return
        task = asyncio.get_running_loop().create_task(self._handle(delivery))
        self._running[task] = delivery
        self._runs.work.set()
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if self._consumer is not None:
            self._consumer.resume(1)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._run(delivery)
        except asyncio.CancelledError:
            delivery.nak(0)
            if not self._stopping:
                raise
        except LogUnavailable as problem:
            _log.warning(
                "%s: the broker did not take the outcome of a run (%s); it will run again", self._step.name, problem
            )
            delivery.nak(OUTAGE_PAUSE)
        except Exception:
            _log.exception("%s: the engine failed on tick %s; it comes again", self._step.name, delivery.record.seq)
            delivery.nak(OUTAGE_PAUSE)

    async def _run(self, delivery: Delivery) -> None:
        runs, step, record = self._runs, self._step, delivery.record
        tick = _decode(record.data)
        trigger = Trigger(type="cron", due=tick.due)
        trace = parse(record.headers.get("traceparent")) or new_trace()
        number = delivery.delivered
        queued = max(0.0, runs.services.clock.time() - tick.due)
        conflicts = 0
        while True:
            attempt = runs.begin(self._plan, trace, trigger, f"{step.name}:{tick.due:.3f}", number, queued)
            attempt.conflicts = conflicts
            if tick.skip:
                delivery.ack()
                runs.end(attempt, "skipped")
                return
            try:
                bound = self._plan.bound.handler
                args = (trigger,) if bound.arity == 2 else ()
                await runs.executor.run(bound, args, attempt.ctx, step.timeout)
                await attempt.commit()
            except LogUnavailable:
                raise
            except Exception as problem:
                if isinstance(problem, Conflict) and conflicts < CONFLICTS_PER_RUN:
                    conflicts += 1
                    await asyncio.sleep(conflict_pause(conflicts))
                    continue
                final = (
                    isinstance(problem, NonRetryable)
                    or skipped_by(step.retry, problem)
                    or number >= step.retry.attempts
                )
                if final:
                    delivery.term(type(problem).__name__)
                else:
                    delivery.nak(retry_delay(step.retry, number))
                runs.end(attempt, "failed" if final else "retry", runs.describe(problem))
                return
            delivery.ack()
            runs.end(attempt, "ok")
            return
