"""What a run did, as its record tells it: noted while it runs at next to no cost, put into words when the record is written.

Values are kept by reference and only their beginning when they are long, so that a record that waits for its moment holds little memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from motia_runtime.records import LISTED, EmitInfo, StateInfo, StreamInfo
from motia_runtime.redaction import LARGEST, NOTHING, PAYLOAD, Redaction, Rule
from motia_runtime.streams import StreamStore

if TYPE_CHECKING:
    from motia_runtime.effects import Emission, Write
    from motia_runtime.state import Value

_encode = msgspec.json.Encoder().encode


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A JSON text on its way to a record: whole, or how it begins."""

    data: bytes
    size: int = 0  # of the whole, when this is not it

    def shown(self, redaction: Redaction, rule: Rule | None, *, known: bool = True) -> msgspec.Raw:
        """`known`: to be JSON."""
        return redaction.payload(self.data, rule, self.size, known=known)


def keep(data: bytes, rule: Rule | None) -> Kept:
    """`rule`: what is hidden in it; then it is needed whole."""
    if len(data) <= (PAYLOAD if rule is None else LARGEST):
        return Kept(data)
    return Kept(data[:PAYLOAD], len(data))


class StreamCall(msgspec.Struct, frozen=True, gc=False):
    op: str
    stream: str
    group: str
    id: str
    data: Kept | None
    type: str
    at: float  # `time.perf_counter`


class Notes(msgspec.Struct):
    """What one attempt has made true so far."""

    emits: list[Emission] = []
    writes: list[tuple[tuple[str, str], Write]] = []
    streams: list[StreamCall] = []
    more: int = 0  # not kept, since there are so many

    def take(
        self,
        emits: list[Emission],
        writes: dict[tuple[str, str], Write],
        reads: dict[tuple[str, str], Value],
        redaction: Redaction,
    ) -> None:
        """Keep what a commit has made true; nobody else needs it any more."""
        for emit in emits:
            if len(emit.data) > PAYLOAD:
                emit.size = len(emit.data)
                emit.data = keep(emit.data, redaction.topics.get(emit.topic)).data
        self.emits += emits
        for at, write in writes.items():
            if reads:
                write.read = reads.get(at)
            if write.data is not None and len(write.data) > PAYLOAD:
                write.size = len(write.data)
                write.data = keep(write.data, redaction.state.get(at[0])).data
            self.writes.append((at, write))
        if len(self.emits) > LISTED or len(self.writes) > LISTED:
            self.more += max(0, len(self.emits) - LISTED) + max(0, len(self.writes) - LISTED)
            del self.emits[LISTED:], self.writes[LISTED:]


def emits_of(notes: Notes, redaction: Redaction, start: float) -> list[EmitInfo]:
    """`start` of the run, by `time.perf_counter`."""
    rules, payload = redaction.topics, redaction.payload
    return [
        EmitInfo(
            emit.topic,
            emit.size or len(emit.data),
            emit.at,
            payload(emit.data, rules.get(emit.topic), _cut_at(emit.data, emit.size)),
            emit.called - start,
            emit.key or "",
        )
        for emit in notes.emits
    ]


def state_of(
    notes: Notes | None, reads: dict[tuple[str, str], Value], redaction: Redaction, start: float, known: bool
) -> list[StateInfo]:
    """Writes in their order, then keys that were only read. `known`: that what was read is JSON."""
    found: list[StateInfo] = []
    rules, payload = redaction.state, redaction.payload
    written = [] if notes is None else notes.writes
    for (group, key), write in written:
        rule, data = rules.get(group), write.data
        op = "delete" if data is None else "set"
        before = _before(write.read, redaction, rule, known)
        shown = NOTHING if data is None else payload(data, rule, _cut_at(data, write.size))
        found.append(StateInfo(op, group, key, write.revision, before, shown, write.called - start))
    if reads:
        told = {at for at, _ in written}
        for (group, key), value in reads.items():
            if (group, key) not in told and len(found) < LISTED:
                before = _before(value, redaction, rules.get(group), known)
                found.append(StateInfo("get", group, key, value.revision, before))
    return found


def _cut_at(data: bytes, size: int) -> int:
    """The size of the whole when this is its beginning only; else 0."""
    return size if len(data) < size else 0


def _before(value: Value | None, redaction: Redaction, rule: Rule | None, known: bool) -> msgspec.Raw:
    return NOTHING if value is None or value.data is None else redaction.payload(value.data, rule, known=known)


def streams_of(calls: Iterable[StreamCall], redaction: Redaction, start: float) -> list[StreamInfo]:
    return [
        StreamInfo(
            call.op,
            call.stream,
            call.group,
            call.id,
            NOTHING if call.data is None else call.data.shown(redaction, _rule_of(call, redaction)),
            call.type,
            call.at - start,
        )
        for call in calls
    ]


def _rule_of(call: StreamCall, redaction: Redaction) -> Rule | None:
    return None if call.op == "send" else redaction.streams.get(call.stream)  # what is sent has no schema


class NotedStreams(StreamStore):
    """The app's streams, as one run uses them."""

    def __init__(self, streams: StreamStore, notes: Notes, redaction: Redaction) -> None:
        vars(self).update(vars(streams))
        self._notes = notes
        self._redaction = redaction

    async def set(self, stream: str, group: str, id: str, value: Any) -> None:
        at = time.perf_counter()
        await super().set(stream, group, id, value)
        self._note("set", stream, group, id, at, value)

    async def update(self, stream: str, group: str, id: str, change: Callable[[Any], Any]) -> Any:
        at = time.perf_counter()
        value = await super().update(stream, group, id, change)
        self._note("set", stream, group, id, at, value)
        return value

    async def delete(self, stream: str, group: str, id: str) -> bool:
        at = time.perf_counter()
        there = await super().delete(stream, group, id)
        if there:
            self._note("delete", stream, group, id, at)
        return there

    async def send(self, stream: str, group: str, id: str | None, type: str, data: Any) -> None:
        at = time.perf_counter()
        await super().send(stream, group, id, type, data)
        self._note("send", stream, group, id or "", at, data, type)

    def _note(
        self, op: str, stream: str, group: str, id: str, at: float, value: Any = msgspec.UNSET, type: str = ""
    ) -> None:
        notes = self._notes
        if len(notes.streams) >= LISTED:
            notes.more += 1
            return
        rule = self._redaction.streams.get(stream)
        kept = None if value is msgspec.UNSET else keep(_encode(value), rule)
        notes.streams.append(StreamCall(op, stream, group, id, kept, type, at))
