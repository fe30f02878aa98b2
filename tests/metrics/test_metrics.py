"""`/metrics` of a real app, read line by line."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.process import AppProcess, motia, running_app, write_project

SPEC = """
name: measured
topics: {work: {}}
streams: {progress: {schema: {type: object}}}
steps:
  Begin: {type: api, method: POST, path: "/begin/{how}", emits: [work]}
  Narrow:
    type: api
    method: POST
    path: "/narrow/{id}"
    body: {type: object, required: [n], properties: {n: {type: integer}}}
    bodyLimit: 1KiB
    rateLimit: {limit: 4, per: 365d, key: global}
  Work: {type: event, subscribes: [work], retry: {attempts: 2, delay: 10ms}}
"""
NARROW = "async def handler(request, ctx): pass"
BEGIN = """
async def handler(request, ctx):
    how = request.path_params["how"]
    if how == "broken":
        raise RuntimeError("as asked")
    if how != "nothing":
        await ctx.emit("work", {"fail": how == "fail"})
    return {}
"""
WORK = """
async def handler(data, ctx):
    if data["fail"]:
        raise ValueError("as asked")
"""
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"]*",?)+)\})? ([0-9.e+-]+)')
LABEL = re.compile(r'([a-z]+)="([^"]*)"')
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("measured"), SPEC, begin=BEGIN, work=WORK, narrow=NARROW)


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[AppProcess]:
    # records switched off: what is counted does not depend on them
    nobody = "http://127.0.0.1:9"  # takes the traces
    env = {
        "MOTIA_METRICS": "what the option goes before",
        "MOTIA_TRACING": "off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": nobody,
    }
    with running_app(folder, "start", "--metrics", "0", env=env) as app:
        yield app


@pytest.fixture(scope="module")
def url(app: AppProcess) -> str:
    return _url(app.wait_for("metrics at"))


def _url(line: str) -> str:
    found = re.search(r"metrics at (\S+/metrics)", line)
    assert found, line
    return f"http://{found[1]}"


def read(url: str) -> Samples:
    answer = httpx.get(url, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples: Samples = {}
    typed: set[str] = set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in typed
            typed.add(name)
        elif not line.startswith("#"):
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] in typed or re.sub("_(bucket|sum|count)$", "", found[1]) in typed
            key = found[1], frozenset(LABEL.findall(found[2] or ""))
            assert key not in samples
            samples[key] = float(found[3])
    return samples


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0)


def until(url: str, holds: Callable[[Samples], bool]) -> Samples:
    deadline = time.monotonic() + 30
    while not holds(samples := read(url)):
        assert time.monotonic() < deadline, samples
        time.sleep(0.1)
    return samples


@pytest.fixture(scope="module")
def samples(app: AppProcess, url: str) -> Samples:
    """After three good requests, one whose event fails for good, one that fails itself, and those that are refused."""
    refuse(app.url)
    for how, status in (("nothing", 200), ("go", 200), ("go", 200), ("fail", 200), ("broken", 500)):
        assert httpx.post(f"{app.url}/begin/{how}").status_code == status
    return until(
        url,
        lambda found: (
            of(found, "motia_step_dead_letters", step="Work") == 1
            and of(found, "motia_runs_total", step="Work", outcome="ok") == 2
            and of(found, "motia_runs_total", step="Work", outcome="dead") == 1  # counted once its letter is stored
            and all(of(found, f"motia_step_{what}", step="Work") == 0 for what in ("waiting", "in_flight", "in_hand"))
        ),
    )


def test_runs_are_counted_by_step_and_outcome(samples: Samples) -> None:
    runs = {key: value for key, value in samples.items() if key[0] == "motia_runs_total"}
    assert {tuple(sorted(labels)): value for (_, labels), value in runs.items()} == {
        (("outcome", "ok"), ("step", "Begin")): 4,
        (("outcome", "failed"), ("step", "Begin")): 1,
        (("outcome", "ok"), ("step", "Work")): 2,
        (("outcome", "retry"), ("step", "Work")): 1,
        (("outcome", "dead"), ("step", "Work")): 1,
    }


def refuse(base: str) -> None:
    """Have every kind of refusal, of a step with room for four requests."""
    for number, (body, kind, status) in enumerate(
        (
            (b"{", "application/json", 400),
            (b'{"n": "x"}', "application/json", 400),
            (b"n=1", "text/plain", 415),
            (b" " * 2000, "application/json", 413),
            (b'{"n": 1}', "application/json", 429),
        )
    ):
        asked = httpx.post(f"{base}/narrow/{number}", content=body, headers={"content-type": kind})
        assert asked.status_code == status
    assert httpx.put(f"{base}/narrow/9").status_code == 405
    for number in range(5):  # of any path, as often as anybody likes: one number
        assert httpx.get(f"{base}/nowhere/{number}").status_code == 404
    assert httpx.post(f"{base}/__workbench/api/none").status_code == 404
    assert httpx.get(f"{base}/begin/%ff").status_code == 400
    assert httpx.post(f"{base}/healthz").status_code == 405
    assert httpx.post(f"{base}/begin/nothing", headers={"host": "attacker.example"}).status_code == 421
    assert httpx.post(f"{base}/begin/nothing", headers={"host": "a b"}).status_code == 400
    assert httpx.get(f"{base}/__motia/streams/progress/g", headers={"origin": "http://a.example"}).status_code == 403
    assert httpx.get(f"{base}/__motia/none", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "12"}
    assert httpx.get(base, headers={**upgrade, "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg=="}).status_code == 426
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"NO SUCH\x00THING\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_refused_requests_are_counted_by_template_and_status(samples: Samples) -> None:
    found = {key: value for key, value in samples.items() if key[0] == "motia_http_requests_refused_total"}
    assert {tuple(value for _, value in sorted(labels)): value for (_, labels), value in found.items()} == {
        ("/narrow/{id}", "400"): 2,
        ("/narrow/{id}", "405"): 1,
        ("/narrow/{id}", "413"): 1,
        ("/narrow/{id}", "415"): 1,
        ("/narrow/{id}", "429"): 1,
        ("unmatched", "400"): 3,
        ("unmatched", "403"): 2,
        ("unmatched", "404"): 6,
        ("unmatched", "421"): 1,
        ("unmatched", "426"): 1,
        ("/healthz", "405"): 1,
    }


def test_durations_queue_times_and_requests_are_histograms(samples: Samples) -> None:
    assert of(samples, "motia_run_duration_seconds_count", step="Begin") == 5
    assert of(samples, "motia_run_duration_seconds_bucket", step="Work", le="+Inf") == 4
    assert of(samples, "motia_run_queue_seconds_count", step="Work") == 4
    assert of(samples, "motia_run_queue_seconds_sum", step="Work") > 0
    assert ("motia_run_queue_seconds_count", frozenset({("step", "Begin")})) not in samples
    assert of(samples, "motia_http_request_duration_seconds_count", step="Begin", status="200") == 4
    assert of(samples, "motia_http_request_duration_seconds_count", step="Begin", status="5xx") == 1


def test_steps_streams_and_the_process_are_looked_up(samples: Samples) -> None:
    for name in ("motia_step_waiting", "motia_step_in_flight", "motia_step_paused", "motia_step_in_hand"):
        assert samples[name, frozenset({("step", "Work")})] == 0
    assert of(samples, "motia_dead_letters") == 1
    assert of(samples, "motia_broker_connected") == 1
    assert samples["motia_stream_clients", frozenset()] == 0
    assert of(samples, "process_cpu_seconds_total") > 0
    assert of(samples, "process_resident_memory_bytes") > 10_000_000


def test_a_client_of_a_stream_shows(app: AppProcess, url: str) -> None:
    with httpx.stream("GET", f"{app.url}/__motia/streams/progress/g", timeout=10) as answer:
        assert answer.status_code == 200
        until(url, lambda found: of(found, "motia_stream_clients") == 1)
    until(url, lambda found: of(found, "motia_stream_clients") == 0)


def test_a_pause_shows(app: AppProcess, url: str, folder: Path) -> None:
    assert motia(folder, "pause", "Work").returncode == 0
    until(url, lambda found: of(found, "motia_step_paused", step="Work") == 1)
    assert motia(folder, "resume", "Work").returncode == 0


def test_the_dashboard_asks_for_what_there_is(samples: Samples) -> None:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    names = {name for text in asked for name in re.findall(r"\b(?:motia|process)_\w+", text)}
    there = {name for name, _ in samples}
    assert names - there == set()
    unseen = {re.sub("_(bucket|sum|count)$", "", name) for name in there - names} - {
        re.sub("_(bucket|sum|count)$", "", name) for name in names
    }
    assert unseen == set(), "the dashboard leaves these out"
    page = (DASHBOARD.parent / "observability.md").read_text()
    for name in {re.sub("_(bucket|sum|count)$", "", name) for name in there}:
        assert f"`{name}`" in page


def test_only_this_page_for_only_those_who_may_read_it(app: AppProcess, url: str) -> None:
    assert httpx.get(f"{app.url}/metrics").status_code == 404
    assert httpx.get(url.replace("/metrics", "/")).status_code == 404
    assert httpx.post(url).status_code == 405
    assert httpx.head(url).content == b""
    assert httpx.get(url, headers={"host": "attacker.example"}).status_code == 421


@pytest.mark.long
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    other = write_project(tmp_path / "other", SPEC, begin=BEGIN, work=WORK, narrow=NARROW)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = motia(other, "start", "--port", "0", env={"MOTIA_METRICS": str(port)})
    assert done.returncode == 1
    assert f"MOTIA_METRICS: port {port} on 127.0.0.1 is already in use" in done.stderr


@pytest.mark.long
def test_each_of_several_processes_has_a_port(tmp_path: Path) -> None:
    other = write_project(tmp_path / "several", SPEC, begin=BEGIN, work=WORK, narrow=NARROW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_app(other, "start", "--workers", "2", env={"MOTIA_METRICS": str(port)}) as app:
        urls = {_url(line) for line in app.lines if "metrics at" in line}
        assert len(urls) == 2
        for _ in range(20):
            assert httpx.post(f"{app.url}/begin/nothing").status_code == 200
        total = sum(of(read(url), "motia_runs_total", step="Begin", outcome="ok") for url in urls)
        assert total == 20
