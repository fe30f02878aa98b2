"""One attempt of one run: its context while it runs, its record when it has ended. Shared by api, event and cron steps."""

from __future__ import annotations

import asyncio
import linecache
import logging
import random
import time
from pathlib import Path

import msgspec

from motia_runtime.bind import BoundStep
from motia_runtime.codec import Codec
from motia_runtime.context import Context, Secrets
from motia_runtime.effects import Outlet, Services, Unit
from motia_runtime.execute import Executor
from motia_runtime.handler import Trigger
from motia_runtime.naming import event_subject
from motia_runtime.records import ErrorInfo, RecordWriter, RunRecord
from motia_runtime.runlog import in_words
from motia_runtime.runner import TraceContext
from motia_runtime.trace import new_span_id
from motia_runtime.types import Types
from motia_spec.model import Project, Retry

CONFLICTS_PER_RUN = 100  # times a run begins again because of concurrent writers, before it counts as failed
MESSAGE_LENGTH = 10_000  # characters kept of an error's message
STACK_FRAMES = 20  # of the user's code, innermost last

_log = logging.getLogger("motia.engine")


class Plan(msgspec.Struct, frozen=True):
    """A step made ready to run."""

    name: str
    bound: BoundStep
    emits: dict[str, Outlet]  # by topic


class Attempt:
    """Lives from `Runs.begin` until its record is written, a moment after `Runs.end`."""

    __slots__ = (
        "conflicts",
        "ctx",
        "duration",
        "error",
        "outcome",
        "parent_id",
        "plan",
        "queued",
        "start",
        "started",
        "status",
        "trigger",
        "unit",
    )

    duration: float
    outcome: str
    error: ErrorInfo | None
    status: int | None

    def __init__(self, plan: Plan, unit: Unit, ctx: Context, trigger: Trigger, parent_id: str, queued: float) -> None:
        self.plan = plan
        self.unit = unit
        self.ctx = ctx
        self.trigger = trigger
        self.parent_id = parent_id
        self.queued = queued
        self.conflicts = 0
        self.started = time.time()
        self.start = time.perf_counter()

    def record(self) -> RunRecord:
        """What is kept of it. Made when records are written, many at a time, which is cheaper than in between."""
        unit, ctx = self.unit, self.ctx
        logger = ctx._logger
        return RunRecord(
            trace_id=ctx.trace_id,
            span_id=unit.span_id,
            parent_id=self.parent_id,
            step=ctx.step,
            trigger=self.trigger,
            attempt=ctx.attempt,
            started=self.started,
            queued=self.queued,
            duration=self.duration,
            outcome=self.outcome,
            status=self.status,
            conflicts=self.conflicts,
            error=self.error,
            emits=unit.emitted,
            state=unit.written,
            more_effects=unit.more,
            logs=[] if logger is None else logger.lines,
            more_logs=0 if logger is None else logger.dropped,
        )


class Runs:
    """Begins and ends attempts. Lives as long as the engine."""

    def __init__(self, project: Project, types: Types, services: Services, executor: Executor) -> None:
        self.services = services
        self.executor = executor
        self.records = RecordWriter(services.log)
        self.work = asyncio.Event()  # set whenever a delivery is taken in hand
        self.park_limit = project.nats.max_age  # seconds an event may wait for a newer app
        self._root = project.root
        self._secrets = Secrets(project.secrets)
        self._topics = {t.name: types.codec(t.schema) for t in project.topics.values()}
        self.foreign_topics = {t.name for t in project.topics.values() if t.external == "in"}

    def plan(self, bound: BoundStep) -> Plan:
        emits = {e.topic: Outlet(self._topics[e.topic], event_subject(e.topic)) for e in bound.step.emits}
        return Plan(bound.step.name, bound, emits)

    def topic(self, name: str) -> Codec:
        return self._topics[name]

    def begin(
        self,
        plan: Plan,
        trace: TraceContext,
        trigger: Trigger,
        run_id: str | None = None,
        attempt: int = 1,
        queued: float = 0.0,
    ) -> Attempt:
        """`run_id` stays the same however often the run is repeated; without one the run has just begun to exist."""
        step = plan.name
        span_id = new_span_id()
        unit = Unit(self.services, plan.emits, run_id or f"{step}:{span_id}", trace.trace_id, span_id)
        ctx = Context(unit, step, trace.trace_id, attempt, trigger, self._secrets)
        return Attempt(plan, unit, ctx, trigger, trace.parent_id, queued)

    def end(self, attempt: Attempt, outcome: str, error: ErrorInfo | None = None, *, status: int | None = None) -> None:
        attempt.duration = time.perf_counter() - attempt.start
        attempt.outcome = outcome
        attempt.error = error
        attempt.status = status
        self.records.add(attempt)
        if error is not None and attempt.trigger.type != "api":  # HTTP tells of those, with what it answered
            level = logging.WARNING if outcome == "retry" else logging.ERROR
            ctx = attempt.ctx
            fields: dict[str, object] = {"attempt": ctx.attempt, "outcome": outcome}
            if error.stack:
                fields["at"] = error.stack.rpartition("\n")[2]
            told = {"step": ctx.step, "trace_id": ctx.trace_id, "fields": fields}
            _log.log(level, "failed: %s: %s", error.type, error.message, extra={"motia": told})

    def describe(self, problem: BaseException) -> ErrorInfo:
        """What a person needs to know of an error: its type, its words, and where in the user's own files it came from."""
        frames: list[str] = []
        walk = problem.__traceback__
        while walk is not None:
            file = Path(walk.tb_frame.f_code.co_filename)
            if file.is_relative_to(self._root) and "site-packages" not in file.parts:
                code = linecache.getline(str(file), walk.tb_lineno).strip()
                name = walk.tb_frame.f_code.co_name
                frames.append(f"{file.relative_to(self._root).as_posix()}:{walk.tb_lineno} in {name}: {code}")
            walk = walk.tb_next
        return ErrorInfo(type(problem).__name__, in_words(problem)[:MESSAGE_LENGTH], "\n".join(frames[-STACK_FRAMES:]))


def retry_delay(retry: Retry, failed: int) -> float:
    """Seconds to wait after attempt number `failed` has failed."""
    factor = {"exponential": 2.0 ** min(failed - 1, 60), "linear": float(failed), "fixed": 1.0}[retry.backoff]
    delay = min(retry.delay * factor, retry.max)
    return delay * random.uniform(0.5, 1.0) if retry.jitter else delay  # noqa: S311  # spreads load, hides nothing


def conflict_pause(conflicts: int) -> float:
    """Seconds before a run begins again, so that writers of one key don't march in step."""
    return random.uniform(0, 0.001 * min(conflicts, 50))  # noqa: S311  # spreads load, hides nothing


def skipped_by(retry: Retry, problem: BaseException) -> bool:
    """True when the policy's `skip` names the error's class or one of its bases."""
    return any(kind.__name__ in retry.skip for kind in type(problem).__mro__)
