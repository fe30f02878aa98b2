"""What a run did, as its record tells it: noted while it runs at next to no cost, put into words when the record is written.

Values are kept by reference and only their beginning when they are long, so that a record that waits for its moment holds little memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from motia_runtime.handler import Request, Trigger
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
        return redaction.payload(self.data, rule, size=self.size, known=known)


def keep(data: bytes, rule: Rule | None) -> Kept:
    """`rule`: what is hidden in it; then it is needed whole."""
    if len(data) <= (PAYLOAD if rule is None else LARGEST):
        return Kept(data)
    return Kept(data[:PAYLOAD], len(data))


class Asked(msgspec.Struct, frozen=True):
    """A request on its way to a record."""

    trigger: Trigger
    body: Kept | None
    request: Request | None  # None: its body is too large to be held
    headers: dict[str, str] = {}  # without a request
    query: Any = None

    @staticmethod
    def of(request: Request, rule: Rule | None) -> Asked:
        """`rule`: what is hidden in its body."""
        trigger = Trigger(type="api", method=request.method, path=request.path)
        body = request.raw_body
        if len(body) <= PAYLOAD:
            return Asked(trigger, Kept(body) if body else None, request)
        return Asked(trigger, keep(body, rule), None, request.headers, request.query_params)

    def shown(self, redaction: Redaction, step: str) -> tuple[dict[str, Any], dict[str, str], msgspec.Raw]:
        """Query, headers and body, as they are kept."""
        request, shown = self.request, NOTHING
        headers, query = (self.headers, self.query) if request is None else (request.headers, request.query_params)
        if self.body is not None:
            is_json = "json" in headers.get("content-type", "")
            shown = self.body.shown(redaction, redaction.bodies.get(step), known=is_json)
        return redaction.query(query, step) if query else {}, redaction.headers(headers), shown


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

    emits: list[tuple[Emission, Kept]] = []
    writes: list[tuple[tuple[str, str], Write, Value | None, Kept | None]] = []
    streams: list[StreamCall] = []
    more: int = 0  # not kept, since there are so many

    def take(
        self,
        emits: list[Emission],
        writes: dict[tuple[str, str], Write],
        reads: dict[tuple[str, str], Value],
        redaction: Redaction,
    ) -> None:
        """Keep what a commit has made true."""
        for emit in emits[: LISTED - len(self.emits)]:
            self.emits.append((emit, keep(emit.data, redaction.topics.get(emit.topic))))
        for at, write in writes.items():
            if len(self.writes) < LISTED:
                data = None if write.data is None else keep(write.data, redaction.state.get(at[0]))
                self.writes.append((at, write, reads.get(at), data))
        self.more += len(emits) + len(writes)

    def left_out(self) -> int:
        """How many of them are not listed."""
        return self.more - len(self.emits) - len(self.writes)


def emits_of(notes: Notes, redaction: Redaction, start: float) -> list[EmitInfo]:
    """`start` of the run, by `time.perf_counter`."""
    rules = redaction.topics
    return [
        EmitInfo(
            emit.topic,
            kept.size or len(kept.data),
            emit.at,
            kept.shown(redaction, rules.get(emit.topic)),
            _offset(emit.called, start),
            emit.key or "",
        )
        for emit, kept in notes.emits
    ]


def state_of(notes: Notes | None, reads: dict[tuple[str, str], Value], redaction: Redaction, start: float) -> list[StateInfo]:
    """Writes in their order, then keys that were only read."""
    found: list[StateInfo] = []
    written = set()
    for (group, key), write, read, kept in () if notes is None else notes.writes:
        rule = redaction.state.get(group)
        written.add((group, key))
        found.append(
            StateInfo(
                "delete" if kept is None else "set",
                group,
                key,
                write.revision,
                _before(read, redaction, rule),
                NOTHING if kept is None else kept.shown(redaction, rule),
                _offset(write.called, start),
            )
        )
    for (group, key), value in reads.items():
        if (group, key) not in written and len(found) < LISTED:
            before = _before(value, redaction, redaction.state.get(group))
            found.append(StateInfo("get", group, key, value.revision, before))
    return found


def _before(value: Value | None, redaction: Redaction, rule: Rule | None) -> msgspec.Raw:
    return NOTHING if value is None or value.data is None else redaction.payload(value.data, rule)


def streams_of(calls: Iterable[StreamCall], redaction: Redaction, start: float) -> list[StreamInfo]:
    return [
        StreamInfo(
            call.op,
            call.stream,
            call.group,
            call.id,
            NOTHING if call.data is None else call.data.shown(redaction, _rule_of(call, redaction)),
            call.type,
            _offset(call.at, start),
        )
        for call in calls
    ]


def _rule_of(call: StreamCall, redaction: Redaction) -> Rule | None:
    return None if call.op == "send" else redaction.streams.get(call.stream)  # what is sent has no schema


def _offset(at: float, start: float) -> float:
    return round(at - start, 6) if at else 0.0


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
