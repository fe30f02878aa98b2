"""A consumer that one instance has alone, when the connection loses the very record that told it so."""

from __future__ import annotations

import asyncio
from pathlib import Path

from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_runtime.ports import Delivery
from motia_spec.model import Nats, Project
from support.chaos.proxy import Proxy

ACK_WAIT = 2.0  # seconds
BACK = 20.0  # seconds: the broker itself would serve nobody else for 120


async def test_a_lost_first_delivery_stops_nothing(nats_server: EmbeddedServer) -> None:
    """The broker pins the consumer to whom it sends that record, and sends nothing to those who don't know the pin."""
    project = Project(root=Path("/"), files=(), name="alone", nats=Nats(prefix="alone"))
    proxy = Proxy(int(nats_server.url.rpartition(":")[2]))
    settings = [Settings(url=url, token=nats_server.token) for url in (nats_server.url, proxy.url)]
    links = [await connect(one, name="test") for one in settings]
    try:
        await reconcile(links[0], project, store=None, keep=())
        outside, log = (NatsLog(link, project.nats, ack_wait=ACK_WAIT) for link in links)
        inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        consumer = await log.consume("Alone", ["ev.a"], inbox.put_nowait, credit=10, alone=lambda: True)
        await log.backlog("Alone")  # the broker has been asked for records
        proxy.turn("hole")
        await outside.append("ev.a", b"1")
        async with asyncio.timeout(BACK):
            while not (await outside.backlog("Alone")).in_flight:
                await asyncio.sleep(0.01)
        proxy.turn("pass")
        await outside.append("ev.a", b"2")
        got = []
        async with asyncio.timeout(BACK):
            while len(got) < 2:
                delivery = await inbox.get()
                delivery.ack()
                got.append(delivery.record.data)
        assert sorted(got) == [b"1", b"2"]
        await consumer.stop()
    finally:
        for link in links:
            await link.close()
        proxy.close()
