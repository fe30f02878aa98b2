"""What people have cancelled (`motia cancel`): a trace, the runs of one step in it, or one event for one step.

    rt.=x.t.<trace>            everything of the trace
    rt.=x.t.<trace>.<step>     its runs of that step
    rt.=x.e.<event>.<step>     one event, for that step

Each engine knows these records: it reads them when it starts and is told of new ones. What runs is interrupted, unless it commits at that moment: then it has won
and completes. What comes later is dropped by the control `cancelled`, before anything else sees it. An app that cancels nothing pays one look at an empty set
per event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from motia_runtime.delayed import cancel as cancel_emit
from motia_runtime.naming import encode, retry_subject
from motia_runtime.ports import Log, LogUnavailable
from motia_runtime.trace import parse

if TYPE_CHECKING:
    from motia_runtime.runs import Attempt

PREFIX = "rt.=x."  # "=x" is no encoded name, so no stream of the app's can have these subjects
KEPT = 30 * 86_400.0  # seconds that a cancel holds at least; longer when events are kept longer
AGAIN = 1.0  # seconds between tries to read them anew
EVERY = 1_000_000  # more than ever wait

_log = logging.getLogger("motia.engine")


class RunCancelled(Exception):
    """The run was cancelled by `motia cancel`; nothing of it comes true but what it has flushed before."""


class Target(msgspec.Struct, frozen=True):
    """What is cancelled: a trace (of it one step), or an event for one step."""

    trace_id: str = ""
    step: str = ""
    event_id: str = ""

    @property
    def subject(self) -> str:
        if self.event_id:
            return f"{PREFIX}e.{encode(self.event_id)}.{encode(self.step)}"
        return f"{PREFIX}t.{self.trace_id}" + (f".{encode(self.step)}" if self.step else "")


class Dropped(msgspec.Struct, frozen=True):
    """What waited for its time and does no longer."""

    emits: int  # delayed ones
    again: int  # retries, and events that a control had put off


def subjects_of(trace_id: str, step: str, event_id: str | None) -> list[str]:
    """Of all records that would cancel this run."""
    found = [Target(trace_id).subject, Target(trace_id, step).subject]
    return found if event_id is None else [*found, Target("", step, event_id).subject]


async def is_cancelled(log: Log, trace_id: str, step: str, event_id: str) -> bool:
    found = await asyncio.gather(*map(log.last, subjects_of(trace_id, step, event_id)))
    return any(record is not None for record in found)


async def cancel(log: Log, target: Target, now: float, kept: float = KEPT) -> Dropped:
    """Cancel for good. Durable when it returns; engines are told at once. Raises `LogUnavailable`: do it again, it harms nobody."""
    await log.append(target.subject, b"", ttl=max(kept, KEPT))
    emits = again = 0
    for waiting in await log.scheduled(">", limit=EVERY):
        headers = waiting.headers
        if target.event_id:
            meant = headers.get("Motia-Event") == target.event_id
        else:
            trace = parse(headers.get("traceparent"))
            meant = trace is not None and trace.trace_id == target.trace_id
        if not meant:
            continue
        if waiting.subject.startswith("retry."):
            if not target.step or waiting.subject == retry_subject(target.step):
                # now, so that an engine drops it and its record says so
                await log.append(waiting.subject, waiting.data, headers=headers, at=now, slot=waiting.slot)
                again += 1
        elif not target.step:
            emits += await cancel_emit(log, waiting.slot) if waiting.slot.startswith("emit.") else False
    return Dropped(emits, again)


class Cancels:
    """Of one engine. Lives as long as it."""

    def __init__(self, log: Log, under_way: dict[Attempt, None]) -> None:
        """`under_way`: where attempts are kept from `enter` to `leave`."""
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._subjects: set[str] = set()
        self._runs = under_way
        self._unwatch: Callable[[], None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self.on_cancel: list[Callable[[], None]] = []  # called after each

    async def start(self) -> None:
        """Before anything runs. Raises `LogUnavailable`."""
        self._unwatch = self._log.watch(f"{PREFIX}>", self._told)
        await self._read()

    async def stop(self) -> None:
        """Twice is harmless."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    @property
    def none(self) -> bool:
        """Whether nothing is cancelled at all."""
        return not self._subjects

    def hits(self, trace_id: str, step: str, event_id: str | None) -> bool:
        """Whether this run is cancelled."""
        known = self._subjects
        return bool(known) and not known.isdisjoint(subjects_of(trace_id, step, event_id))

    # -- runs under way

    @property
    def under_way(self) -> list[Attempt]:
        """Those whose handler is at work, in the order in which they began here."""
        return list(self._runs)

    async def run(self, attempt: Attempt, call: Coroutine[Any, Any, Any]) -> bool:
        """The handler's call, then the commit, as `Unit.commit`. Raises `RunCancelled` in place of whatever a run raises that was cancelled, but for
        `LogUnavailable`: nobody knows what came true, so the input comes again."""
        if self._subjects and self._is_hit(attempt):
            call.close()
            raise RunCancelled
        self.enter(attempt)
        try:
            await call
            if attempt.cancelled:
                raise RunCancelled
            return await attempt.commit()
        except BaseException as problem:
            self.explain(problem, attempt)
            await attempt.look_again(problem)
            raise
        finally:
            self.leave(attempt)

    def enter(self, attempt: Attempt) -> None:
        """What follows in this task, the current one, may be interrupted, until `leave`."""
        attempt.task = asyncio.current_task(self._loop)
        self._runs[attempt] = None

    def leave(self, attempt: Attempt) -> None:
        del self._runs[attempt]
        attempt.task = None  # else who keeps a context would keep it

    def explain(self, problem: BaseException, attempt: Attempt) -> None:
        """Raise `RunCancelled` for what has come out of a run that was cancelled, but for `LogUnavailable`: nobody knows then what is true."""
        task = attempt.task
        assert task is not None
        if isinstance(problem, asyncio.CancelledError):
            if attempt.interrupted and task.uncancel() == 0:
                raise RunCancelled from None
        elif attempt.cancelled and not isinstance(problem, LogUnavailable):
            if attempt.interrupted:
                task.uncancel()
            raise RunCancelled from problem

    def _is_hit(self, attempt: Attempt) -> bool:
        if attempt.events:
            return any(self.hits(trace_id, attempt.step, event_id) for trace_id, event_id in attempt.events)
        return self.hits(attempt.trace_id, attempt.step, attempt.trigger.event_id)

    def _interrupt(self) -> None:
        for attempt in list(self._runs):
            if attempt.cancelled or not self._is_hit(attempt):
                continue
            attempt.cancelled = attempt.claim.cancelled = True
            if not attempt.claim.committing and attempt.task is not None:
                attempt.interrupted = True
                attempt.task.cancel()
        for call in self.on_cancel:
            call()

    # -- what is known

    def _told(self, subject: str | None) -> None:
        if subject is not None:
            self._subjects.add(subject)
            self._interrupt()
        elif self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read_patiently())

    async def _read_patiently(self) -> None:
        while True:
            try:
                return await self._read()
            except LogUnavailable as problem:
                _log.debug("what was cancelled is read later: %s", problem)
                await asyncio.sleep(AGAIN)

    async def _read(self) -> None:
        found = await self._log.lasts(f"{PREFIX}>")
        self._subjects.update(record.subject for record in found)
        if found:
            self._interrupt()
