"""`motia replay`: stored events published anew, as traces of their own that say whose replay they are.

A replay has an id, and each event of it is stored under an id made from that: once, also when the command is interrupted and given again with the same
id. That holds beyond the time for which the broker knows ids, since the id tells when the replay began, and from then on the log is looked through.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from motia_runtime.handler import ValidationFailed
from motia_runtime.naming import event_subject, retry_subject, topic_of
from motia_runtime.ports import Log, Record
from motia_runtime.records import TraceStore
from motia_runtime.runlog import in_words
from motia_runtime.seen import SKEW, ids_of
from motia_runtime.trace import REPLAY_OF, format_context, new_trace, parse
from motia_runtime.types import Types
from motia_spec.model import EventStep, Project

PAGE = 1_000  # records read at a time
MARGIN = 600.0  # seconds before the first run of a trace that is known in which it may have begun; records of runs may be lost
TOGETHER = 100  # events stored at a time
SHOWN = 5  # misfits named

_EMITTED = re.compile(r"[^:]+:(\d+)(?:f\d+)?(?:~\d+)?:e\d+")  # id of what the run of an event has emitted


class Event(msgspec.Struct, frozen=True):
    """A stored event."""

    id: int
    topic: str
    time: float  # when it was stored, seconds since the epoch
    trace_id: str
    data: bytes

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**msgspec.structs.asdict(self), "data": msgspec.Raw(self.data)}


class Replayed(msgspec.Struct, frozen=True):
    event: int
    trace_id: str | None  # of the new trace; None: it had been replayed before, under the same id


class Beginning(msgspec.Struct, frozen=True):
    """The request or tick that a trace began with; it is not stored, so it can't be replayed."""

    step: str
    type: str  # api, cron
    method: str | None = None
    path: str | None = None


class Found(msgspec.Struct, frozen=True):
    """The events of a trace that began it, oldest first."""

    events: list[Event]
    begun_by: Beginning | None


# -- which events


async def event(log: Log, id: int) -> Event | None:
    record = await log.get("ev", id)
    return None if record is None else _event(record)


async def of_topic(log: Log, topic: str, since: float | None, until: float, *, replay_id: str = "") -> list[Event]:
    """The events of a topic that were stored in that span, oldest first; not those that this replay has stored itself. Raises `LogUnavailable`."""
    own = f"replay:{replay_id}:"
    return [
        _event(record)
        for record in await _stored(log, event_subject(topic), since, until)
        if not any(one.startswith(own) for one in ids_of(record))
    ]


async def of_trace(log: Log, trace_id: str, topics: Sequence[str] | None = None) -> Found:
    """The events that began a trace. `topics`: all its events of these instead. Raises `LogUnavailable`."""
    runs = await TraceStore(log).runs(trace_id)
    since = min((run.started - run.queued - MARGIN for run in runs), default=None)
    records = await _traced(log, trace_id, since) or await _traced(log, trace_id, None)
    if topics is None:
        of_events = {run.span_id for run in runs if run.trigger.type not in ("api", "cron")}
        began = [record for record in records.values() if not _emitted_by(record, records, of_events)]
    else:
        began = [record for record in records.values() if topic_of(record.subject) in topics]
    first = min(runs, key=lambda run: run.started, default=None)
    begun_by = None
    if first is not None and first.trigger.type in ("api", "cron"):
        begun_by = Beginning(first.step, first.trigger.type, first.trigger.method, first.trigger.path)
    return Found([_event(record) for record in sorted(began, key=lambda record: record.seq)], begun_by)


async def _traced(log: Log, trace_id: str, since: float | None) -> dict[int, Record]:
    """The events of a trace that were stored since then, and those before whose runs have emitted any of them, by seq."""
    found = {record.seq: record for record in await _stored(log, "ev.>", since, None) if _is_of(record, trace_id)}
    left = list(found.values())
    while left:
        for seq in _emitters(left.pop()):
            if seq not in found:
                record = await log.get("ev", seq)
                if record is not None and _is_of(record, trace_id):
                    found[seq] = record
                    left.append(record)
    return found


def _is_of(record: Record, trace_id: str) -> bool:
    trace = parse(record.headers.get("traceparent"))
    return trace is not None and trace.trace_id == trace_id


def _emitters(record: Record) -> list[int]:
    """The event whose run has emitted this one, by its id. Records of runs may be lost in a crash; ids are not."""
    return [int(match[1]) for one in ids_of(record) if (match := _EMITTED.fullmatch(one)) is not None]


def _emitted_by(record: Record, events: dict[int, Record], of_events: set[str]) -> bool:
    """Whether it comes from the run of an event of the same trace."""
    trace = parse(record.headers.get("traceparent"))
    by_span = trace is not None and trace.parent_id in of_events
    return by_span or any(seq in events for seq in _emitters(record))


async def _stored(log: Log, pattern: str, since: float | None, until: float | None) -> list[Record]:
    """Oldest first."""
    found: list[Record] = []
    before: int | None = None
    while page := await log.scan(pattern, limit=PAGE, before=before):
        found += [
            record
            for record in page
            if (since is None or record.time >= since - (SKEW if until is None else 0))
            and (until is None or record.time < until)
        ]
        before = page[-1].seq
        if since is not None and page[-1].time < since - SKEW:
            break
    return found[::-1]


def _event(record: Record) -> Event:
    trace = parse(record.headers.get("traceparent"))
    return Event(record.seq, topic_of(record.subject), record.time, trace.trace_id if trace else "", record.data)


def topics_of(project: Project, step: str) -> Sequence[str]:
    """That an event step subscribes to; none for other steps."""
    found = project.steps.get(step)
    return sorted(found.topics) if isinstance(found, EventStep) else ()


def misfit(project: Project, types: Types, events: Sequence[Event]) -> str:
    """Why none of these shall be replayed: some do not fit their topics as these are now. Empty: all fit."""
    codecs = {name: types.codec(topic.schema) for name, topic in project.topics.items()}
    wrong: list[str] = []
    for each in events:
        if each.topic not in codecs:
            wrong.append(f"event {each.id}: the spec has no topic {each.topic!r} any more")
            continue
        try:
            codecs[each.topic].decode(each.data)
        except ValidationFailed as problem:
            wrong.append(f"event {each.id} ({each.topic}): {in_words(problem)}")
    if not wrong:
        return ""
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return f"nothing is replayed, {len(wrong)} of {len(events)} can't be: {'; '.join(wrong[:SHOWN])}{more}"


# -- replaying


def begun(replay_id: str) -> float:
    """When a replay began, seconds since the epoch, by its id. ValueError for what is no such id."""
    if not re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", replay_id):
        raise ValueError(f"{replay_id!r} is no id of a replay; the command prints it when it begins")
    return int(replay_id[:8] + replay_id[9:13], 16) / 1000


async def replay(
    log: Log, events: Sequence[Event], replay_id: str, *, again: bool = False, step: str | None = None
) -> list[Replayed]:
    """Store them anew, in their order, each as the beginning of a trace. `step`: for this step alone. `again`: the replay of that id may have been interrupted, so
    what it has stored is left out. Raises `LogUnavailable`, `TooLarge`."""
    there = await _there(log, replay_id, step) if again else set()
    done: list[Replayed] = []
    for start in range(0, len(events), TOGETHER):
        part = events[start : start + TOGETHER]
        done += await asyncio.gather(*(_replay(log, each, replay_id, step, there) for each in part))
    return done


async def _there(log: Log, replay_id: str, step: str | None) -> set[str]:
    pattern = "ev.>" if step is None else retry_subject(step)
    return {one for record in await _stored(log, pattern, begun(replay_id), None) for one in ids_of(record)}


async def _replay(log: Log, old: Event, replay_id: str, step: str | None, there: set[str]) -> Replayed:
    once = f"replay:{replay_id}:{old.id}"
    if once in there:
        return Replayed(old.id, None)
    trace = new_trace()
    headers = {"traceparent": format_context(trace), REPLAY_OF: old.trace_id}
    subject = event_subject(old.topic)
    if step is not None:
        subject = retry_subject(step)
        headers |= {"Motia-Event": once, "Motia-Topic": old.topic, "Motia-Attempt": "1", "Motia-Redrives": "0"}
    await log.append(subject, old.data, headers=headers, id=once)
    return Replayed(old.id, trace.trace_id)
