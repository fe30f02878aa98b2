"""A running app sends its traces and logs to a collector over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.collector import Collector, plain
from support.process import motia, running_app, write_project

SPEC = """
name: traced
secrets: [CARD_KEY]
topics: {placed: {}, paid: {}}
steps:
  Place: {type: api, method: POST, path: "/orders/{id}", emits: [placed]}
  Pay: {type: event, subscribes: [placed], emits: [paid], retry: {attempts: 2, delay: 10ms}}
  Tell: {type: event, subscribes: [paid], retry: {attempts: 1}}
nats: {prefix: traced}
"""
PLACE = """
async def handler(request, ctx):
    await ctx.emit("placed", {"id": request.path_params["id"]})
    return {"status": 201, "body": {}}
"""
PAY = """
async def handler(data, ctx):
    ctx.logger.info("paying", order=data["id"])
    if ctx.attempt == 1:
        raise RuntimeError("declined with " + ctx.secrets["CARD_KEY"])
    await ctx.emit("paid", data)
"""
TELL = "async def handler(data, ctx): pass"
TRACE, CALLER, SECRET = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "hush-hush-4711"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a collector got that asks to be asked again first, of an app that was asked twice and stopped; and what the app had printed."""
    folder = write_project(tmp_path_factory.mktemp("otlp") / "app", SPEC, place=PLACE, pay=PAY, tell=TELL)
    busy = (503, {"Retry-After": "0"}, b"")
    with Collector(lambda number: busy if number == 1 else (200, {}, b"{}")) as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/otlp",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b,authorization=Bearer%20s3cr3t-t0ken",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other",
            "CARD_KEY": SECRET,
            "MOTIA_METRICS": "0",
            "MOTIA_TRACING": "",
        }
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1", "user-agent": "tests"}
        with running_app(folder, env=env) as app:
            httpx.post(f"{app.url}/orders/7?api_key={SECRET}&q=x", json={}, headers=headers).raise_for_status()
            collector.wait(lambda: any(span["name"] == "process paid" for span in collector.spans))
            replayed = motia(folder, "replay", TRACE, "--yes", env=env)
            httpx.get(f"{app.url}/orders")  # no step's: no trace
            collector.wait(lambda: any(span.get("links") for span in collector.spans))
            collector.wait(lambda: sum(log["body"]["stringValue"] == "paying" for log in collector.logs) >= 4)
        assert replayed.returncode == 0, replayed.stderr
        yield collector, "".join(app.lines)


def one(spans: list[dict[str, Any]], name: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The span of this name, with these attributes, and its attributes."""
    found = [(span, plain(span["attributes"])) for span in spans if span["name"] == name and span["traceId"] == TRACE]
    [(span, told)] = [
        (span, told) for span, told in found if all(told.get(key.replace("__", ".")) == more[key] for key in more)
    ]
    return span, told


def test_each_run_is_a_span_below_what_caused_it(collected: Any) -> None:
    collector, _ = collected
    assert collector.faults == []
    spans = collector.spans
    place, told = one(spans, "POST /orders/{id}")
    assert (place["kind"], place["parentSpanId"], place["traceState"]) == (2, CALLER, "vendor=1")
    assert told["http.route"] == "/orders/{id}"
    assert (told["http.request.method"], told["url.path"], told["http.response.status_code"]) == (
        "POST",
        "/orders/7",
        201,
    )
    assert (told["url.query"], told["user_agent.original"]) == ("api_key=***&q=x", "tests")
    assert (told["server.address"], told["motia.step"]) == ("localhost", "Place")
    sent, told = one(spans, "send placed")
    assert (sent["kind"], sent["parentSpanId"]) == (4, place["spanId"])
    assert (told["messaging.destination.name"], told["messaging.operation.type"]) == ("placed", "send")
    assert (
        place["startTimeUnixNano"] <= sent["startTimeUnixNano"] <= sent["endTimeUnixNano"] == place["endTimeUnixNano"]
    )
    paid, told = one(spans, "process placed", motia__attempt=2)
    assert (paid["kind"], paid["parentSpanId"], told["messaging.system"]) == (5, place["spanId"], "nats")
    assert (told["messaging.consumer.group.name"], told["messaging.operation.type"]) == ("Pay", "process")
    assert "status" not in paid
    last, _ = one(spans, "process paid")
    assert last["parentSpanId"] == paid["spanId"]
    assert [plain(event["attributes"])["log.message"] for event in paid["events"]] == ["paying"]


def test_a_failed_attempt_tells_its_error_and_no_secret(collected: Any) -> None:
    collector, printed = collected
    failed, told = one(collector.spans, "process placed", motia__attempt=1)
    assert (failed["status"]["code"], told["error.type"], told["motia.outcome"]) == (2, "RuntimeError", "retry")
    [error] = [plain(event["attributes"]) for event in failed["events"] if event["name"] == "exception"]
    assert (error["exception.type"], error["exception.message"]) == ("RuntimeError", "declined with ***")
    assert "pay.py" in error["exception.stacktrace"]
    assert SECRET not in repr(collector.taken)
    assert SECRET not in printed
    assert "s3cr3t-t0ken" not in printed


def test_each_line_is_a_log_record_in_the_span_of_its_attempt_and_an_error_is_one(collected: Any) -> None:
    collector, _ = collected
    spans = [one(collector.spans, "process placed", motia__attempt=attempt)[0] for attempt in (1, 2)]
    logs = sorted((log for log in collector.logs if log["traceId"] == TRACE), key=lambda log: int(log["timeUnixNano"]))
    shown = [(log["spanId"], log["severityText"], log["body"]["stringValue"]) for log in logs]
    assert shown == [
        (spans[0]["spanId"], "INFO", "paying"),
        (spans[0]["spanId"], "ERROR", "RuntimeError: declined with ***"),
        (spans[1]["spanId"], "INFO", "paying"),
    ]
    assert plain(logs[0]["attributes"]) == {"motia.step": "Pay", "motia.attempt": 1, "order": "7"}
    assert "pay.py" in plain(logs[1]["attributes"])["exception.stacktrace"]
    bodies = {next(iter(body)): next(iter(body.values()))[0] for body in collector.taken}
    assert bodies["resourceLogs"]["resource"] == bodies["resourceSpans"]["resource"]


def test_a_replay_is_a_root_linked_to_what_it_repeats(collected: Any) -> None:
    collector, _ = collected
    [again] = [
        span
        for span in collector.spans
        if span["traceId"] != TRACE
        and span["name"] == "process placed"
        and plain(span["attributes"])["motia.attempt"] == 1
    ]
    assert "parentSpanId" not in again
    assert [link["traceId"] for link in again["links"]] == [TRACE]


def test_requests_are_as_the_variables_say_and_come_again_when_refused(collected: Any) -> None:
    collector, printed = collected
    for path, headers in collector.requests:
        assert path in ("/otlp/v1/traces", "/otlp/v1/logs")
        assert (headers["x-tenant"], headers["authorization"]) == ("a b", "Bearer s3cr3t-t0ken")
        assert (headers["Content-Type"], headers["Content-Encoding"]) == ("application/json", "gzip")
    assert len(collector.taken) == len(collector.requests) - 1
    ids = [span["spanId"] for span in collector.spans]
    assert len(ids) == len(set(ids))
    [(resources, *_)] = collector.taken[0].values()
    resource = plain(resources["resource"]["attributes"])
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("shop", "test")
    assert printed.count("don't reach") == printed.count("again; those of 0 runs were dropped") == 1
