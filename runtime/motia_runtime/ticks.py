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

from motia_runtime.cancels import RunCancelled
from motia_runtime.commit import Claim
from motia_runtime.controls.cancelled import finish_flushed
from motia_runtime.handler import NonRetryable, Trigger
from motia_runtime.naming import cron_subject, durable, plan_subject
from motia_runtime.ports import Clock, Conflict, Delivery, Log, LogUnavailable, Record
from motia_runtime.runs import CONFLICTS_PER_RUN, Plan, Runs, retry_delay, skipped_by
from motia_runtime.trace import format_context, new_trace, parse
from motia_runtime.worker import OUTAGE_PAUSE, Worker
from motia_spec.cron import parse as parse_cron
from motia_spec.model import CronStep

LATE = 30.0  # seconds a tick may be late and still count as on time, besides the step's `catchUp`
CONCURRENCY = 16  # runs at once of a step with `overlap: allow`, in one process

_log = logging.getLogger("motia.cron")


class Tick(msgspec.Struct, frozen=True):
    """What is stored for a due time."""

    due: float  # seconds since the epoch
    skip: bool = False  # the run before was still going on, and the step says `overlap: skip`
    after: float | None = None  # of a run by hand: the due time that was the newest when it was asked for

    @property
    def done(self) -> float:
        """The newest due time that has had its tick."""
        return self.due if self.after is None else self.after


_decode = msgspec.json.Decoder(Tick).decode
_encode = msgspec.json.Encoder().encode


class CronWorker(Worker):
    def __init__(self, plan: Plan, step: CronStep, runs: Runs) -> None:
        super().__init__(step.name, runs, CONCURRENCY)
        self._plan = plan
        self._step = step
        self._schedule = parse_cron(step.cron, step.timezone)
        self._claims: asyncio.Task[None] | None = None

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
        self._claims.add_done_callback(_tell)

    async def stop(self, grace: float) -> None:
        if self._claims is not None:
            self._claims.cancel()
            await asyncio.wait([self._claims])
        await super().stop(grace)

    # -- claiming due times

    async def _claim_for_ever(self, last: Record | None) -> None:
        clock = self._runs.services.clock
        seq, done = (last.seq, read_tick(last).done) if last else (0, clock.time())
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
                    await clock.pause(OUTAGE_PAUSE)
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
                seq, done = (last.seq, read_tick(last).done) if last else (0, 0.0)
                if done >= due:
                    return seq, done
            else:
                return seq, due

    # -- running

    async def _work(self, delivery: Delivery) -> None:
        runs, step, record = self._runs, self._step, delivery.record
        tick = read_tick(record)
        trigger = Trigger(type="cron", due=tick.due)
        trace = parse(record.headers.get("traceparent")) or new_trace()
        number = delivery.delivered
        queued = max(0.0, runs.services.clock.time() - tick.due)
        key = f"{tick.due:.3f}"
        claim = Claim(f"{step.name}:{key}", plan_subject(step.name, key), runs.services.clock.steady())
        if tick.skip or (number > 1 and await runs.services.commits.redo(claim)):
            delivery.ack()
            attempt = runs.begin(self._plan, trace, trigger, claim, number, queued)
            runs.end(attempt, "skipped" if tick.skip else "recovered")
            return
        conflicts = 0
        try:
            while True:
                attempt = runs.begin(self._plan, trace, trigger, claim, number, queued)
                attempt.conflicts = conflicts
                try:
                    bound = self._plan.bound.handler
                    args = (trigger,) if bound.arity == 2 else ()
                    own = await runs.cancels.run(attempt, runs.executor.run(bound, args, attempt.ctx, step.timeout))
                except LogUnavailable:
                    raise
                except RunCancelled:
                    await finish_flushed(runs.services, claim.subject)
                    delivery.term("cancelled")
                    runs.end(attempt, "cancelled")
                    return
                except Exception as problem:
                    if isinstance(problem, Conflict) and conflicts < CONFLICTS_PER_RUN:
                        conflicts += 1
                        await attempt.begin_again(conflicts)
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
                runs.end(attempt, "ok" if own else "recovered")
                return
        finally:
            runs.services.commits.end_turn(claim)


async def run_now(log: Log, clock: Clock, step: CronStep) -> str:
    """Have a cron step run once more, now, beside its schedule, which goes on as if nothing had happened. Gives the trace's id. Durable when it
    returns. Raises `LogUnavailable`."""
    trace, subject = new_trace(), cron_subject(step.name)
    while True:
        last = await log.last(subject)
        now = clock.time()
        tick = Tick(now, after=now if last is None else read_tick(last).done)
        try:
            headers = {"traceparent": format_context(trace)}
            await log.append(subject, _encode(tick), headers=headers, expect=last.seq if last else 0)
        except Conflict:
            continue
        return trace.trace_id


def _tell(claims: asyncio.Task[None]) -> None:
    """A schedule that has ended by an error of ours shall not do so in silence."""
    if not claims.cancelled() and (problem := claims.exception()) is not None:
        _log.critical("a schedule has stopped; restart the app", exc_info=problem)


def read_tick(record: Record) -> Tick:
    """A record that nobody of us has written counts as a tick of its own time, so that it can neither stop a schedule nor repeat it."""
    try:
        return _decode(record.data)
    except msgspec.DecodeError:
        return Tick(record.time, skip=True)
