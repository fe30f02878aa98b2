"""Tasks: what a noop step with `manual` asks a person or an outside system. Opened by an event, ended once: completed by somebody, or expired.

    task      `rt.=h.<step>.<task>`, appended with expect=0 by who opens it; the same record closed, once it has ended
    timer     in the slot `task.<step>.<task>`, when the step has a `timeout`; comes to the step's own consumer (`manual`)
    plan      at `tx.=h.<step>.<task>`: of several that would end a task one has a plan, and its event and its closed record are what comes true

An ending is a commit (`commit`) whose mark takes the place of the open record, as an answer takes that of its claim. So whoever ends a task with a plan that comes too
late, after the others' has been swept, changes nothing. The plan of a process that dies is completed by `sweep`, or by whoever wants to end the task next.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.commit import LEASE, Claim, Commits
from motia_runtime.context.base import new_id
from motia_runtime.controls.control import Input
from motia_runtime.deadletters import Story, letter_of, rounds_of
from motia_runtime.handler import Trigger, ValidationFailed
from motia_runtime.naming import encode, event_subject, retry_subject
from motia_runtime.plans import CLAIM, Emitted, Mark, Planned
from motia_runtime.ports import Clock, Conflict, Log, LogUnavailable, TooLarge
from motia_runtime.records import EmitInfo, ErrorInfo, RecordWriter, RunRecord
from motia_runtime.redaction import Redaction
from motia_runtime.runlog import in_words
from motia_runtime.runner import TraceContext
from motia_runtime.templates import NothingThere, filled
from motia_runtime.trace import format_context, format_parent, headers_of, new_span_id, new_trace, parse
from motia_runtime.types import Types
from motia_spec.model import NoopStep, Project

DUE = "due"  # why a timer comes
ENDED_KEPT = (
    7 * 86_400.0
)  # seconds that a task stays after its end, at least; never less than events are kept, so that none is opened again
EVENT_KEPT = 256 * 1024  # bytes; the data of a larger event is not kept beyond the end of its task


NOTHING = msgspec.Raw()


class Ending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a task ended."""

    outcome: Literal["completed", "expired"]
    at: float  # seconds since the epoch
    by: str = ""  # who completed it, as far as they said
    topic: str | None = None  # of the event that was emitted
    data: msgspec.Raw = NOTHING  # JSON: what was decided, or what was emitted when it expired
    owner: str  # of the plan


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task, as it is stored."""

    step: str
    id: str
    topic: str  # of the event that opened it
    event_id: str
    redrives: int = 0
    history: str = ""  # of a redriven event (`deadletters`)
    data: msgspec.Raw = NOTHING  # JSON of the event; nothing: it was large and the task has ended
    trace: str  # traceparent of the event
    tracestate: str = ""
    opened: float  # seconds since the epoch
    due: float | None = None  # when it expires
    ended: Ending | None = None

    @property
    def context(self) -> TraceContext:
        return parse(self.trace, self.tracestate) or new_trace()

    def plain(self) -> dict[str, Any]:
        """As JSON, for people and their programs."""
        ended = self.ended
        fields: dict[str, Any] = {
            "step": self.step,
            "id": self.id,
            "status": "open" if ended is None else ended.outcome,
            "topic": self.topic,
            "data": _json(self.data),
            "opened_at": self.opened,
            "due_at": self.due,
            "trace_id": self.context.trace_id,
        }
        if ended is not None:
            fields["ended_at"] = ended.at
            fields["by"] = ended.by
            emitted: dict[str, Any] | None = None if ended.topic is None else {"topic": ended.topic}
            if emitted is not None and ended.outcome == "expired":
                emitted["data"] = _json(ended.data)
            fields["emitted"] = emitted
            fields["answer"] = _json(ended.data) if ended.outcome == "completed" else None
        return fields


class NoTask(LookupError):
    """There is no such task, or no such step. What there is, is in the message."""


class TaskEnded(RuntimeError):
    """The task has been completed, or its time is over."""

    def __init__(self, task: Task, message: str) -> None:
        super().__init__(message)
        self.task = task

    @property
    def expired(self) -> bool:
        return self.task.ended is None or self.task.ended.outcome == "expired"


class WhichTopic(ValueError):
    """The answer needs a topic that the step emits. Which there are is in the message."""


_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Task).decode


class Tasks:
    """Of one app: opened by engines, ended from anywhere. Lives as long as the engine, or the command."""

    def __init__(
        self, project: Project, types: Types, log: Log, clock: Clock, commits: Commits, records: RecordWriter
    ) -> None:
        self._log = log
        self._clock = clock
        self._commits = commits
        self._records = records
        self._kept = max(ENDED_KEPT, project.nats.max_age)
        self._steps = {s.name: s for s in project.steps.values() if isinstance(s, NoopStep) and s.manual is not None}
        self._inputs = {s.name: types.codec(s.manual.input if s.manual else None) for s in self._steps.values()}
        self._topics: dict[str, Codec] = {t.name: types.codec(t.schema) for t in project.topics.values()}

    # -- looking

    async def waiting(self, *, step: str | None = None, limit: int = 100) -> list[Task]:
        """Those that are open, the oldest first. Raises `NoTask` for a step that has none by the spec, `LogUnavailable`."""
        pattern = "rt.=h.>" if step is None else f"rt.=h.{encode(self._step(step).name)}.*"
        found = [_read(record.data) for record in await self._log.lasts(pattern)]
        return sorted((t for t in found if t.ended is None), key=lambda t: (t.opened, t.step, t.id))[:limit]

    async def get(self, step: str, id: str) -> Task | None:
        """One that is open, or has ended and is still kept. Raises `LogUnavailable`."""
        return (await self._last(step, id))[0]

    async def _last(self, step: str, id: str) -> tuple[Task | None, int]:
        record = await self._log.last(_subject(step, id))
        return (None, 0) if record is None else (_read(record.data), record.seq)

    def _step(self, name: str) -> NoopStep:
        step = self._steps.get(name)
        if step is None:
            there = ", ".join(sorted(self._steps)) or "none"
            raise NoTask(f"no step {name!r} has tasks (type noop with `manual`: {there})")
        return step

    # -- opening

    async def open(self, step: NoopStep, asked: Input, data: bytes) -> bool:
        """Have a task for this event, and its timer; both are there once however often this is done. False: the task was there before, or has
        ended. Raises `TooLarge`, `LogUnavailable`."""
        timeout = step.manual.timeout if step.manual else None
        now = self._clock.time()
        opened = Task(
            step=step.name,
            id=task_id(asked),
            topic=asked.topic,
            event_id=asked.event_id,
            redrives=asked.redrives,
            history=asked.history,
            data=msgspec.Raw(data),
            trace=format_context(asked.trace),
            tracestate=asked.trace.tracestate,
            opened=now,
            due=None if timeout is None else now + timeout,
        )
        subject, new = _subject(opened.step, opened.id), True
        task: Task | None = opened
        try:
            await self._log.append(subject, _encode(opened), headers={CLAIM: subject}, expect=0)
        except Conflict:
            new = False
            task = await self.get(opened.step, opened.id)
        if task is not None and task.ended is None and task.due is not None:
            headers = {
                "Motia-Event": task.event_id,
                "Motia-Topic": task.topic,
                "Motia-Redrives": str(task.redrives),
                "Motia-Why": DUE,
                **headers_of(task.trace, task.tracestate),
            }
            slot = _slot(task)
            await self._log.append(retry_subject(task.step), b"", headers=headers, at=task.due, slot=slot)
        return new

    # -- ending

    async def complete(self, step: str, id: str, answer: Any, *, topic: str | None = None, by: str = "") -> Task:
        """Take an answer: validated, it becomes the event of the step's topic. `answer`: plain JSON. `topic`: which one, for a step that emits several.

        Gives the ended task. Raises `NoTask`, `TaskEnded` when somebody else was first or its time is over, `ValidationFailed`, `WhichTopic`, `TooLarge`: then this
        answer changes nothing. `LogUnavailable`: nobody knows; try again, and the task tells."""
        noop = self._step(step)
        began, since = time.perf_counter(), self._clock.steady()
        task, seq = await self._last(step, id)
        if task is None:
            raise NoTask(f"{step} has no task {id!r}; those that ended are kept for {self._kept / 86_400:g} days")
        now = self._clock.time()
        if task.ended is not None or (task.due is not None and now >= task.due):
            raise _ended(task)
        chosen = _topic_of(noop, topic)
        payload = self._inputs[step].encode(answer)
        emits = []
        if chosen is not None:
            payload = self._topics[chosen].encode(answer)
            emits.append(Emitted(event_subject(chosen), payload))
        span_id = new_span_id()
        ending = Ending(outcome="completed", at=now, by=by, topic=chosen, data=msgspec.Raw(payload), owner=new_id())
        closed = await self._end(task, seq, ending, emits, span_id, since)
        if closed.ended is None or closed.ended.owner != ending.owner:
            raise _ended(closed)
        self._record(closed, "completed", span_id, began)
        return closed

    async def expire(self, step: NoopStep, id: str) -> None:
        """Its time is over: what `onTimeout` says is emitted; without it, or when that does not fit its topic, the event is a dead letter. Nothing happens
        to a task that has ended. Raises `LogUnavailable`."""
        began, since = time.perf_counter(), self._clock.steady()
        task, seq = await self._last(step.name, id)
        if task is None or task.ended is not None:
            return
        span_id = new_span_id()
        now = self._clock.time()
        ending = Ending(outcome="expired", at=now, owner=new_id())
        emits: list[Emitted] = []
        error: ErrorInfo | None = None
        try:
            emits, ending = self._late(step, task, ending)
        except (ValidationFailed, NothingThere) as problem:
            error = ErrorInfo(type(problem).__name__, f"on timeout: {in_words(problem)}")
        else:
            if not emits:
                error = ErrorInfo("Expired", f"nobody completed the task {id} in time")
        if error is None:
            closed = await self._end(task, seq, ending, emits, span_id, since)
        else:
            closed = await self._bury(task, seq, ending, error, span_id, since)
        if closed.ended is not None and closed.ended.owner == ending.owner:
            self._record(closed, "expired" if error is None else "dead", span_id, began, error)

    def _late(self, step: NoopStep, task: Task, ending: Ending) -> tuple[list[Emitted], Ending]:
        manual = step.manual
        if manual is None or manual.on_timeout_topic is None:
            return [], ending
        value = filled(manual.on_timeout_data, msgspec.json.decode(task.data))
        payload = self._topics[manual.on_timeout_topic].encode(value)
        emitted = Emitted(event_subject(manual.on_timeout_topic), payload)
        return [emitted], msgspec.structs.replace(ending, topic=manual.on_timeout_topic, data=msgspec.Raw(payload))

    async def _bury(self, task: Task, seq: int, ending: Ending, error: ErrorInfo, span_id: str, since: float) -> Task:
        data = bytes(task.data)
        story = Story(
            step=task.step,
            topic=task.topic,
            event_id=task.event_id,
            attempts=1,
            failed_at=ending.at,
            error=error,
            trace_id=task.context.trace_id,
            span_id=span_id,
            tracestate=task.tracestate,
            redrives=task.redrives,
            history=rounds_of(task.history),
        )
        try:
            return await self._end(task, seq, ending, [letter_of(story, data)], span_id, since)
        except TooLarge:
            story = msgspec.structs.replace(story, data_left_out=True)
            return await self._end(task, seq, ending, [letter_of(story, data)], span_id, since)

    async def _end(
        self, task: Task, seq: int, ending: Ending, emits: Sequence[Emitted], span_id: str, since: float
    ) -> Task:
        """The task as it has ended: by this ending, or another one that was first."""
        subject = _subject(task.step, task.id)
        data = task.data if len(bytes(task.data)) <= EVENT_KEPT else NOTHING
        closed = msgspec.structs.replace(task, data=data, ended=ending)
        claim = Claim(f"=h:{task.step}:{task.id}", f"tx.{subject.removeprefix('rt.')}", None)
        claim.until = since + LEASE
        until = self._clock.time() - (self._clock.steady() - since) + LEASE
        mark = Mark(subject, _encode(closed), seq, self._kept, subject, until)
        parent = format_parent(task.context.trace_id, span_id)
        if not await self._commits.commit(
            claim, "", Planned("", parent, [], list(emits), [mark], tracestate=task.tracestate), ()
        ):
            closed = await self.get(task.step, task.id) or task
        if task.due is not None and ending.outcome == "completed":
            with contextlib.suppress(LogUnavailable):  # a timer that comes nevertheless finds the task ended
                await self._log.cancel(_slot(task))
        return closed

    def _record(self, task: Task, outcome: str, span_id: str, began: float, error: ErrorInfo | None = None) -> None:
        self._records.add(_Ended(task, outcome, span_id, began, time.perf_counter() - began, error))


class _Ended(msgspec.Struct, frozen=True):
    """The end of a task, on its way to the records."""

    task: Task
    outcome: str
    span_id: str
    began: float  # `time.perf_counter`
    duration: float
    error: ErrorInfo | None

    def record(self, epoch: float, redaction: Redaction) -> RunRecord:
        task, context, ended = self.task, self.task.context, self.task.ended
        emits: tuple[EmitInfo, ...] = ()
        if ended is not None and ended.topic is not None:
            data = bytes(ended.data)
            shown = redaction.payload(data, redaction.topics.get(ended.topic), known=False)
            emits = (EmitInfo(ended.topic, len(data), data=shown),)
        return RunRecord(
            trace_id=context.trace_id,
            span_id=self.span_id,
            parent_id=context.parent_id,
            tracestate=context.tracestate,
            step=task.step,
            trigger=Trigger(type="manual", topic=task.topic, event_id=task.event_id),
            started=epoch + self.began,
            queued=0.0 if ended is None else max(0.0, ended.at - task.opened),
            duration=self.duration,
            outcome=self.outcome,
            error=self.error,
            input=redaction.payload(bytes(task.data), redaction.topics.get(task.topic), known=False),
            emits=emits,
        )


def _json(data: msgspec.Raw) -> msgspec.Raw | None:
    return data if bytes(data) else None


def task_id(asked: Input) -> str:
    """The same however often the event comes; another one each time that its dead letter is redriven."""
    return f"{asked.event_id}-{asked.redrives}" if asked.redrives else asked.event_id


def _subject(step: str, id: str) -> str:
    # "=h" is no encoded name, so no stream of the app's can have these subjects
    return f"rt.=h.{encode(step)}.{encode(id)}"


def _slot(task: Task) -> str:
    return f"task.{encode(task.step)}.{encode(task.id)}"


def _topic_of(step: NoopStep, asked: str | None) -> str | None:
    """The topic that an answer goes to; None for a step that emits nothing."""
    topics = [emit.topic for emit in step.emits]
    there = ", ".join(sorted(topics)) or "none"
    if asked is not None:
        if asked not in topics:
            raise WhichTopic(f"{step.name} does not emit {asked!r} (it emits: {there})")
        return asked
    if len(topics) > 1:
        raise WhichTopic(f"{step.name} emits several topics; name the one that the answer goes to: {there}")
    return topics[0] if topics else None


def _ended(task: Task) -> TaskEnded:
    ended = task.ended
    if ended is not None and ended.outcome == "completed":
        who = f" by {ended.by}" if ended.by else ""
        return TaskEnded(task, f"the task {task.id} of {task.step} has been completed{who} already")
    return TaskEnded(task, f"the time of the task {task.id} of {task.step} is over")
