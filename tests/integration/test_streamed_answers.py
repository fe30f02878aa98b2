"""Streamed answers over real HTTP: pieces as they are made, slow readers, clients that leave, and what comes true."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from support.process import AppProcess, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: streamed
server: {cors: {origins: [https://shop.example]}}
state: {seen: {}}
steps:
  Text: {type: api, method: GET, path: /text, handler: steps/all.py:text, rateLimit: {limit: 100, per: 1d, key: global}}
  Plain: {type: api, method: GET, path: /plain, handler: steps/all.py:plain}
  Events: {type: api, method: POST, path: /events, handler: steps/all.py:events}
  Fails: {type: api, method: GET, path: /fails, handler: steps/all.py:fails}
  Late: {type: api, method: GET, path: /late, handler: steps/all.py:late, timeout: 1s}
  Flood: {type: api, method: GET, path: /flood, handler: steps/all.py:flood}
  PlainFlood: {type: api, method: GET, path: /plain-flood, handler: steps/all.py:plain_flood}
  Silent: {type: api, method: GET, path: /silent, handler: steps/all.py:silent}
  Busy: {type: api, method: GET, path: /busy, handler: steps/all.py:busy}
  Stop: {type: api, method: GET, path: /stop, handler: steps/all.py:stop}
  Go: {type: api, method: POST, path: "/go/{name}", handler: steps/all.py:go}
  Seen: {type: api, method: GET, path: /seen, handler: steps/all.py:seen}
"""
STEPS = """
import asyncio
import threading
from collections import Counter, defaultdict
from pathlib import Path

from motia_runtime.handler import Response, ServerSentEvent

gates = defaultdict(threading.Event)  # by name: set by /go
made = Counter()  # pieces, and ends of handlers


async def gate(name):
    while not gates[name].is_set():
        await asyncio.sleep(0.005)


async def text(request, ctx):
    await ctx.state.seen.set("text", 1)
    yield "one "
    await gate("text")
    yield "two "
    yield ""
    yield "three"


def plain(request, ctx):
    ctx.state.seen.set("plain", 1)
    yield b"one "
    gates["plain"].wait(30)
    yield b"two"


async def events(request, ctx):
    yield Response(status=201, headers={"x-own": "1", "content-type": "text/event-stream"})
    await gate("events")
    yield ServerSentEvent({"n": request.body["n"]}, event="tick", id="1", retry=2)
    yield ServerSentEvent("two\\nlines")


async def fails(request, ctx):
    await ctx.state.seen.set("fails", 1)
    yield "begun"
    raise RuntimeError("secret")


async def late(request, ctx):
    try:
        yield "begun"
        await asyncio.sleep(60)
    finally:
        made["late ended"] += 1


async def flood(request, ctx):
    await ctx.state.seen.set("flood", 1)
    try:
        while True:
            made["flood"] += 1
            yield bytes(65536)
    finally:
        await asyncio.sleep(0)
        made["flood ended"] += 1


def plain_flood(request, ctx):
    ctx.state.seen.set("plain flood", 1)
    try:
        while True:
            made["plain-flood"] += 1
            yield bytes(65536)
    finally:
        made["plain-flood ended"] += 1


async def silent(request, ctx):
    made["silent"] += 1
    await ctx.state.seen.set("silent", 1)
    try:
        await asyncio.sleep(3600)
        yield "never"
    finally:
        made["silent ended"] += 1


async def busy(request, ctx):
    while not gates["busy"].is_set():
        yield b"x"


async def stop(request, ctx):
    await ctx.state.seen.set("stop", 1)
    yield "one "
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    yield "two"


async def go(request, ctx):
    gates[request.path_params["name"]].set()


async def seen(request, ctx):
    return {"state": await ctx.state.seen.items(), "made": dict(made)}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = write_project(tmp_path_factory.mktemp("streamed"), SPEC, all=STEPS)
    with running_app(folder) as running:
        yield running


def seen(app: AppProcess, what: str = "state") -> dict[str, int]:
    return dict(httpx.get(app.url + "/seen").json()[what])


def go(app: AppProcess, name: str) -> None:
    assert httpx.post(f"{app.url}/go/{name}").status_code == 204


@contextmanager
def asked(app: AppProcess, path: str, *lines: str, version: str = "1.1") -> Iterator[socket.socket]:
    """A connection on which one request was sent."""
    host, _, port = app.url.removeprefix("http://").rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        head = [f"GET {path} HTTP/{version}", f"Host: {host}", *lines, "", ""]
        connection.sendall("\r\n".join(head).encode())
        yield connection


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        more = connection.recv(65536)
        assert more, f"the connection ended after {found!r}"
        found += more
    return found


@pytest.mark.parametrize(("name", "rest"), [("text", "two three"), ("plain", "two")])
def test_pieces_arrive_as_they_are_made_and_effects_come_true_at_the_end(app: AppProcess, name: str, rest: str) -> None:
    headers = {"origin": "https://shop.example"}
    with httpx.stream("GET", f"{app.url}/{name}", headers=headers, timeout=20) as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "one "
        assert answer.status_code == 200
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        assert len(answer.headers["x-trace-id"]) == 32
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert ("ratelimit" in answer.headers) is (name == "text")
        assert name not in seen(app)
        go(app, name)
        assert "".join(pieces) == rest
    assert seen(app)[name] == 1


def test_events(app: AppProcess) -> None:
    with httpx.stream(
        "POST", app.url + "/events", json={"n": 7}, timeout=20
    ) as answer:  # the head comes before the first event
        assert (answer.status_code, answer.headers["x-own"]) == (201, "1")
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache"
        go(app, "events")
        assert answer.read().decode() == 'event: tick\nid: 1\nretry: 2000\ndata: {"n":7}\n\ndata: two\ndata: lines\n\n'


def test_the_connection_is_used_again(app: AppProcess) -> None:
    with httpx.Client(base_url=app.url) as client:
        client.post("/go/text")
        before = client.get("/text").extensions["network_stream"].get_extra_info("client_addr")
        assert client.get("/text").extensions["network_stream"].get_extra_info("client_addr") == before


@pytest.mark.parametrize("path", ["/fails", "/late"])
def test_what_fails_has_no_end_and_leaves_nothing(app: AppProcess, path: str) -> None:
    with asked(app, path) as connection:
        found = read_until(connection, b"begun\r\n")
        while more := connection.recv(65536):
            found += more
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"5\r\nbegun\r\n")  # no chunk of length 0, which would be the end
    assert b"secret" not in found
    assert "fails" not in seen(app)
    if path == "/late":
        wait_for(lambda: seen(app, "made").get("late ended"), "the handler was not ended")


def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection(app: AppProcess) -> None:
    go(app, "text")
    with asked(app, "/text", version="1.0") as connection:
        found = read_until(connection, b"three")
        assert connection.recv(1) == b""
    assert b"connection: close\r\n" in found
    assert b"chunked" not in found
    assert found.endswith(b"\r\n\r\none two three")


def test_head_has_the_head_alone(app: AppProcess) -> None:
    with httpx.Client(base_url=app.url) as client:
        answer = client.head("/flood")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
        assert client.head("/flood").status_code == 200
    assert "flood" not in seen(app)


@pytest.mark.parametrize("name", ["flood", "plain-flood"])
def test_a_reader_that_does_not_read_holds_the_handler_up_and_ends_it_by_leaving(app: AppProcess, name: str) -> None:
    ended = seen(app, "made").get(f"{name} ended", 0)
    begun = seen(app, "made").get(name, 0)
    with asked(app, f"/{name}") as connection:
        read_until(connection, b"\r\n\r\n")
        last = [0, 0.0]

        def still() -> bool:
            """No further piece was made for a second."""
            made = seen(app, "made")[name]
            if made != last[0]:
                last[:] = [made, time.monotonic()]
            return time.monotonic() - last[1] > 1.0

        wait_for(still, "the handler goes on")
        assert last[0] - begun < 400  # of 64 KiB: what the sockets of both sides hold
        got = 0
        while got < 50_000_000:
            got += len(connection.recv(1 << 20))
        assert seen(app, "made")[name] > last[0]
    wait_for(lambda: seen(app, "made").get(f"{name} ended", 0) > ended, "the handler was not ended")
    assert name.replace("-", " ") not in seen(app)


def test_a_client_that_leaves_ends_a_handler_that_says_nothing(app: AppProcess) -> None:
    with asked(app, "/silent"):
        wait_for(lambda: seen(app, "made").get("silent"), "the handler did not begin")
    wait_for(lambda: seen(app, "made").get("silent ended"), "the handler was not ended")
    assert "silent" not in seen(app)


def test_a_handler_that_never_waits_leaves_room_for_others(app: AppProcess) -> None:
    with asked(app, "/busy") as connection:
        read_until(connection, b"x\r\n")
        go(app, "busy")
        read_until(connection, b"\r\n0\r\n\r\n")


def test_a_stop_waits_for_the_end(tmp_path: Path) -> None:
    with running_app(write_project(tmp_path, SPEC, all=STEPS)) as app:
        with asked(app, "/stop") as connection:
            read_until(connection, b"one ")
            app.process.terminate()
            app.wait_for("stopping")
            (tmp_path / "go").touch()
            assert read_until(connection, b"\r\n0\r\n\r\n").endswith(b"two\r\n0\r\n\r\n")
        assert app.process.wait(20) == 0
    with running_app(tmp_path) as app:
        assert seen(app) == {"stop": 1}
