"""The wire: limits, timeouts, order, and how connections end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from litestar.handlers import asgi

from motia_runtime.http.server import Limits, serve

GET = b"GET /echo?n=%d HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
LAST = b"Connection: close\r\n"


def echo(request: Any) -> Any:
    return {"n": request.query_params.get("n"), "size": len(request.raw_body)}


@pytest.fixture
async def app(site: Any, step: Any) -> Any:
    fast = Limits(header_timeout=0.3, body_timeout=0.3, idle_timeout=0.3, linger=0.3, body_rate=1_000_000)
    return await site((step("Echo", "/echo", "GET", "POST"), echo), limits=fast)


def problem_of(answer: bytes, status: int) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    found = json.loads(body)
    assert found["status"] == status
    return dict(found)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"TRACE /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"PURGE /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET http://elsewhere/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /echo#part HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 9000), 414),
        (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"a" * 40_000), 431),
        (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: %s" % (b"a" * 400_000), 431),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: a miracle\r\nContent-Length: 1\r\n\r\na", 417),
    ],
)
async def test_refused_with_a_problem(app: Any, request_bytes: bytes, status: int) -> None:
    answer = await app.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == status
    assert app.runner.requests == []


async def test_a_large_header_behind_a_pipelined_request_is_refused_after_its_answer(app: Any) -> None:
    answer = await app.raw(GET % (1, b"") + GET % (2, b"X: %s\r\n" % (b"a" * 40_000)))
    first, _, rest = answer.partition(b"HTTP/1.1 431 ")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b'"n":"1"' in first
    assert b"problem+json" in rest


async def test_pipelined_requests_are_answered_in_order_whatever_they_take(site: Any, step: Any) -> None:
    release = asyncio.Event()

    async def wait_or_not(request: Any) -> Any:
        if request.query_params["n"] == "0":
            await release.wait()
        release.set()
        return request.query_params["n"]

    app = await site((step("Echo", "/echo", "GET", "POST"), wait_or_not))
    post = b"POST /echo?n=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    sending = asyncio.create_task(app.raw(GET % (0, b"") + post + GET % (2, LAST)))
    async with asyncio.timeout(5):
        while app.switch.in_flight != 1:
            await asyncio.sleep(0)
    release.set()
    assert re.findall(rb"\r\n\r\n(\d)", await sending) == [b"0", b"1", b"2"]


async def test_junk_after_a_request_is_refused_after_its_answer(app: Any) -> None:
    answer = await app.raw(GET % (1, b"") + b"junk\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in answer


async def test_data_after_the_last_request_is_not_looked_at(app: Any) -> None:
    answer = await app.raw(GET % (1, LAST) + GET % (2, b""))
    assert answer.count(b"HTTP/1.1") == 1
    assert len(app.runner.requests) == 1


async def test_http_1_0_is_answered_and_closed(app: Any) -> None:
    answer = await app.raw(b"GET /echo?n=1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


async def test_absolute_form_and_trailing_space_in_values(app: Any) -> None:
    answer = await app.raw(
        b"GET http://localhost/echo?n=7 HTTP/1.1\r\nHost: LOCALHOST\r\nX-A:  b \t \r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert app.runner.requests[0].headers["x-a"] == "b"


async def test_trailers_are_dropped(app: Any) -> None:
    answer = await app.raw(
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nHost: evil.example\r\nX-User: root\r\n\r\n"
    )
    assert b'"size":3' in answer
    assert "x-user" not in app.runner.requests[0].headers


async def test_expect_100_continue(app: Any) -> None:
    reader, writer = await app.connect()
    async with asyncio.timeout(5):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET /echo HTTP/1.1\r\nHost: loc", 408),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", 408),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 408),
        (GET % (1, b""), 200),  # then idle
    ],
    ids=["silent", "half a head", "half a body", "half a chunked body", "idle"],
)
async def test_a_connection_that_stalls_is_closed(app: Any, sent: bytes, status: int | None) -> None:
    answer = await app.raw(sent)
    if status is None:
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_head_that_trickles_does_not_keep_the_connection(app: Any) -> None:
    reader, writer = await app.connect()

    async def trickle() -> None:
        for byte in b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(5):
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 408 ")
    trickling.cancel()
    writer.close()


async def test_a_slow_handler_is_not_taken_for_an_idle_connection(site: Any, step: Any) -> None:
    async def slow(request: Any) -> str:
        await asyncio.sleep(0.5)
        return "done"

    app = await site(
        (step("Slow", "/echo"), slow), limits=Limits(header_timeout=0.1, idle_timeout=0.1, body_timeout=0.1)
    )
    assert b"done" in await app.raw(GET % (1, LAST))


async def test_the_answer_reaches_a_client_that_half_closes(site: Any, step: Any) -> None:
    async def slow(request: Any) -> str:
        await asyncio.sleep(0.05)
        return "done"

    app = await site((step("Slow", "/echo"), slow))
    assert b"done" in await app.raw(GET % (1, b""), end=True)


async def test_a_body_that_breaks_off_runs_nothing(app: Any) -> None:
    answer = await app.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", end=True)
    assert answer == b""
    assert app.runner.requests == []


async def test_a_reader_that_does_not_read_is_cut_off(site: Any, step: Any) -> None:
    limits = Limits(write_timeout=0.3)
    app = await site((step("Big", "/echo"), lambda request: b"x" * 30_000_000), limits=limits)
    _, writer = await app.connect()
    writer.transport.pause_reading()
    writer.write(GET % (1, b""))
    async with asyncio.timeout(5):
        while app.server.connections == 0:
            await asyncio.sleep(0.01)
        while app.server.connections:
            await asyncio.sleep(0.01)
    writer.transport.abort()


async def test_an_upgrade_we_do_not_offer_is_ignored(app: Any) -> None:
    answer = await app.raw(
        GET % (1, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_memory_of_an_unread_body_is_bounded(site: Any, step: Any) -> None:
    """A refused upload is thrown away as it comes."""
    app = await site((step("Echo", "/echo", "POST", body_limit=1000), echo))
    answer = await app.raw(
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
    )
    assert problem_of(answer, 413)["detail"] == "A body may have 1,000 bytes here."


@asgi("/ticks", copy_scope=False)
async def ticks(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"tick", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": b"gone", "more_body": False})


@pytest.mark.parametrize(
    ("version", "body"), [(b"1.1", b"4\r\ntick\r\n4\r\ngone\r\n0\r\n\r\n"), (b"1.0", b"tickgone")], ids=["1.1", "1.0"]
)
async def test_streams_see_that_the_client_ends(site: Any, step: Any, version: bytes, body: bytes) -> None:
    app = await site((step("Echo", "/echo"), echo), handlers=[ticks])
    answer = await app.raw(b"GET /ticks HTTP/%s\r\nHost: localhost\r\n\r\n" % version, end=True)
    assert answer.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("how", ["nothing", "raise", "short", "long", "line break"])
async def test_an_application_that_misbehaves_gets_a_500_or_a_closed_connection(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"4")] + ([(b"x-a", b"a\r\nb: c")] if how == "line break" else [])
        if how == "raise":
            raise RuntimeError("the secret")
        if how != "nothing":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": {"short": b"abc", "long": b"abcde"}.get(how, b"abcd")})

    server = await serve(app, host="127.0.0.1", port=0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET % (1, b"") + GET % (2, b""))
        async with asyncio.timeout(5):
            answer = await reader.read(-1)
        writer.close()
    finally:
        await server.stop(0)
    problem_of(answer, 500)
    assert b"secret" not in answer
    assert caplog.records
