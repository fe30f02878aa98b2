"""The exporter alone: what it drops, when it tries again, and what the variables may say."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

import msgspec
import pytest

from motia_runtime.handler import Trigger
from motia_runtime.otlp import exporter as exporting
from motia_runtime.otlp.exporter import Exporter
from motia_runtime.otlp.logs import ATTRIBUTES, logs_of
from motia_runtime.otlp.sender import wait_of
from motia_runtime.otlp.settings import BadSetting, settings_of
from motia_runtime.otlp.spans import EVENTS, spans_of
from motia_runtime.otlp.telemetry import Telemetry, telemetry_of
from motia_runtime.records import ErrorInfo, RunRecord
from motia_runtime.runlog import LogLine
from support.collector import LOGS, Collector, plain


def record(number: int = 1, **more: object) -> RunRecord:
    given = {
        "step": "S",
        "trigger": Trigger(type="event", topic="t", event_id=str(number)),
        "started": 1_750_000_000.0,
        "duration": 0.5,
        "outcome": "ok",
    } | more
    return RunRecord(trace_id=f"{number:032x}", span_id=f"{number:016x}", **given)  # type: ignore[arg-type]  # as given


def line(number: int) -> bytes:
    return msgspec.json.encode(record(number)) + b"\n"


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # a factory
    """An exporter that gathers and pauses briefly, to a URL; stopped at the end."""
    monkeypatch.setattr(exporting, "GATHER", 0.01)
    monkeypatch.setattr(exporting, "FIRST_PAUSE", 0.02)
    made = []

    def start(url: str, signal: str = "TRACES", **more: str) -> Exporter:
        telemetry = telemetry_of({f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": f"{url}/v1/{signal.lower()}", **more}, "app")
        assert telemetry is not None
        [exporter] = telemetry.exporters
        exporter.start()
        made.append(exporter)
        return exporter

    yield start
    for exporter in made:
        exporter.stop()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_a_collector_can_take_later_is_sent_again(make, caplog, status):
    caplog.set_level(logging.INFO, "motia.otlp")
    with Collector(lambda number: (status, {}, b"") if number < 4 else (200, {}, b"")) as collector:
        exporter = make(collector.url)
        exporter.take(line(1))
        collector.wait(lambda: bool(collector.taken))
        exporter.stop()
    assert [span["traceId"] for span in collector.spans] == [f"{1:032x}"]
    assert (exporter.sent, exporter.dropped, len(collector.requests)) == (1, 0, 4)
    assert caplog.text.count(f"it answered {status}") == 1


def test_what_it_will_never_take_is_dropped_and_said_once(make, caplog):
    with Collector(lambda number: (401, {}, b"no") if number < 3 else (200, {}, b"")) as collector:
        exporter = make(collector.url)
        for number in (1, 2, 3):
            exporter.take(line(number) + line(number + 10))
            collector.wait(lambda number=number: len(collector.requests) == number)
        collector.wait(lambda: bool(collector.taken))
        exporter.stop()
    assert (exporter.sent, exporter.dropped) == (2, 4)
    assert caplog.text.count("it answered 401") == caplog.text.count("OTEL_TRACES_EXPORTER=none sends none") == 1
    assert "the traces of 4 runs never reached" in caplog.text


def test_spans_that_a_collector_refuses_are_counted(make):
    answer = b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}}'
    with Collector(lambda _: (200, {}, answer)) as collector:
        exporter = make(collector.url)
        exporter.take(line(1) + line(2))
        collector.wait(lambda: bool(collector.taken))
        exporter.stop()
    assert (exporter.sent, exporter.rejected) == (2, 1)
    lines = list(Telemetry([exporter]).lines())
    assert 'motia_otlp_runs_total{signal="traces",result="sent"} 2\n' in lines
    assert "motia_otlp_spans_rejected_total 1\n" in lines


def test_a_collector_that_is_away_costs_traces_and_nothing_else(make, monkeypatch, caplog):
    monkeypatch.setattr(exporting, "QUEUE", 10 * len(line(10)))
    monkeypatch.setattr(exporting, "CLOSE", 1.0)
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        exporter = make(f"http://127.0.0.1:{silent.getsockname()[1]}", OTEL_EXPORTER_OTLP_TIMEOUT="60000")
        began = time.monotonic()
        for number in range(10, 60):
            exporter.take(line(number))
        exporter.take(line(60))
        assert time.monotonic() - began < 5
        exporter.stop()
    assert exporter.sent == 0
    assert exporter.dropped == 51
    assert caplog.text.count("more runs end than") == 1


def test_a_collector_that_comes_late_gets_what_waited(make):
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    with Collector() as collector:
        exporter = make(f"http://127.0.0.1:{port}")
        exporter.take(line(1))
        exporter.stop()
        assert exporter.dropped == 1  # nobody came in time
        late = make(collector.url)
        late.take(line(2))
        late.stop()  # at once: what is left goes out before the end
        assert [span["traceId"] for span in collector.spans] == [f"{2:032x}"]


def test_logs_that_a_collector_refuses_are_counted_and_runs_without_any_are_not_sent(make, caplog):
    answer = b'{"partialSuccess": {"rejectedLogRecords": "3"}}'
    with Collector(lambda _: (200, {}, answer)) as collector:
        exporter = make(collector.url, "LOGS")
        exporter.take(line(1))
        exporter.take(msgspec.json.encode(record(2, logs=[LogLine(1_750_000_000.0, "info", "hello")])) + b"\n")
        exporter.take(msgspec.json.encode(record(3, outcome="dead", error=ErrorInfo("KeyError", "'a'"))) + b"\n")
        collector.wait(lambda: len(collector.logs) == 2)
        exporter.stop()
    assert [(log["spanId"], log["body"]["stringValue"]) for log in collector.logs] == [
        (f"{2:016x}", "hello"),
        (f"{3:016x}", "KeyError: 'a'"),
    ]
    assert {path for path, _ in collector.requests} == {"/v1/logs"}
    assert exporter.sent == 3
    assert exporter.rejected == 3 * len(collector.requests)
    assert "refused 3 log records" in caplog.text


def test_traces_and_logs_go_where_their_own_variables_say_and_one_that_is_away_does_not_keep_the_other():
    with Collector() as collector, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        telemetry = telemetry_of(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.url}/own/v1/logs",
                "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "x-own=1",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "300",
            },
            "app",
        )
        assert telemetry is not None
        telemetry.start()
        telemetry.take(msgspec.json.encode(record(1, logs=[LogLine(1_750_000_000.0, "error", "hello")])) + b"\n")
        collector.wait(lambda: bool(collector.logs))
        telemetry.stop()
    assert [(path, headers["x-own"]) for path, headers in collector.requests] == [("/own/v1/logs", "1")]
    assert [(each.signal.name, each.sent, each.dropped) for each in telemetry.exporters] == [
        ("traces", 0, 1),
        ("logs", 1, 0),
    ]
    shown = "".join(telemetry.lines())
    assert shown.count("# TYPE motia_otlp_runs_total counter") == 1
    assert 'motia_otlp_runs_total{signal="logs",result="sent"} 1\n' in shown


def test_log_records_have_the_fields_of_their_lines_bounded_and_their_error_last():
    fields = {
        "n": 1,
        "big": 10**30,
        "text": "x" * 10_000,
        "list": [1, None, {"a": [True]}],
        "": 1,
        "motia.step": "forged",
    }
    many = {f"f{number}": 1.5 for number in range(300)}
    logs = [
        LogLine(1_750_000_000.25, "debug", "first", fields),
        LogLine(1_750_000_000.5, "warning", "x" * 10_000, many),
    ]
    first, second, error = logs_of(record(logs=logs, error=ErrorInfo("KeyError", "'a'", "stack"), attempt=2))
    assert abs(int(first["timeUnixNano"]) - 1_750_000_000_250_000_000) < 1_000
    assert (first["severityNumber"], first["severityText"]) == (5, "DEBUG")
    assert (first["traceId"], first["spanId"], first["droppedAttributesCount"]) == (f"{1:032x}", f"{1:016x}", 2)
    assert plain(first["attributes"]) == {
        "motia.step": "S",
        "motia.attempt": 2,
        "n": 1,
        "big": str(10**30),
        "text": "x" * 4096,
        "list": [1, None, {"a": [True]}],
    }
    assert (len(second["attributes"]), second["droppedAttributesCount"]) == (ATTRIBUTES, 300 - ATTRIBUTES + 2)
    assert (second["severityNumber"], len(second["body"]["stringValue"])) == (13, 4096)
    assert (error["severityNumber"], error["body"]) == (17, {"stringValue": "KeyError: 'a'"})
    assert error["timeUnixNano"] == "1750000000500000000"
    assert plain(error["attributes"]) == {
        "motia.step": "S",
        "motia.attempt": 2,
        "exception.type": "KeyError",
        "exception.message": "'a'",
        "exception.stacktrace": "stack",
    }
    request = {
        "resourceLogs": [
            {
                "resource": {"attributes": []},
                "scopeLogs": [{"scope": {"name": "m"}, "logRecords": [first, second, error]}],
            }
        ]
    }
    assert [fault.message for fault in LOGS.iter_errors(request)] == []


def test_spans_are_bounded_and_attempts_without_a_caller_are_roots():
    logs = [LogLine(1_750_000_000.0, "info", "x" * 10_000) for _ in range(300)]
    [span] = spans_of(record(logs=logs, more_logs=5, parent_id=f"{1:032x}"[:16]), {})
    assert (len(span["events"]), span["droppedEventsCount"]) == (EVENTS, 300 - EVENTS + 5)
    assert len(plain(span["events"][0]["attributes"])["log.message"]) == 4096
    assert "parentSpanId" not in span
    [tick] = spans_of(record(step="Tick", trigger=Trigger(type="cron", due=1.5)), {})
    assert (tick["name"], tick["kind"], plain(tick["attributes"])["motia.due"]) == ("Tick", 1, 1.5)
    odd = Trigger(type="api", method="BREW", path="/pot")
    [brewed] = spans_of(record(trigger=odd, status=503, outcome="failed"), {"S": "/pot"})
    told = plain(brewed["attributes"])
    assert (brewed["name"], told["http.request.method"], told["http.request.method_original"]) == (
        "HTTP /pot",
        "_OTHER",
        "BREW",
    )
    assert (brewed["status"], told["error.type"]) == ({"code": 2}, "503")
    [refused] = spans_of(record(trigger=Trigger(type="api", method="GET", path="/"), status=404), {})
    assert (refused["name"], "status" in refused) == ("GET", False)


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_when_told_so_nothing_is_exported(environ):
    assert telemetry_of(environ, "app") is None


@pytest.mark.parametrize(("off", "left"), [("TRACES", ["logs"]), ("LOGS", ["traces"])])
def test_one_of_them_can_be_switched_off(off, left):
    telemetry = telemetry_of(ENDPOINT | {f"OTEL_{off}_EXPORTER": "none"}, "app")
    assert telemetry is not None
    assert [exporter.signal.name for exporter in telemetry.exporters] == left


def test_a_variable_for_traces_goes_before_the_one_for_all():
    settings = settings_of(
        ENDPOINT
        | {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x?y=1",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2%2C",
        }
        | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1500", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        "traces",
    )
    assert settings is not None
    assert settings.url.geturl() == "https://t/x?y=1"
    assert (settings.headers, settings.timeout, settings.shown) == ({"b": "2,"}, 1.5, "t/x")
    everything = settings_of(ENDPOINT, "logs")
    assert everything is not None
    assert everything.url.geturl() == "http://c:4318/v1/logs"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "should be a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:99999", "should be a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hidden@c", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hidden", "part 1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hidden%0d%0ab: 1", "'a' is no header"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,hidden", "part 2"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_the_app_runs_without(name, value, words, caplog):
    with pytest.raises(BadSetting, match=words) as refused:
        settings_of(ENDPOINT | {name: value}, "traces")
    assert name in str(refused.value)
    assert "hidden" not in str(refused.value)
    telemetry = telemetry_of(ENDPOINT | {name: value}, "app")
    assert (telemetry is None) == ("TRACES" not in name)  # logs have no part in that
    assert name in caplog.text


def test_a_file_of_certificates_that_is_not_there_is_told(tmp_path: Path, caplog):
    missing = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "none.pem")}
    assert telemetry_of(missing, "app") is None
    assert "no traces are exported" in caplog.text
    assert "no logs are exported" in caplog.text


def test_how_long_to_wait_is_a_number_or_a_date_and_never_long():
    assert wait_of("7") == 7
    assert wait_of("86400") == 60
    assert wait_of("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert wait_of("Sun, 06 Nov 2094 08:49:37 GMT") == 60
    assert [wait_of(text) for text in (None, "", "-1", "soon")] == [None] * 4
