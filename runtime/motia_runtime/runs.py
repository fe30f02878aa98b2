"""One attempt of one run: its context while it runs, its record when it has ended. Shared by api, event and cron steps."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from motia_runtime.bind import BoundStep
from motia_runtime.cancels import Cancels
from motia_runtime.codec import Codec
from motia_runtime.commit import Claim
from motia_runtime.context import Context, Secrets
from motia_runtime.effects import Outlet, Services, Unit
from motia_runtime.execute import NEVER, Executor
from motia_runtime.handler import Request, Trigger
from motia_runtime.isolation.failures import Elsewhere
from motia_runtime.naming import event_subject
from motia_runtime.noted import emits_of, state_of, streams_of
from motia_runtime.ports import Conflict, LogUnavailable
from motia_runtime.readonly import ReadOnlyUnit
from motia_runtime.records import Asked, EmitInfo, ErrorInfo, RecordWriter, RunRecord, ShortRecord, StateInfo
from motia_runtime.redaction import NOTHING, Redaction
from motia_runtime.runlog import RunLogger, in_words
from motia_runtime.runner import TraceContext
from motia_runtime.stacks import MESSAGE_LENGTH, user_stack
from motia_runtime.trace import new_span_id
from motia_runtime.types import Types
from motia_spec.model import Project, Retry

CONFLICTS_PER_REQUEST = 100  # times a run begins again because of concurrent writers, before it counts as failed
CONFLICTS_PER_RUN = 1_000  # of one that nobody waits for: a hot key over several engines uses up no attempts

_log = logging.getLogger("motia.engine")
_span_of = threading.Lock()  # a handler in a thread and somebody who looks at it may both be the first to ask


class Plan(msgspec.Struct, frozen=True):
    """A step made ready to run."""

    name: str
    bound: BoundStep
    emits: dict[str, Outlet]  # by topic


class Attempt(msgspec.Struct, eq=False):
    """One try of a run: what is behind its context. Lives from `Runs.begin` to `Runs.end`.

    Most of it is made when somebody asks: a step that only answers has no effects and logs nothing, and costs accordingly."""

    _services: Services
    secrets: Secrets
    plan: Plan
    _trace: TraceContext
    _asked: Trigger | Request
    _input: bytes | None  # of an event; None: there is none, or the request has it
    _claim: Claim | None
    number: int
    queued: float
    start: float
    conflicts: int = 0
    events: Sequence[tuple[str, str]] = ()  # of a batch: the trace and the id of each
    duration: float = 0.0
    outcome: str = ""
    error: ErrorInfo | None = None
    status: int | None = None
    streamed: int | None = None  # bytes sent of an answer in pieces; None: it was whole
    _unit: Unit | None = None
    _logger: RunLogger | None = None
    _span_id: str | None = None
    task: asyncio.Task[Any] | None = None  # that calls its handler and commits, while it does
    deadline: float = NEVER  # of its handler, as `execute.Watched` has it, with the next two
    timeout: float = 0.0
    expired: bool = False
    cancelled: bool = False  # by `motia cancel`
    interrupted: bool = False  # its task was cancelled for that

    @property
    def step(self) -> str:
        return self.plan.name

    @property
    def trace_id(self) -> str:
        return self._trace.trace_id

    @property
    def tracestate(self) -> str:
        return self._trace.tracestate

    @property
    def span_id(self) -> str:
        if self._span_id is None:
            with _span_of:
                if self._span_id is None:
                    self._span_id = new_span_id()
        return self._span_id

    @property
    def claim(self) -> Claim:
        """The same however often the run is repeated in this process."""
        if self._claim is None:
            self._claim = Claim(f"{self.plan.name}:{self.span_id}", None, None)
        return self._claim

    @property
    def run_id(self) -> str:
        """The same however often the run is repeated."""
        return self.claim.run_id

    @property
    def trigger(self) -> Trigger:
        asked = self._asked
        return asked if isinstance(asked, Trigger) else Trigger(type="api", method=asked.method, path=asked.path)

    @property
    def ctx(self) -> Context:
        """Made anew each time: kept here, it would tie a knot that only the garbage collector undoes."""
        return Context(self)

    @property
    def logger(self) -> RunLogger:
        if self._logger is None:
            self._logger = RunLogger(self.plan.name, self.trace_id)
        return self._logger

    @property
    def lines(self) -> int:
        """Logged so far."""
        return 0 if self._logger is None else len(self._logger.lines) + self._logger.dropped

    @property
    def unit(self) -> Unit:
        if self._unit is None:
            self._unit = self._new_unit(Unit)
        return self._unit

    def only_look(self) -> None:
        """Have its context refuse all effects, before anybody uses it."""
        self._unit = self._new_unit(ReadOnlyUnit)

    def _new_unit(self, kind: type[Unit]) -> Unit:
        claim, services = self.claim, self._services
        claim.flushing = 0
        return kind(services, self.plan.emits, claim, self.trace_id, self.span_id, self.tracestate)

    @property
    def has_effects(self) -> bool:
        return self._unit is not None

    async def commit(self) -> bool:
        """Make the effects true, as `Unit.commit`."""
        return self._unit is None or await self._unit.commit()

    async def look_again(self, problem: BaseException) -> None:
        """When its handler has raised: `Unit.look_again`."""
        unit = self._unit
        if unit is None or not unit.was_handed or isinstance(problem, Conflict | LogUnavailable):
            return
        if isinstance(problem, Exception):  # a cancelled task waits for nothing
            await unit.look_again()

    async def begin_again(self, conflicts: int) -> None:
        """After a conflict, the first or a later one of its run: wait until it is its turn at the keys it was beaten to, which it keeps then (`Claim.turn`)."""
        if self._unit is not None:
            await self._services.commits.wait_turn(self.claim, self._unit.keys)
        if conflicts > 1:
            await asyncio.sleep(conflict_pause(conflicts))

    def start_over(self) -> None:
        """Forget the effects of a handler that ran where they can't be asked for any more, and runs anew."""
        if self._unit is not None:
            self._unit = self._new_unit(type(self._unit))

    @property
    def effects(self) -> Unit | None:
        """None when there are none."""
        return self._unit

    def record(self, epoch: float, redaction: Redaction) -> RunRecord | ShortRecord:
        """What is kept of it. `epoch` is what to add to `time.perf_counter()` for seconds since the epoch."""
        asked, trace = self._asked, self._trace
        if (
            isinstance(asked, Trigger)
            or asked.query_params
            or self._unit is not None
            or self._logger is not None
            or self.error is not None
            or self.streamed is not None
            or self.conflicts
            or trace.replay_of
            or trace.tracestate
        ):
            return self.in_full(epoch, redaction)
        return ShortRecord(
            trace.trace_id,
            self._span_id or new_span_id(),
            self.plan.name,
            Asked(asked.method, asked.path),
            epoch + self.start,
            self.duration,
            self.outcome,
            self.status,
            redaction.headers_of(asked),
            trace.parent_id,
            redaction.body_of(asked, self.plan.name) if asked.raw_body else NOTHING,
        )

    def in_full(self, epoch: float, redaction: Redaction) -> RunRecord:
        """As `record`, with all fields."""
        unit, asked = self._unit, self._asked
        query: dict[str, Any] = {}
        headers: dict[str, str] = {}
        given = NOTHING
        if not isinstance(asked, Trigger):
            query = redaction.query(asked.query_params, self.plan.name) if asked.query_params else {}
            headers = cast(Any, redaction.headers_of(asked))  # JSON already; read again it is a dict
            given = redaction.body_of(asked, self.plan.name)
        elif self._input is not None:
            given = redaction.payload(self._input, redaction.input_of(asked.topic), known=self.outcome == "ok")
        emits: tuple[EmitInfo, ...] = ()
        state: tuple[StateInfo, ...] = ()
        if unit is not None:
            notes, reads = unit.notes, unit.reads
            if notes is not None:
                emits = tuple(emits_of(notes, redaction, self.start))
            if reads or (notes is not None and notes.writes):
                state = tuple(state_of(notes, reads, redaction, self.start, self.outcome == "ok"))
        record = RunRecord(
            trace_id=self._trace.trace_id,
            span_id=self._span_id or new_span_id(),
            parent_id=self._trace.parent_id,
            step=self.plan.name,
            trigger=self.trigger,
            started=epoch + self.start,
            queued=self.queued,
            duration=self.duration,
            outcome=self.outcome,
            status=self.status,
            query=query,
            headers=headers,
            input=given,
            emits=emits,
            state=state,
        )
        seldom = self._seldom(redaction)
        return msgspec.structs.replace(record, **seldom) if seldom else record

    def _seldom(self, redaction: Redaction) -> dict[str, Any]:
        """Of its record, what few have: a record that is made with all of its 25 fields takes five times as long as one of ten."""
        unit, logger, trace = self._unit, self._logger, self._trace
        found: dict[str, Any] = {}
        if unit is not None and unit.notes is not None and (unit.notes.more or unit.notes.streams):
            found["more_effects"] = unit.notes.more
            found["streams"] = tuple(streams_of(unit.notes.streams, redaction, self.start))
        if logger is not None:
            found |= {"logs": tuple(logger.lines), "more_logs": logger.dropped}
        if self.error is not None or self.number != 1 or self.conflicts or trace.replay_of:
            found |= {
                "error": self.error,
                "attempt": self.number,
                "conflicts": self.conflicts,
                "replay_of": trace.replay_of,
            }
        if self.events or self.streamed is not None:
            found |= {"events": tuple([event_id for _, event_id in self.events]), "streamed": self.streamed}
        if trace.tracestate:
            found["tracestate"] = trace.tracestate
        return found


class Runs:
    """Begins and ends attempts. Lives as long as the engine."""

    def __init__(self, project: Project, types: Types, services: Services, executor: Executor) -> None:
        self.services = services
        self.executor = executor
        self.records = RecordWriter(services.log, services.redaction)
        self.cancels = Cancels(services.log, executor.under_way)
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
        asked: Trigger | Request,
        claim: Claim | None = None,
        number: int = 1,
        queued: float = 0.0,
        given: bytes | None = None,
    ) -> Attempt:
        """`claim` stays the same however often the run is repeated; without one the run has just begun to exist. `queued` in seconds. `given`: the data of
        the event."""
        return Attempt(
            self.services,
            self._secrets,
            plan,
            trace,
            asked,
            given,
            claim,
            number,
            queued,
            time.perf_counter(),
        )

    def end(self, attempt: Attempt, outcome: str, error: ErrorInfo | None = None, *, status: int | None = None) -> None:
        attempt.duration = time.perf_counter() - attempt.start
        attempt.outcome = outcome
        attempt.error = error
        if attempt.streamed is None:  # else it is the one that was sent
            attempt.status = status
        self.records.add(attempt)
        if error is not None and attempt.trigger.type != "api":  # HTTP tells of those, with what it answered
            level = logging.WARNING if outcome in ("retry", "split") else logging.ERROR
            fields: dict[str, object] = {"attempt": attempt.number, "outcome": outcome}
            if error.stack:
                fields["at"] = error.stack.rpartition("\n")[2]
            told = {"step": attempt.step, "trace_id": attempt.trace_id, "fields": fields}
            _log.log(level, "failed: %s: %s", error.type, error.message, extra={"motia": told})

    def so_far(self, attempt: Attempt) -> RunRecord:
        """What is known of a run under way, as its record would say it, with the outcome "running": what it writes and emits is not in it yet."""
        now = time.perf_counter()
        attempt.span_id  # noqa: B018  # that it has one from now on
        record = attempt.in_full(time.time() - now, self.services.redaction)
        return self.records.shown(msgspec.structs.replace(record, duration=now - attempt.start, outcome="running"))

    def describe(self, problem: BaseException) -> ErrorInfo:
        """What a person needs to know of an error: its type, its words, and where in the user's own files it came from."""
        message = in_words(problem)[:MESSAGE_LENGTH]
        if isinstance(problem, Elsewhere):
            return ErrorInfo(problem.names[0], message, problem.stack)
        return ErrorInfo(type(problem).__name__, message, user_stack(problem, self._root))


def retry_delay(retry: Retry, failed: int) -> float:
    """Seconds to wait after attempt number `failed` has failed."""
    factor = {"exponential": 2.0 ** min(failed - 1, 60), "linear": float(failed), "fixed": 1.0}[retry.backoff]
    delay = min(retry.delay * factor, retry.max)
    return delay * random.uniform(0.5, 1.0) if retry.jitter else delay  # noqa: S311  # spreads load, hides nothing


def conflict_pause(conflicts: int) -> float:
    """Seconds before a run begins again, so that writers of one key in several engines don't march in step."""
    return random.uniform(0, 0.001 * min(conflicts, 20))  # noqa: S311  # spreads load, hides nothing


def skipped_by(retry: Retry, problem: BaseException) -> bool:
    """True when the policy's `skip` names the error's class or one of its bases."""
    if isinstance(problem, Elsewhere):
        return any(name in retry.skip for name in problem.names)
    return any(kind.__name__ in retry.skip for kind in type(problem).__mro__)
