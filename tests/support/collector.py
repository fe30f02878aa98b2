"""A collector over real HTTP that refuses what is no ExportTraceServiceRequest or ExportLogsServiceRequest in the JSON of OTLP."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jsonschema import Draft202012Validator

NANOS = {"type": "string", "pattern": "^[1-9][0-9]{17,18}$"}
TRACE = {"type": "string", "pattern": "^(?!0{32})[0-9a-f]{32}$"}
SPAN = {"type": "string", "pattern": "^(?!0{16})[0-9a-f]{16}$"}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


VALUE = {
    "oneOf": [
        closed(["stringValue"], stringValue={"type": "string"}),
        closed(["boolValue"], boolValue={"type": "boolean"}),
        closed(["intValue"], intValue={"type": "string", "pattern": "^-?[0-9]+$"}),
        closed(["doubleValue"], doubleValue={"type": "number"}),
    ]
}
ATTRIBUTES = {"type": "array", "items": closed(["key", "value"], key={"type": "string", "minLength": 1}, value=VALUE)}
EVENT = closed(["timeUnixNano", "name"], timeUnixNano=NANOS, name={"type": "string"}, attributes=ATTRIBUTES)
LINK = closed(["traceId", "spanId"], traceId=TRACE, spanId=SPAN, attributes=ATTRIBUTES)
SPANS = closed(
    ["traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"],
    traceId=TRACE,
    spanId=SPAN,
    parentSpanId=SPAN,
    traceState={"type": "string", "minLength": 1, "maxLength": 512},
    flags={"type": "integer"},
    name={"type": "string", "minLength": 1},
    kind={"enum": [1, 2, 3, 4, 5]},
    startTimeUnixNano=NANOS,
    endTimeUnixNano=NANOS,
    attributes=ATTRIBUTES,
    events={"type": "array", "items": EVENT},
    droppedEventsCount={"type": "integer", "minimum": 1},
    links={"type": "array", "items": LINK},
    status=closed([], code={"enum": [0, 1, 2]}, message={"type": "string"}),
)
SCOPE = closed(["name"], name={"type": "string"}, version={"type": "string"})
SCOPED = closed(["scope", "spans"], scope=SCOPE, spans={"type": "array", "minItems": 1, "items": SPANS})
RESOURCE = closed(
    ["resource", "scopeSpans"],
    resource=closed(["attributes"], attributes=ATTRIBUTES),
    scopeSpans={"type": "array", "items": SCOPED},
)
TRACES = Draft202012Validator(closed(["resourceSpans"], resourceSpans={"type": "array", "items": RESOURCE}))

ANY = {
    "oneOf": [
        closed([]),  # null
        *VALUE["oneOf"],
        closed(
            ["arrayValue"],
            arrayValue=closed(["values"], values={"type": "array", "items": {"$ref": "#/$defs/any"}}),
        ),
        closed(
            ["kvlistValue"],
            kvlistValue=closed(
                ["values"],
                values={
                    "type": "array",
                    "items": closed(["key", "value"], key={"type": "string"}, value={"$ref": "#/$defs/any"}),
                },
            ),
        ),
    ]
}
LOG = closed(
    ["timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "body", "traceId", "spanId"],
    timeUnixNano=NANOS,
    observedTimeUnixNano=NANOS,
    severityNumber={"enum": [5, 9, 13, 17]},
    severityText={"enum": ["DEBUG", "INFO", "WARNING", "ERROR"]},
    body=closed(["stringValue"], stringValue={"type": "string"}),
    attributes={
        "type": "array",
        "maxItems": 128,
        "items": closed(["key", "value"], key={"type": "string", "minLength": 1}, value={"$ref": "#/$defs/any"}),
    },
    droppedAttributesCount={"type": "integer", "minimum": 1},
    flags={"const": 1},
    traceId=TRACE,
    spanId=SPAN,
)
SCOPED_LOGS = closed(["scope", "logRecords"], scope=SCOPE, logRecords={"type": "array", "minItems": 1, "items": LOG})
RESOURCE_LOGS = closed(
    ["resource", "scopeLogs"],
    resource=closed(["attributes"], attributes=ATTRIBUTES),
    scopeLogs={"type": "array", "minItems": 1, "items": SCOPED_LOGS},
)
LOGS = Draft202012Validator(
    {
        **closed(["resourceLogs"], resourceLogs={"type": "array", "minItems": 1, "items": RESOURCE_LOGS}),
        "$defs": {"any": ANY},
    }
)

Answer = tuple[int, dict[str, str], bytes]


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes as a dict of JSON."""
    found = {each["key"]: _plain(each["value"]) for each in attributes}
    assert len(found) == len(attributes), "an attribute is there twice"
    return found


def _plain(value: dict[str, Any]) -> Any:
    for kind, given in value.items():
        if kind == "intValue":
            return int(given)
        if kind == "arrayValue":
            return [_plain(each) for each in given["values"]]
        return plain(given["values"]) if kind == "kvlistValue" else given
    return None


class Collector:
    """Answers each request with what `answer` gives for its number, from 1 on, once it is found to be right; 400 says that it is not."""

    def __init__(self, answer: Callable[[int], Answer] = lambda _: (200, {}, b"{}")) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []  # path, headers
        self.faults: list[str] = []
        self.taken: list[dict[str, Any]] = []  # bodies that were answered with 200
        self.changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                status, headers, body = collector.hear(self.path, dict(self.headers.items()), data, answer)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for body in self.taken
            for resource in body.get("resourceSpans", ())
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [
            log
            for body in self.taken
            for resource in body.get("resourceLogs", ())
            for scope in resource["scopeLogs"]
            for log in scope["logRecords"]
        ]

    def hear(self, path: str, headers: dict[str, str], data: bytes, answer: Callable[[int], Answer]) -> Answer:
        with self.changed:
            self.requests.append((path, headers))
            try:
                if headers.get("Content-Encoding") == "gzip":
                    data = gzip.decompress(data)
                body = json.loads(data)
                right = LOGS if path.endswith("/v1/logs") else TRACES
                faults = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in right.iter_errors(body)]
            except ValueError as problem:
                body, faults = {}, [str(problem)]
            self.faults += faults
            given = (400, {}, b"") if faults else answer(len(self.requests))
            if given[0] == 200:
                self.taken.append(body)
            self.changed.notify_all()
            return given

    def wait(self, enough: Callable[[], bool], within: float = 30.0) -> None:
        with self.changed:
            assert self.changed.wait_for(enough, timeout=within), (self.requests, self.faults)
