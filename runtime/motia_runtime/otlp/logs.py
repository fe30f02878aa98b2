"""Log records made of records of runs, in the JSON of OTLP: the lines that handlers logged, and errors, each in the span of its attempt.

What records hide is hidden here as well, since it is the records that are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from motia_runtime.otlp.values import SAMPLED, TEXT, attributes_of, nanos, resource_of
from motia_runtime.records import RunRecord

SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17}  # opentelemetry.proto.logs.v1.SeverityNumber
ATTRIBUTES = 128  # of a log record

LogRecord: TypeAlias = dict[str, Any]


def logs_of(record: RunRecord) -> list[LogRecord]:
    """Of one attempt, in the order in which they were logged; its error last."""
    ours = {"motia.step": record.step, "motia.attempt": record.attempt}
    found = [_log(record, line.time, line.level, line.message, line.fields, ours) for line in record.logs]
    error = record.error
    if error is not None:
        told = {"exception.type": error.type, "exception.message": error.message}
        if error.stack:
            told["exception.stacktrace"] = error.stack
        ended = record.started + record.duration
        found.append(_log(record, ended, "error", f"{error.type}: {error.message}", told, ours))
    return found


def request_of(attributes: Mapping[str, str], version: str, records: Iterable[RunRecord]) -> dict[str, Any] | None:
    """An ExportLogsServiceRequest. None: there is nothing to tell."""
    found = [each for record in records for each in logs_of(record)]
    if not found:
        return None
    return {"resourceLogs": [resource_of(attributes, "scopeLogs", version, "logRecords", found)]}


def _log(
    record: RunRecord, time: float, level: str, message: str, fields: Mapping[str, Any], ours: Mapping[str, Any]
) -> LogRecord:
    given = {name: value for name, value in fields.items() if name and name not in ours}
    room = ATTRIBUTES - len(ours)
    told = nanos(time)
    found: LogRecord = {
        "timeUnixNano": told,
        "observedTimeUnixNano": told,
        "severityNumber": SEVERITY.get(level, 0),
        "severityText": level.upper(),
        "body": {"stringValue": message[:TEXT]},
        "attributes": attributes_of([*ours.items(), *islice(given.items(), room)]),
        "flags": SAMPLED,
        "traceId": record.trace_id,
        "spanId": record.span_id,
    }
    if dropped := len(fields) - min(len(given), room):
        found["droppedAttributesCount"] = dropped
    return found
