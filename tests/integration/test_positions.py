"""Where a consumer begins that the broker has lost, and one that was removed on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.link import Link
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import plan, reconcile
from motia_runtime.ports import Delivery, LogUnavailable
from motia_spec.model import Nats, Project

TAKE = "places_events.Take"
SHOP = Project(root=Path("/"), files=(), name="places", nats=Nats(prefix="places"))


@pytest_asyncio.fixture
async def link(nats_server: EmbeddedServer) -> AsyncIterator[Link]:
    link = await connect(nats_server.settings, name="test")
    await reconcile(link, SHOP, keep={TAKE})
    yield link
    for stream in ("events", "tx", "in", "cron", "dlq", "runs"):
        await link.request(f"$JS.API.STREAM.DELETE.places_{stream}")
    for bucket in ("state", "rt"):
        await link.request(f"$JS.API.STREAM.DELETE.KV_places_{bucket}")
    await link.close()


async def lose(link: Link) -> None:
    _, _, data = await link.request("$JS.API.CONSUMER.DELETE.places_events.Take")
    assert b'"success":true' in data


async def take(log: NatsLog, count: int, *, end: bool = True) -> list[bytes]:
    """What so many deliveries of a consumer that is held for as long bring."""
    inbox: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await log.consume("Take", ["ev.a"], inbox.put_nowait, credit=count)
    got = []
    async with asyncio.timeout(20):
        while len(got) < count:
            delivery = await inbox.get()
            got.append(delivery.record.data)
            if end:
                delivery.ack()
    await consumer.stop()
    return got


async def emit(log: NatsLog, *data: bytes) -> None:
    for each in data:
        await log.append("ev.a", each)


async def test_a_new_one_begins_with_what_is_new(link: Link) -> None:
    log = NatsLog(link, SHOP.nats)
    await emit(log, b"0")
    await take(log, 0)
    await emit(log, b"1")
    assert await take(log, 1) == [b"1"]


async def test_a_lost_one_begins_behind_what_was_kept(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await emit(log, b"1", b"2", b"3", b"4")
    await take(log, 2)
    assert (await log.backlogs(keep=True))["Take"].ended == 2
    await take(log, 1)
    await lose(link)
    assert await take(log, 2) == [b"3", b"4"]  # 3 had ended, but nobody had looked
    assert "lost the consumer Take of stream places_events: it begins again behind 2" in caplog.text


async def test_nothing_is_kept_of_an_app_whose_consumer_is_gone(link: Link) -> None:
    """Or the plans would go that what comes again will need."""
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await lose(link)
    assert await log.backlogs() == {}
    with pytest.raises(LogUnavailable, match="lost the consumer Take"):
        await log.backlogs(keep=True)
    await take(log, 0)
    await log.backlogs(keep=True)


async def test_whoever_looked_earlier_sets_nothing_back(link: Link) -> None:
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await emit(log, b"1", b"2", b"3")
    await take(log, 1)
    positions = log._durables._positions
    early = await positions.of("places_events", "Take")
    assert early is not None
    await take(log, 1)
    await log.backlogs(keep=True)
    await positions.advance("places_events", "Take", 1, early)
    now = await positions.of("places_events", "Take")
    assert now is not None
    assert now.ended <= 3


async def test_one_that_no_step_needs_is_removed_and_begins_with_what_is_new_when_one_does_again(link: Link) -> None:
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await emit(log, b"1")
    assert [str(each) for each in await plan(link, SHOP, keep=())] == [
        "remove consumer Take: no step of stream places_events needs it"
    ]
    await reconcile(link, SHOP, keep=())
    assert await plan(link, SHOP, keep=()) == []
    await take(log, 0)
    await emit(log, b"2")
    assert await take(log, 1) == [b"2"]


async def test_the_place_of_one_that_is_lost_and_that_no_step_needs_is_forgotten(link: Link) -> None:
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await lose(link)
    assert await plan(link, SHOP, keep={TAKE}) == []  # it is made when it is needed
    assert [str(each) for each in await reconcile(link, SHOP, keep=())] == [
        "remove consumer Take: the broker has lost it, and no step of stream places_events needs it"
    ]
    await log.backlogs(keep=True)
    assert await plan(link, SHOP, keep=()) == []


async def test_a_stream_that_is_gone_with_its_consumers(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await emit(log, b"1", b"2", b"3")
    await take(log, 3)
    await log.backlogs(keep=True)
    await link.request("$JS.API.STREAM.DELETE.places_events")
    said = "create stream places_events: it was there before, with 3 records or more, and the broker has lost it"
    assert [str(each) for each in await reconcile(link, SHOP, keep={TAKE})] == [said]
    assert said in caplog.text
    await emit(log, b"4")
    assert await take(log, 1) == [b"4"]  # it is new, though its number is not
    await log.backlogs(keep=True)
    await lose(link)
    await emit(log, b"6")
    assert await take(log, 1) == [b"6"]


async def test_a_stream_that_has_lost_its_end(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """As after a power cut: what is kept says more than the stream has."""
    log = NatsLog(link, SHOP.nats)
    await take(log, 0)
    await emit(log, b"1", b"2")
    await take(log, 2)
    positions = log._durables._positions
    kept = await positions.of("places_events", "Take")
    assert kept is not None
    await positions.put("places_events", "Take", 9, kept.revision)
    await lose(link)
    await take(log, 0)
    assert "it begins again behind 2" in caplog.text
    await emit(log, b"3")
    assert await take(log, 1) == [b"3"]
    await log.backlogs(keep=True)
    now = await positions.of("places_events", "Take")
    assert now is not None
    assert now.ended <= 3
