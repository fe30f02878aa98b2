"""WebSockets on a real server in this process: who is gone, silent, or too many; and how a server that stops says so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from motia_runtime.bind import Bindings
from motia_runtime.clock import SystemClock
from motia_runtime.execute import Executor
from motia_runtime.http.cycle import Cycle
from motia_runtime.http.protocol import Connection
from motia_runtime.http.server import Limits
from motia_runtime.http.socket import Socket
from motia_runtime.http.streams.routes import StreamRoutes
from motia_runtime.live.door import Door
from motia_runtime.live.hub import Hub
from motia_runtime.memory import MemoryLog
from motia_spec.model import Project, Stream
from support.sockets import ClosedByServer, Refused, TestSocket, connect, masked


class Place:
    def __init__(self, site: Any, hub: Hub, log: MemoryLog) -> None:
        self.site = site
        self.hub = hub
        self.log = log
        self.sockets: list[TestSocket] = []

    async def socket(self) -> TestSocket:
        self.sockets.append(await connect(self.site.server.port))
        return self.sockets[-1]

    @property
    def open(self) -> tuple[int, int, int]:
        """Clients, sockets, connections."""
        state = self.site.server._state
        return len(self.hub.clients), state.sockets, self.site.server.connections


Open = Callable[..., Awaitable[Place]]


@pytest.fixture
async def place(site: Any, step: Any) -> AsyncIterator[Open]:
    made: list[tuple[Executor, Place]] = []

    async def start(**limits: Any) -> Place:
        log, executor, bindings = MemoryLog(), Executor(), Bindings()
        bindings.access = {}
        project = Project(root=None, files=(), name="t", streams={"board": Stream(name="board")})  # type: ignore[arg-type]  # it has no files
        hub = Hub(log, SystemClock())
        routes = StreamRoutes(hub, Door(project, bindings, executor), None)
        started = await site((step("X", "/x"), lambda r: None), limits=Limits(**limits), streams=routes)
        made.append((executor, Place(started, hub, log)))
        return made[-1][1]

    yield start
    for executor, there in made:
        for one in there.sockets:
            await one.close()
        there.hub.stop()
        await until(lambda: there.open == (0, 0, 0))  # noqa: B023  # called before the next one
        executor.close()
        there.log.close()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)


async def test_of_those_that_are_gone_nothing_stays(place: Open) -> None:
    there = await place()
    sockets = []
    for n in range(200):
        sockets.append(await there.socket())
        await sockets[-1].join("board", f"g{n % 7}", "a" if n % 2 else None)
    await until(lambda: sum(len(client.subscriptions) for client in there.hub.clients) == 200)
    assert there.open == (200, 200, 200)
    for n, one in enumerate(sockets):
        if n % 3 == 0:
            await one.raw(masked(8, b"\x03\xe8"))
        elif n % 3 == 1:
            await one.close()
        else:
            one.writer.close()
    await until(lambda: there.open == (0, 0, 0))
    assert there.hub._channels == {}


async def test_who_does_not_answer_pings_is_not_there(place: Open) -> None:
    there = await place(ping_interval=0.1)
    silent, answering = await there.socket(), await there.socket()
    await answering.join("board", "g")
    await answering.until("sync")
    with contextlib.suppress(TimeoutError):
        await answering.next(within=2.0)
    assert answering.pings > 2
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionResetError):
            assert len(await silent.reader.read(-1)) == 2 * 3, "three pings, which it does not answer, and the end"
    await answering.join("board", "other")
    assert (await answering.next())["event"]["type"] == "sync"
    await answering.close()


async def test_there_are_as_many_as_there_may_be(place: Open) -> None:
    there = await place(sockets=2)
    first, second = await there.socket(), await there.socket()
    with pytest.raises(Refused) as refused:
        await there.socket()
    assert refused.value.status == 503
    assert "retry-after: 5" in refused.value.head
    await first.close()
    await until(lambda: there.open[1] == 1)
    third = await there.socket()
    for one in (second, third):
        await one.close()


async def test_who_takes_nothing_is_cut_off_in_time(place: Open) -> None:
    there = await place(write_timeout=0.3)
    one = await there.socket()
    await one.join("board", "g")
    await one.until("sync")
    one.writer.transport.pause_reading()
    for n in range(40):
        await there.log.append(f"rt.board.g.i{n % 20}", b'"%s"' % (b"x" * 500_000))
    await until(lambda: there.open == (0, 0, 0))
    await one.close()


async def test_a_server_that_stops_says_so(place: Open) -> None:
    there = await place()
    joined, quiet = await there.socket(), await there.socket()
    await joined.join("board", "g")
    await joined.until("sync")
    stopping = asyncio.create_task(there.site.server.stop(5))
    for one in (joined, quiet):
        with pytest.raises(ClosedByServer) as closed:
            await one.next()
        assert closed.value.code == 1012
        await one.raw(masked(8, b"\x03\xf4"))
    await stopping
    assert there.open == (0, 0, 0)


async def test_a_version_that_is_replaced_sends_its_clients_away(place: Open) -> None:
    there = await place()
    one = await there.socket()
    await one.join("board", "g")
    await one.until("sync")
    there.hub.stop()
    with pytest.raises(ClosedByServer) as closed:
        await one.next()
    assert closed.value.code == 1012
    await one.raw(masked(8, b"\x03\xf4"))
    await until(lambda: there.open == (0, 0, 0))


async def test_an_app_without_streams_has_no_socket(site: Any, step: Any) -> None:
    app = await site((step("X", "/x"), lambda r: None))
    with pytest.raises(Refused) as refused:
        await connect(app.server.port)
    assert refused.value.status == 404


@pytest.mark.parametrize("polite", [True, False])
async def test_connections_that_are_gone_are_no_work_for_the_garbage_collector(place: Open, polite: bool) -> None:
    """It comes by every few million objects: thousands of connections would wait for it."""
    there = await place()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            socket = await connect(there.site.server.port)
            await socket.join("board", "g")
            await socket.next()
            reader, writer = await there.site.connect()
            writer.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            if polite:
                await socket.close()
                writer.close()
            else:
                socket.writer.transport.abort()
                writer.transport.abort()
        await until(lambda: there.open == (0, 0, 0))
        await asyncio.sleep(0.1)  # their tasks end, and their transports are closed
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [each for each in gc.garbage if isinstance(each, Connection | Cycle | Socket)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
