"""Ports and the end of a server."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import httpx
import pytest

from motia_runtime.http.server import CannotListen, PortTaken, serve


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_loopback_means_both_families() -> None:
    server = await serve(hello, host="localhost", port=0)
    try:
        async with httpx.AsyncClient() as client:
            for host in ["127.0.0.1", "[::1]"] if has_ipv6() else ["127.0.0.1"]:
                assert (await client.get(f"http://{host}:{server.port}/")).text == "hello"
        assert server.url == f"http://localhost:{server.port}"
        assert not server.moved
    finally:
        await server.stop(1)


async def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .*--port") as caught:
            await serve(hello, host="127.0.0.1", port=port)
    assert caught.value.port == port
    if os.path.exists("/proc/net/tcp"):
        assert f"process {os.getpid()} (" in caught.value.holder


async def test_the_next_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        server = await serve(hello, host="127.0.0.1", port=port, find_free=True)
        try:
            assert server.moved
            assert server.port > port
            assert server.asked_port == port
        finally:
            await server.stop(1)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_a_port_taken_on_ipv6_alone_is_taken() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as held, pytest.raises(PortTaken):
        await serve(hello, host="127.0.0.1", port=held.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(CannotListen, match=host):
        await serve(hello, host=host, port=0)


async def test_stop_answers_what_has_begun_and_nothing_more() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await release.wait()
        await hello(scope, receive, send)

    server = await serve(slow, host="127.0.0.1", port=0)
    async with asyncio.timeout(5), httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        running = asyncio.create_task(client.get("/"))
        await started.wait()
        stopping = asyncio.create_task(server.stop(5))
        assert await idle_reader.read(-1) == b""  # idle connections end at once
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert not stopping.done()
        release.set()
        answer = await running
        assert (answer.text, answer.headers["connection"]) == ("hello", "close")
        assert await stopping == 0
        await server.wait_stopped()
        idle_writer.close()


async def test_stop_cuts_off_what_takes_longer() -> None:
    started = asyncio.Event()

    async def forever(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    server = await serve(forever, host="127.0.0.1", port=0)
    async with asyncio.timeout(5), httpx.AsyncClient() as client:
        running = asyncio.create_task(client.get(f"http://127.0.0.1:{server.port}/", timeout=5))
        await started.wait()
        assert await server.stop(0.05) == 1
        with pytest.raises(httpx.HTTPError):
            await running
    assert server.connections == 0


async def test_a_port_is_free_again_after_stop() -> None:
    first = await serve(hello, host="127.0.0.1", port=0)
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{first.port}/")
        await first.stop(1)
    second = await serve(hello, host="127.0.0.1", port=first.port)
    await second.stop(1)
