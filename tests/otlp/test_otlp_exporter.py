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
from motia_runtime.otlp.exporter import Exporter, exporter_of
from motia_runtime.otlp.sender import wait_of
from motia_runtime.otlp.settings import BadSetting, settings_of
from motia_runtime.otlp.spans import EVENTS, spans_of
from motia_runtime.records import RunRecord
from motia_runtime.runlog import LogLine
from support.collector import Collector, plain


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

    def start(url: str, **more: str) -> Exporter:
        exporter = exporter_of({"OTEL_EXPORTER_OTLP_ENDPOINT": url, **more}, "app")
        assert exporter is not None
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
    assert caplog.text.count("it answered 401") == 1
    assert "the traces of 4 runs never reached" in caplog.text


def test_spans_that_a_collector_refuses_are_counted(make):
    answer = b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}}'
    with Collector(lambda _: (200, {}, answer)) as collector:
        exporter = make(collector.url)
        exporter.take(line(1) + line(2))
        collector.wait(lambda: bool(collector.taken))
        exporter.stop()
    assert (exporter.sent, exporter.rejected) == (2, 1)
    assert 'motia_otlp_runs_total{result="sent"} 2\n' in list(exporter.lines())
    assert "motia_otlp_spans_rejected_total 1\n" in list(exporter.lines())


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
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_when_told_so_nothing_is_exported(environ):
    assert exporter_of(environ, "app") is None


def test_a_variable_for_traces_goes_before_the_one_for_all():
    settings = settings_of(
        ENDPOINT
        | {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x?y=1",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2%2C",
        }
        | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1500", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    )
    assert settings is not None
    assert settings.url.geturl() == "https://t/x?y=1"
    assert (settings.headers, settings.timeout, settings.shown) == ({"b": "2,"}, 1.5, "t/x")
    everything = settings_of(ENDPOINT)
    assert everything is not None
    assert everything.url.geturl() == "http://c:4318/v1/traces"


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
        settings_of(ENDPOINT | {name: value})
    assert name in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert exporter_of(ENDPOINT | {name: value}, "app") is None
    assert name in caplog.text


def test_a_file_of_certificates_that_is_not_there_is_told(tmp_path: Path, caplog):
    missing = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "none.pem")}
    assert exporter_of(missing, "app") is None
    assert "no traces are exported" in caplog.text


def test_how_long_to_wait_is_a_number_or_a_date_and_never_long():
    assert wait_of("7") == 7
    assert wait_of("86400") == 60
    assert wait_of("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert wait_of("Sun, 06 Nov 2094 08:49:37 GMT") == 60
    assert [wait_of(text) for text in (None, "", "-1", "soon")] == [None] * 4
