"""The record of each run attempt: written once, when the attempt has ended, into a bounded part of the log. `observe` finds it again."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from motia_runtime.handler import Trigger
from motia_runtime.ports import Log
from motia_runtime.redaction import NOTHING, Redaction
from motia_runtime.runlog import LogLine

SUBJECT = "run.records"
LISTED = 100  # emits, operations on state and on streams listed in one record, of each; more are counted
RECORD_SIZE = 256 * 1024  # bytes; a larger record leaves out payloads, then the middle of its log
ENTRY_SIZE = 512 * 1024  # bytes of records in one entry of the log
GATHER = 0.05  # seconds that records wait for company
TOGETHER = 64 * 1024  # bytes of records that are written without waiting
SWITCH = "MOTIA_TRACING"  # environment variable; "off" has no records written
LONGEST_NAMES = 2_000  # bytes that an effect takes without its payload
PAGE = 200  # entries read at a time
NEWLINE = 10

_log = logging.getLogger("motia.records")


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    message: str
    stack: str = ""  # the user's frames only


# Payloads are JSON as it was, without what `redaction` hides; one longer than 4 KiB is {"$cut": "how it begins", "bytes": its size}. `offset`:
# seconds from the start of the run to the call.


class EmitInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    topic: str
    size: int  # bytes
    at: float | None = None
    data: msgspec.Raw = NOTHING
    offset: float = 0.0
    key: str = ""


class StateInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run did with a key: the last that it did."""

    op: str  # get, set or delete
    group: str
    key: str
    revision: int = 0  # that it found, 0: the key was never written
    before: msgspec.Raw = NOTHING  # what it found; empty when there was nothing, or it did not look
    data: msgspec.Raw = NOTHING  # what it set
    offset: float = 0.0


class StreamInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run did with a stream, at once, whatever has become of the run."""

    op: str  # set, delete or send
    stream: str
    group: str
    id: str = ""
    data: msgspec.Raw = NOTHING
    type: str = ""  # of an event that was sent
    offset: float = 0.0


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One attempt of one run. Times are seconds since the epoch, durations seconds.

    What there may be several of is in tuples: of five empty lists as defaults, a record would take three times as long to make."""

    trace_id: str
    span_id: str
    parent_id: str = ""  # span of the run that emitted the event, or of the HTTP caller
    replay_of: str = ""  # the trace from which its event was replayed
    tracestate: str = ""  # that came with the request or the event
    step: str
    trigger: Trigger
    attempt: int = 1
    started: float
    queued: float = 0.0  # between the emit (or the due time) and the start
    duration: float
    outcome: str  # ok, gone (the client left a streamed answer), recovered, retry (failed, tried again later), dead (dead letter), failed, parked; or why it did not run: skipped, ...
    status: int | None = None  # of an api step's answer
    streamed: int | None = None  # bytes of an api step's answer that were sent in pieces; None: it was sent whole
    conflicts: int = 0  # times the run began again because another run wrote what it had read
    error: ErrorInfo | None = None
    query: dict[str, Any] = {}  # of a request
    headers: dict[str, str] = {}  # of a request
    input: msgspec.Raw = NOTHING  # the request's body, the event
    emits: tuple[EmitInfo, ...] = ()
    state: tuple[StateInfo, ...] = ()
    streams: tuple[StreamInfo, ...] = ()
    more_effects: int = 0  # not listed
    logs: tuple[LogLine, ...] = ()
    more_logs: int = 0
    events: tuple[str, ...] = ()  # of a batch: ids of all events of the list
    batch: str = ""  # trace that has the record of the list that this event was in


class Asked(msgspec.Struct, frozen=True, tag_field="type", tag="api", gc=False):
    """The `Trigger` of a request, which has nothing else."""

    method: str
    path: str

    type: ClassVar[str] = "api"


class ShortRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A `RunRecord` of an api run that did nothing but answer, which most do: read again it is one. It costs half as much."""

    trace_id: str
    span_id: str
    step: str
    trigger: Asked
    started: float
    duration: float
    outcome: str
    status: int | None
    headers: msgspec.Raw
    parent_id: str = ""
    input: msgspec.Raw = NOTHING

    queued: ClassVar[float] = 0.0
    batch: ClassVar[str] = ""


_encode = msgspec.json.Encoder().encode
_encode_into = msgspec.json.Encoder().encode_into
read_record = msgspec.json.Decoder(RunRecord).decode  # raises `msgspec.DecodeError`
UNSAYABLE = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
)  # a logged field that is no JSON: half of a surrogate pair, 10**30


class Recorded(Protocol):
    def record(self, epoch: float, redaction: Redaction) -> RunRecord | ShortRecord:
        """`epoch` is what to add to `time.perf_counter()` for seconds since the epoch."""
        ...


class RecordWriter:
    """Makes a line of JSON of each run at its end, so that nothing of the run is held for longer, and writes the lines of a moment together: one
    entry of the log, so that the broker has little to do with them. What is not written when the process dies is lost; effects never are.
    Lives as long as the engine."""

    def __init__(self, log: Log, redaction: Redaction) -> None:
        self._log = log
        self._redaction = redaction
        self._loop = asyncio.get_running_loop()
        self._epoch = 0.0
        self._lines = bytearray()
        self._uncounted: list[RunRecord | ShortRecord] = []
        self._waits = False  # for company
        self._is_off = os.environ.get(SWITCH, "") == "off"
        # these get all records, also those that are not written
        self.meter: Callable[[Sequence[RunRecord | ShortRecord]], None] | None = None
        self.exporter: Callable[[bytes], None] | None = None  # as they are written, a line each

    def add(self, ended: Recorded) -> None:
        """Never raises: of what can't be recorded the app's log tells, and the run goes on to its end."""
        if self._is_off and self.meter is None and self.exporter is None:
            return
        if not self._waits:
            self._waits = True
            self._epoch = time.time() - time.perf_counter()
            self._loop.call_later(GATHER, self._after_a_while)
        lines = self._lines
        before = len(lines)
        try:
            record = ended.record(self._epoch, self._redaction)
            if self.meter is not None:
                self._uncounted.append(record)
                if self._is_off and self.exporter is None:
                    return
            try:
                _encode_into(record, lines, -1)
            except UNSAYABLE:
                lines[before:] = _encode_any(record)
            if len(lines) - before > RECORD_SIZE:
                lines[before:] = _fitting(bytes(lines[before:]))
        except Exception:
            del lines[before:]
            _log.exception("the record of a run can't be written")
            return
        lines.append(NEWLINE)
        if len(lines) >= TOGETHER:
            self.flush()

    def _after_a_while(self) -> None:
        self._waits = False
        self.flush()

    def flush(self) -> None:
        if self._uncounted:
            uncounted, self._uncounted = self._uncounted, []
            if self.meter is not None:
                self.meter(uncounted)
        if not self._lines:
            return
        data = bytes(self._lines)
        self._lines.clear()
        if self._redaction.is_clean(data):
            self._write(data)
            return
        together: list[bytes] = []
        size = 0
        for line in data.splitlines():
            if not self._redaction.is_clean(line):
                try:
                    line = _fitting(self._redaction.masked(line))
                except (
                    msgspec.DecodeError,
                    RecursionError,
                ):  # a payload of it is no JSON, whoever wrote it where it was read
                    _log.exception("the record of a run can't be written")
                    continue
            if size + len(line) > ENTRY_SIZE:
                self._write(b"\n".join([*together, b""]))
                together, size = [], 0
            together.append(line)
            size += len(line)
        self._write(b"\n".join([*together, b""]))

    def _write(self, lines: bytes) -> None:
        if self.exporter is not None:
            self.exporter(lines)
        if not self._is_off:
            self._log.note(SUBJECT, lines)

    def shown(self, record: RunRecord) -> RunRecord:
        """As it would be read again after it was written: bounded, and without what nobody shall see."""
        line = _fitting(_encode_any(record))
        return read_record(line if self._redaction.is_clean(line) else _fitting(self._redaction.masked(line)))


def _encode_any(record: RunRecord | ShortRecord) -> bytes:
    try:
        return _encode(record)
    except UNSAYABLE:
        if isinstance(record, ShortRecord):
            raise
        logs = tuple(
            LogLine(
                line.time,
                line.level,
                line.message,
                {"fields": repr(line.fields).encode("ascii", "backslashreplace").decode()},
            )
            for line in record.logs
        )
        return _encode(msgspec.structs.replace(record, logs=logs, query={}))


def _fitting(line: bytes) -> bytes:
    """At most `RECORD_SIZE` of a record."""
    if len(line) <= RECORD_SIZE:
        return line
    record = read_record(line)
    for shorter in (_without_payloads, _without_lists, _with_fewer_lines):
        record = shorter(record)
        line = _encode(record)
        if len(line) <= RECORD_SIZE:
            break
    return line


def _without_payloads(record: RunRecord) -> RunRecord:
    replace = msgspec.structs.replace
    return replace(
        record,
        input=NOTHING,
        emits=tuple([replace(emit, data=NOTHING) for emit in record.emits]),
        state=tuple([replace(one, before=NOTHING, data=NOTHING) for one in record.state]),
        streams=tuple([replace(one, data=NOTHING) for one in record.streams]),
    )


def _without_lists(record: RunRecord) -> RunRecord:
    """Names may be long as well."""
    left = len(record.emits) + len(record.state) + len(record.streams)
    if left * LONGEST_NAMES <= RECORD_SIZE // 2:
        return record
    return msgspec.structs.replace(record, emits=(), state=(), streams=(), more_effects=record.more_effects + left)


def _with_fewer_lines(record: RunRecord) -> RunRecord:
    """Those at the beginning and at the end stay, as many as fit."""
    sizes = [len(_encode(line)) for line in record.logs]
    room = RECORD_SIZE // 2 - max(0, len(_encode(record)) - sum(sizes) - RECORD_SIZE // 2)
    first, last = 0, len(sizes)
    while first < last:
        number = first if (first + last) % 2 == len(sizes) % 2 else last - 1
        room -= sizes[number] + 1
        if room < 0:
            break
        first, last = (first + 1, last) if number == first else (first, last - 1)
    logs = record.logs[:first] + record.logs[last:]
    return msgspec.structs.replace(record, logs=logs, more_logs=record.more_logs + last - first)


class TraceStore:
    """Reads the records of a trace straight from the log, without an index. Raises `LogUnavailable`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def runs(self, trace_id: str) -> list[RunRecord]:
        """All attempts of a trace, ordered by start; empty when there is no such trace (or it is too old)."""
        wanted = trace_id.encode()
        found = [record async for record in self._newest(wanted) if record.trace_id == trace_id]
        return sorted(found, key=lambda r: (r.started, r.span_id))

    async def _newest(self, wanted: bytes) -> AsyncIterator[RunRecord]:
        """Every record whose line has `wanted` in it, newest first."""
        before: int | None = None
        while entries := await self._log.scan(SUBJECT, limit=PAGE, before=before):
            for entry in entries:
                before = entry.seq
                if wanted not in entry.data:
                    continue
                for line in reversed(entry.data.splitlines()):
                    if wanted in line:
                        try:
                            yield read_record(line)
                        except msgspec.DecodeError as problem:  # written by another version, or by hand
                            _log.warning("a record of entry %s can't be read: %s", entry.seq, problem)
            if len(entries) < PAGE:
                return
