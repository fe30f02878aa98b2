"""Spans made of records of runs, in the JSON of OTLP, with the semantic conventions of OpenTelemetry for HTTP and messaging.

An attempt is a span: SERVER of an api step, CONSUMER of an event, INTERNAL of a schedule or a task's end. Each emit is a PRODUCER span below it, from the call to
the end of the run, when the event is stored. Payloads are left out. What records hide is hidden here as well, since it is the records that are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias
from urllib.parse import urlencode

from motia_runtime.otlp.values import SAMPLED, TEXT, Value, attributes_of, nanos, resource_of
from motia_runtime.records import EmitInfo, RunRecord

INTERNAL, SERVER, PRODUCER, CONSUMER = 1, 2, 4, 5  # opentelemetry.proto.trace.v1.Span.SpanKind
ERROR = 2  # Status.StatusCode
EVENTS = 128  # of a span
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
FAILED = frozenset(("failed", "dead", "expired", "retry"))  # outcomes

Span: TypeAlias = dict[str, Any]


def spans_of(record: RunRecord, routes: Mapping[str, str]) -> list[Span]:
    """Of one attempt. `routes`: path templates of api steps, by step."""
    trigger = record.trigger
    if trigger.type == "api":
        name, kind, told = _http(record, routes.get(record.step, ""))
    elif trigger.type == "event":
        name, kind, told = f"process {trigger.topic}", CONSUMER, _process(record)
    else:
        name, kind, told = record.step, INTERNAL, {}
    told |= {
        "motia.step": record.step,
        "motia.trigger": trigger.type,
        "motia.outcome": record.outcome,
        "motia.attempt": record.attempt,
    }
    if trigger.type != "api":
        told["motia.queue.duration"] = record.queued
    if record.conflicts:
        told["motia.conflicts"] = record.conflicts
    if trigger.due is not None:
        told["motia.due"] = trigger.due
    events = _events(record)
    error = record.error
    failed = record.outcome in FAILED or (record.status or 0) >= 500
    if error is not None:
        told["error.type"] = error.type
    elif failed:
        told["error.type"] = str(record.status or record.outcome)
    span = _span(record, record.span_id, name, kind, record.started, told)
    # a root has no parent; where a header needed one, half of the trace id stands in (`trace.format_context`)
    if record.parent_id and record.parent_id != record.trace_id[:16]:
        span["parentSpanId"] = record.parent_id
    span["events"] = events[:EVENTS]
    if dropped := len(events) - len(span["events"]) + record.more_logs:
        span["droppedEventsCount"] = dropped
    links = [_link(trace, why) for trace, why in ((record.replay_of, "replay"), (record.batch, "batch")) if trace]
    if links:
        span["links"] = links
    if failed:
        span["status"] = {"code": ERROR} | ({} if error is None else {"message": error.message[:TEXT]})
    return [span, *(_sent(record, number, emit) for number, emit in enumerate(record.emits))]


def request_of(
    attributes: Mapping[str, str], version: str, records: Iterable[RunRecord], routes: Mapping[str, str]
) -> dict[str, Any]:
    """An ExportTraceServiceRequest. `routes`: as of `spans_of`."""
    found = [span for record in records for span in spans_of(record, routes)]
    return {"resourceSpans": [resource_of(attributes, "scopeSpans", version, "spans", found)]}


def _span(
    record: RunRecord, span_id: str, name: str, kind: int, started: float, attributes: Mapping[str, Value]
) -> Span:
    span: Span = {
        "traceId": record.trace_id,
        "spanId": span_id,
        "flags": SAMPLED,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanos(started),
        "endTimeUnixNano": nanos(max(started, record.started + record.duration)),
        "attributes": attributes_of(attributes.items()),
    }
    if record.tracestate:
        span["traceState"] = record.tracestate
    return span


def _http(record: RunRecord, route: str) -> tuple[str, int, dict[str, Value]]:
    trigger, headers = record.trigger, record.headers
    asked = trigger.method or ""
    method = asked if asked in METHODS else "_OTHER"
    told: dict[str, Value] = {"http.request.method": method, "url.scheme": "http", "url.path": trigger.path or "/"}
    if method != asked:
        told["http.request.method_original"] = asked
    if route:
        told["http.route"] = route
    if record.query:
        told["url.query"] = urlencode(record.query, doseq=True, safe="*")
    if record.status is not None:
        told["http.response.status_code"] = record.status
    if record.streamed is not None:
        told["http.response.body.size"] = record.streamed
    if agent := headers.get("user-agent"):
        told["user_agent.original"] = agent
    if host := headers.get("host"):
        address, colon, port = host.rpartition(":")
        if colon and port.isascii() and port.isdecimal():
            told |= {"server.address": address.strip("[]"), "server.port": int(port)}
        else:
            told["server.address"] = host
    shown = "HTTP" if method == "_OTHER" else method
    return f"{shown} {route}" if route else shown, SERVER, told


def _process(record: RunRecord) -> dict[str, Value]:
    trigger = record.trigger
    told: dict[str, Value] = {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": trigger.topic or "",
        "messaging.consumer.group.name": record.step,
    }
    if record.events:
        told["messaging.batch.message_count"] = len(record.events)
    elif trigger.event_id:
        told["messaging.message.id"] = trigger.event_id
    return told


def _sent(record: RunRecord, number: int, emit: EmitInfo) -> Span:
    told: dict[str, Value] = {
        "messaging.system": "nats",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": emit.topic,
        "messaging.message.body.size": emit.size,
        "motia.step": record.step,
    }
    if emit.at is not None:
        told["motia.due"] = emit.at
    span_id = blake2b(f"{record.span_id}:{number}".encode(), digest_size=8).hexdigest()
    started = record.started + min(emit.offset, record.duration)
    return _span(record, span_id, f"send {emit.topic}", PRODUCER, started, told) | {"parentSpanId": record.span_id}


def _events(record: RunRecord) -> list[dict[str, Any]]:
    """Its error first, since a span has room for so many."""
    found = []
    if record.error is not None:
        error = record.error
        told: dict[str, Value] = {"exception.type": error.type, "exception.message": error.message}
        if error.stack:
            told["exception.stacktrace"] = error.stack
        found.append(_event("exception", record.started + record.duration, told))
    logs = ((line.time, {"log.severity": line.level, "log.message": line.message}) for line in record.logs)
    return [*found, *(_event("log", time, told) for time, told in logs)]


def _event(name: str, time: float, attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {"timeUnixNano": nanos(time), "name": name, "attributes": attributes_of(attributes.items())}


def _link(trace_id: str, why: str) -> dict[str, Any]:
    """To a trace as a whole. A link needs a span: the one that stands for the parent of a root (`trace.format_context`)."""
    attributes = attributes_of([("motia.link", why)])
    return {"traceId": trace_id, "spanId": trace_id[:16], "attributes": attributes}
