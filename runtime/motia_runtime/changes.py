"""State and stream triggers: each change of what a step subscribes to becomes a record of the step's own, as if it had been emitted to it alone.

A change can't be handled from where it is stored: the next one takes its place there, and then nobody could complete a run that a crash has cut off. So it
is handed over first, with its value and the one before, to `retry.<step>`, from where it is an event like any other: tried again, ordered, buried, redriven.
Changes are handed over one after the other, in the order in which they were written, over all instances.

The broker keeps a few revisions of a key only (`revisions`), so a change that has been overwritten before its turn may be missing; the last one of
each key never is. One whose predecessor can't be told any more while a newer one is there is left out too, rather than told wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.commit import LEASE, LeaseLost
from motia_runtime.delayed import ID
from motia_runtime.handler import StateChange, StreamChange, ValidationFailed
from motia_runtime.naming import (
    change_durable,
    item_names,
    items_pattern,
    retry_subject,
    state_names,
    state_pattern,
)
from motia_runtime.ports import Consumer, Delivery, Record
from motia_runtime.runs import Runs
from motia_runtime.state import is_deleted
from motia_runtime.trace import headers_in, new_trace, read
from motia_runtime.worker import Worker
from motia_spec.model import EventStep

HEADROOM = 32 * 1024  # bytes below the broker's limit, so that a change still fits with a dead letter's story
Part = Literal["st", "rt"]
_KIND: dict[str, Part] = {"state": "st", "stream": "rt"}


class _Change(msgspec.Struct, omit_defaults=True):
    """The data of the record. What is not there is unset: JSON's null is a value."""

    of: str  # group of state, or stream
    key: str  # of state, or id of the item
    group: str = ""  # of the item
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    previous: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Change).decode


def source(kind: str, name: str) -> str:
    """What stands for a topic: "state:orders". No topic has a colon."""
    return f"{kind}:{name}"


def change_workers(step: EventStep, kept: tuple[int, int], runs: Runs) -> list[ChangeWorker]:
    """One for each part of the log that the step listens to. `kept`: revisions of state and of items."""
    parts: set[Part] = {_KIND[s.kind] for s in step.subscribes if s.kind != "topic"}
    return [ChangeWorker(step, part, kept[0] if part == "st" else kept[1], runs) for part in sorted(parts)]


def readers(step: EventStep, runs: Runs) -> dict[str, Callable[[bytes], Any]]:
    """By source: from a record's data to what the handler gets. They raise `ValidationFailed`."""
    found: dict[str, Callable[[bytes], Any]] = {}
    for s in step.subscribes:
        if s.kind == "state":
            found[source("state", s.name)] = _Reader(runs.services.state.codec(s.name), _state_change)
        elif s.kind == "stream":
            found[source("stream", s.name)] = _Reader(runs.services.streams.codec(s.name), _stream_change)
    return found


def _state_change(change: _Change, value: Any, previous: Any) -> Any:
    return StateChange(group=change.of, key=change.key, value=value, previous=previous)


def _stream_change(change: _Change, value: Any, previous: Any) -> Any:
    return StreamChange(stream=change.of, group=change.group, id=change.key, value=value, previous=previous)


class _Reader:
    def __init__(self, codec: Codec, make: Callable[[_Change, Any, Any], Any]) -> None:
        self._codec = codec
        self._make = make

    def __call__(self, data: bytes) -> Any:
        try:
            change = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._codec.decode(data)  # somebody else wrote what is no JSON; it says so
            raise
        value = self._decode(change.value)
        try:
            previous = self._decode(change.previous)
        except ValidationFailed:
            previous = None  # of an older version of the schema
        return self._make(change, value, previous)

    def _decode(self, raw: msgspec.Raw | msgspec.UnsetType) -> Any:
        return None if isinstance(raw, msgspec.UnsetType) else self._codec.decode(bytes(raw))


class ChangeWorker(Worker):
    """Of one step and one part of the log, in one engine."""

    def __init__(self, step: EventStep, part: Part, kept: int, runs: Runs) -> None:
        super().__init__(step.name, runs, 1)
        self._step = step
        self._part: Part = part
        self._kept = kept

    async def start(self) -> None:
        self._consumer = await self._consume(2)

    async def declare(self) -> None:
        """As `EventWorker.declare`."""
        await (await self._consume(0)).stop()

    async def _consume(self, credit: int) -> Consumer:
        names = [s.name for s in self._step.subscribes if s.kind != "topic" and _KIND[s.kind] == self._part]
        patterns = [state_pattern(name) if self._part == "st" else items_pattern(name) for name in names]
        name = change_durable(self._step.name, self._part)
        return await self._runs.services.log.consume(name, patterns, self._deliver, credit=credit, exclusive=True)

    async def _work(self, delivery: Delivery) -> None:
        services, record = self._runs.services, delivery.record
        log, clock = services.log, services.clock
        began = clock.steady()
        found = await self._change(record)
        once = f"{self._step.name}:{self._part}-{record.seq}"
        subject = retry_subject(self._step.name)
        if found is None or (delivery.delivered > 1 and await self._handed_over(once, record)):
            delivery.ack()
            return
        headers = {
            "Motia-Event": f"{self._part}-{record.seq}",
            "Motia-Topic": self._source(record),
            "Motia-First": repr(record.time),
            **headers_in(read(record.headers) or new_trace()),
            ID: once,
        }
        if clock.steady() - began > LEASE:
            raise LeaseLost("the change was held for so long that another engine may have handed it over")
        at = record.time + self._step.delay if self._step.delay else None
        await log.append(subject, found, headers=headers, id=once, at=at)
        delivery.ack()

    async def _handed_over(self, once: str, record: Record) -> bool:
        return await self._runs.services.commits.emitted(retry_subject(self._step.name)).has(once, record.time)

    def _source(self, record: Record) -> str:
        if self._part == "st":
            return source("state", state_names(record.subject)[0])
        return source("stream", item_names(record.subject)[0])

    async def _change(self, record: Record) -> bytes | None:
        """The data to hand over. None: nothing has changed, or the next change says it."""
        log = self._runs.services.log
        kept = (await log.history(record.subject))[-self._kept :]
        older = [other for other in kept if other.seq < record.seq]
        newer = [other for other in kept if other.seq > record.seq]
        if newer and not older and len(kept) >= self._kept:
            return None  # it, or the one before it, was overwritten
        if newer and all(other.seq != record.seq for other in kept):
            return None
        before = older[-1] if older else None
        if is_deleted(record) and before is not None and is_deleted(before):
            return None
        value = _value(record)
        if value is None:
            return record.data  # no JSON: its dead letter shows it
        previous = None if before is None else _value(before)
        change = self._named(record)
        change.value, change.previous = value, msgspec.UNSET if previous is None else previous
        data = _encode(change)
        if len(data) > log.max_size - HEADROOM:
            change.previous = msgspec.UNSET
            data = _encode(change)
        return data

    def _named(self, record: Record) -> _Change:
        if self._part == "st":
            group, key = state_names(record.subject)
            return _Change(group, key)
        stream, group, item = item_names(record.subject)
        return _Change(stream, item, group)


def _value(record: Record) -> msgspec.Raw | msgspec.UnsetType | None:
    """What a record holds, unset when it deletes. None when it is no JSON, which only other programs write."""
    if is_deleted(record):
        return msgspec.UNSET
    try:
        msgspec.json.decode(record.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(record.data)
