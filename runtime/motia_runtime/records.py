"""The record of each run attempt: written once, when the attempt has ended, into a bounded part of the log. `observe` finds it again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from motia_runtime.handler import Trigger
from motia_runtime.ports import Log
from motia_runtime.runlog import LogLine

SUBJECT = "run.records"
LISTED = 100  # emits and state operations listed in one record; more are counted, not listed
RECORD_SIZE = 256 * 1024  # bytes; a larger record leaves out its log lines and lists
ENTRY_SIZE = 512 * 1024  # bytes of records in one entry of the log
GATHER = 0.05  # seconds that records wait for company
TOGETHER = 256  # records that are written without waiting
PAGE = 200  # entries read at a time

_log = logging.getLogger("motia.records")


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    message: str
    stack: str = ""  # the user's frames only


class EmitInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    topic: str
    size: int  # bytes
    at: float | None = None


class StateInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    op: str  # set or delete
    group: str
    key: str


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One attempt of one run. Times are seconds since the epoch, durations seconds."""

    trace_id: str
    span_id: str
    parent_id: str = ""  # span of the run that emitted the event, or of the HTTP caller
    replay_of: str = ""  # the trace from which its event was replayed
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
    emits: list[EmitInfo] = []
    state: list[StateInfo] = []
    more_effects: int = 0
    logs: list[LogLine] = []
    more_logs: int = 0
    events: list[str] = []  # of a batch: ids of all events of the list
    batch: str = ""  # trace that has the record of the list that this event was in


class TraceSummary(msgspec.Struct, frozen=True):
    """One trace in a list."""

    trace_id: str
    started: float
    duration: float  # from the first start to the last end
    runs: int
    root: str  # name of the step that began it
    outcome: str  # dead, failed, cancelled or retry when any run ended so (in this order), else ok
    steps: list[str]


_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
read_record = msgspec.json.Decoder(RunRecord).decode  # raises `msgspec.DecodeError`
UNSAYABLE = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
)  # a logged field that is no JSON: half of a surrogate pair, 10**30
_WORST = {"ok": 0, "skipped": 0, "parked": 0, "retry": 1, "cancelled": 2, "failed": 3, "dead": 4}


class Recorded(Protocol):
    def record(self, epoch: float) -> RunRecord: ...


class RecordWriter:
    """Collects records and writes them together, a line of JSON each: one entry of the log for all runs of a moment, so that the broker
    has little to do with them. What is not written when the process dies is lost; effects never are. Lives as long as the engine."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ended: list[Recorded] = []

    def add(self, ended: Recorded) -> None:
        self._ended.append(ended)
        if len(self._ended) == 1:
            self._loop.call_later(GATHER, self.flush)
        elif len(self._ended) == TOGETHER:
            self.flush()

    def flush(self) -> None:
        ended, self._ended = self._ended, []
        if not ended:
            return
        epoch = time.time() - time.perf_counter()
        records = [one.record(epoch) for one in ended]
        try:
            data = _encode_lines(records)
        except UNSAYABLE:
            data = b""  # one of them; line by line, the others are not lost with it
        if 0 < len(data) <= ENTRY_SIZE:
            self._log.note(SUBJECT, data)
            return
        lines: list[bytes] = []
        size = 0
        for line in map(_line, records):
            if size + len(line) > ENTRY_SIZE:
                self._log.note(SUBJECT, b"".join(lines))
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        self._log.note(SUBJECT, b"".join(lines))


def _line(record: RunRecord) -> bytes:
    try:
        data = _encode(record)
    except UNSAYABLE:
        logs = [
            LogLine(
                line.time,
                line.level,
                line.message,
                {"fields": repr(line.fields).encode("ascii", "backslashreplace").decode()},
            )
            for line in record.logs
        ]
        record = msgspec.structs.replace(record, logs=logs)
        data = _encode(record)
    if len(data) > RECORD_SIZE:
        more = record.more_effects + len(record.emits) + len(record.state)
        slim = msgspec.structs.replace(
            record, logs=[], more_logs=record.more_logs + len(record.logs), emits=[], state=[], more_effects=more
        )
        data = _encode(slim)
    return data + b"\n"


class TraceStore:
    """Reads the records back. Raises `LogUnavailable`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def runs(self, trace_id: str) -> list[RunRecord]:
        """All attempts of a trace, ordered by start; empty when there is no such trace (or it is too old)."""
        wanted = trace_id.encode()
        found = [record async for record in self._newest(wanted) if record.trace_id == trace_id]
        return sorted(found, key=lambda r: (r.started, r.span_id))

    async def latest(self, limit: int = 50, *, step: str | None = None, runs: int = 5_000) -> list[TraceSummary]:
        """The newest traces, newest first, made from the newest `runs` records."""
        traces: dict[str, list[RunRecord]] = {}
        seen = 0
        async for record in self._newest():
            traces.setdefault(record.trace_id, []).append(record)
            seen += 1
            if seen >= runs:
                break
        found = [_summary(trace) for trace in traces.values() if step is None or any(r.step == step for r in trace)]
        return sorted(found, key=lambda t: t.started, reverse=True)[:limit]

    async def _newest(self, wanted: bytes = b"") -> AsyncIterator[RunRecord]:
        """Every record, newest first; only those whose line has `wanted` in it."""
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


def _summary(runs: list[RunRecord]) -> TraceSummary:
    runs = sorted(runs, key=lambda r: r.started)
    spans = {r.span_id for r in runs}
    root = next((r for r in runs if r.parent_id not in spans), runs[0])
    final: dict[tuple[str, Any], str] = {}  # a later attempt settles what an earlier one left open
    for run in runs:
        final[run.step, run.trigger.event_id or run.span_id] = run.outcome
    return TraceSummary(
        trace_id=runs[0].trace_id,
        started=runs[0].started,
        duration=max(r.started + r.duration for r in runs) - runs[0].started,
        runs=len(runs),
        root=root.step,
        outcome=max(final.values(), key=lambda outcome: _WORST.get(outcome, 0)),
        steps=sorted({r.step for r in runs}),
    )
