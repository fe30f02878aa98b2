"""Which hosts and origins are answered, and how one application takes over from another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motia_runtime.http.guard import Hosts, Switch, host_name
from motia_runtime.http.problems import Refused
from motia_runtime.http.server import serve

ONE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:3000", "localhost"),
        ("localhost.", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("[0:0::1]", "[::1]"),
        ("a_b.example", "a_b.example"),
        ("", None),
        ("[::1", None),
        ("::1", None),
        ("[zz]", None),
        ("a b", None),
        ("a,b", None),
        ("a@b", None),
        ("a/b", None),
        ("a:b", None),
        ("a:", None),
        ("a..b", None),
        (".a", None),
        ("localhost\n", None),
        ("ü", None),
    ],
)
def test_host_name(host: str, name: str | None) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("bound", "listed", "host", "app_status", "own_status"),
    [
        ("127.0.0.1", (), "localhost:1", 200, 200),
        ("127.0.0.1", (), "[::1]:1", 200, 200),
        ("127.0.0.1", (), "evil.example", 421, 421),
        ("127.0.0.1", (), "127x0x0x1", 421, 421),
        ("127.0.0.1", (), "0.0.0.0", 421, 421),
        ("127.0.0.1", (), "localhost.evil.example", 421, 421),
        ("127.0.0.1", ("App.example:8443",), "app.EXAMPLE", 200, 200),
        ("0.0.0.0", (), "any.example", 200, 421),
        ("0.0.0.0", (), "0.0.0.0:3000", 200, 421),
        ("0.0.0.0", (), "a b", 400, 400),
        ("0.0.0.0", ("app.example",), "any.example", 421, 421),
        ("::", (), "any.example", 200, 421),
        ("fd00::5", (), "[FD00:0::5]:3000", 200, 200),
        ("localhost", (), "evil.example", 421, 421),
        ("::1", (), "evil.example", 421, 421),
    ],
)
def test_hosts(bound: str, listed: tuple[str, ...], host: str, app_status: int, own_status: int) -> None:
    hosts = Hosts(bound, listed)
    for restricted, expected in ((False, app_status), (True, own_status)):
        try:
            hosts.check(host.encode(), restricted)
            status = 200
        except Refused as refusal:
            status = refusal.status
        assert status == expected


def test_verdicts_kept_are_bounded() -> None:
    hosts = Hosts("0.0.0.0", ())
    for n in range(5000):
        hosts.check(b"h%d" % n, False)
    assert len(hosts._known) <= 256


@pytest.mark.parametrize("path", ["/__motia/x", "/__workbench", "//__motia/x", "/%5F_motia/x", "/__motia"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "file://127.0.0.1"}, 403),
        ({"origin": "http://127.0.0.1"}, 403),  # another port
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({}, 404),
    ],
)
async def test_own_pages_are_not_for_other_sites(site: Any, step: Any, path: str, headers: Any, status: int) -> None:
    app = await site((step("X", "/x"), lambda r: None))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{app.server.port}\r\nConnection: close\r\n{lines}\r\n"
    answer = await app.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"access-control-allow-origin" not in answer


async def test_own_pages_are_for_their_own_origin(site: Any, step: Any) -> None:
    app = await site((step("X", "/x"), lambda r: None))
    origin = f"http://127.0.0.1:{app.server.port}"
    assert (await app.client.get("/__motia/x", headers={"origin": origin})).status_code == 404  # let through


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ([(b"host", b"localhost")], True),
        ([(b"host", b"localhost"), (b"origin", b"http://localhost")], True),
        ([(b"host", b"localhost"), (b"origin", b"https://Web.example")], True),
        ([(b"host", b"localhost"), (b"origin", b"null")], False),
        ([(b"host", b"localhost"), (b"origin", b"https://evil.example")], False),
        ([(b"host", b"evil.example")], False),
        ([], False),
    ],
)
async def test_websockets_are_checked_before_they_are_accepted(headers: Any, allowed: bool) -> None:
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def receive() -> Any: ...

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    switch = Switch(app, Hosts("0.0.0.0", (), ("https://web.example",)))
    await switch({"type": "websocket", "path": "/streams", "headers": headers}, receive, send)
    assert bool(reached) is allowed
    assert (sent == []) is allowed
    if sent:
        assert sent[0]["type"] == "websocket.close"


def answering(text: bytes, wait: asyncio.Event | None = None, started: asyncio.Event | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if started is not None:
            started.set()
        if wait is not None:
            await wait.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})

    return app


async def test_swap_lets_the_old_application_finish(site: Any) -> None:
    app = await site()
    release, started = asyncio.Event(), asyncio.Event()
    await app.switch.swap(answering(b"old", release, started))
    slow = asyncio.create_task(app.client.get("/"))
    async with asyncio.timeout(5):
        await started.wait()
        swapping = asyncio.create_task(app.switch.swap(answering(b"new")))
        assert (await app.client.get("/")).content == b"new"
        assert not swapping.done()
        assert app.switch.in_flight == 0
        release.set()
        assert (await slow).content == b"old"
        assert await swapping is True


async def test_swap_does_not_wait_for_ever(site: Any) -> None:
    app = await site()
    release, started = asyncio.Event(), asyncio.Event()
    await app.switch.swap(answering(b"old", release, started))
    slow = asyncio.create_task(app.client.get("/"))
    async with asyncio.timeout(5):
        await started.wait()
        assert await app.switch.swap(answering(b"new"), timeout=0.05) is False
        release.set()
        assert (await slow).content == b"old"


async def test_no_request_fails_while_applications_change(site: Any) -> None:
    app = await site()
    stop = asyncio.Event()
    seen: set[bytes] = set()

    async def ask() -> None:
        while not stop.is_set():
            answer = await app.raw(ONE)
            assert answer.startswith(b"HTTP/1.1 200 ")
            seen.add(answer.rpartition(b"\r\n")[2])

    await app.switch.swap(answering(b"start"))
    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for n in range(20):
        assert await app.switch.swap(answering(b"%d" % n))
        await app.raw(ONE)
    stop.set()
    await asyncio.gather(*asking)
    assert b"19" in seen


async def test_a_switch_is_all_a_server_needs() -> None:
    server = await serve(Switch(answering(b"x"), Hosts("127.0.0.1", ())), host="127.0.0.1", port=0)
    assert await server.stop(1) == 0
