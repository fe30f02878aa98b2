"""What every feed keeps: each sentence of `motia_runtime.ports.Feed`, on every adapter."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from motia_runtime.memory import MemoryLog
from motia_runtime.naming import live_names, live_subject, stream_pattern, stream_subject
from motia_runtime.ports import Log, Record
from motia_runtime.state import DELETED, is_deleted

NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(params=["memory", "fast", "plain"])
async def log(request: pytest.FixtureRequest, nats_log: Callable[..., Awaitable[Log]]) -> AsyncIterator[Log]:
    if request.param == "memory":
        memory = MemoryLog()
        yield memory
        memory.close()
    else:
        yield await nats_log(fast=request.param == "fast")


class Seen:
    """What a feed gives, to be waited for."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.missed = 0
        self._more = asyncio.Event()

    def __call__(self, record: Record | None) -> None:
        if record is None:
            self.missed += 1
        else:
            self.records.append(record)
        self._more.set()

    async def count(self, wanted: int) -> list[Record]:
        async with asyncio.timeout(10):
            while len(self.records) < wanted:
                self._more.clear()
                await self._more.wait()
        return self.records


async def test_each_record_is_seen_in_order_however_soon_it_is_overwritten(log: Log) -> None:
    seen = Seen()
    stop = log.feed.follow(seen)
    subject = stream_subject("chat", "g.1 >", "a")
    await asyncio.gather(*(log.append(subject, b"%d" % n, headers={"x": "y"}) for n in range(200)))
    records = await seen.count(200)
    assert [record.data for record in records] == [b"%d" % n for n in range(200)]
    assert {(record.subject, *record.headers.items()) for record in records} == {(subject, ("x", "y"))}
    seqs, times = [record.seq for record in records], [record.time for record in records]
    assert seqs == list(range(seqs[0], seqs[0] + 200))
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 60
    stop()
    await log.append(subject, b"later")
    await log.feed.position()
    assert (len(seen.records), seen.missed) == (200, 0)


async def test_deletes_and_ends_of_a_ttl_are_seen(log: Log) -> None:
    seen = Seen()
    log.feed.follow(seen)
    await log.append("rt.s.g.a", b"{}")
    await log.append("rt.s.g.a", b"", headers=DELETED)
    await log.append("rt.s.g.b", b"{}", ttl=1)
    records = await seen.count(4)
    assert [(r.subject[-1], is_deleted(r)) for r in records] == [("a", False), ("a", True), ("b", False), ("b", True)]


async def test_a_snapshot_is_of_one_position(log: Log) -> None:
    before = await log.feed.position()
    empty = await log.feed.snapshot(stream_pattern("s", "g"))
    assert (empty.records, empty.at.seq) == ([], before.seq)
    await log.append("rt.s.g.a", b"1")
    await log.append("rt.s.g.a", b"2")
    await log.append("rt.s.g.b", b"", headers=DELETED)
    last = await log.append("rt.s.other.a", b"3")
    snapshot = await log.feed.snapshot(stream_pattern("s", "g"))
    assert sorted((r.subject, r.data) for r in snapshot.records) == [("rt.s.g.a", b"2"), ("rt.s.g.b", b"")]
    assert snapshot.at.seq == last
    assert snapshot.at.time >= before.time
    one = await log.feed.snapshot("rt.s.g.a")
    assert [(r.subject, r.data) for r in one.records] == [("rt.s.g.a", b"2")]


async def test_a_snapshot_may_be_larger_than_one_answer(log: Log) -> None:
    await asyncio.gather(*(log.append(f"rt.s.g.{n}", b"%d" % n) for n in range(1100)))
    snapshot = await log.feed.snapshot("rt.s.g.*")
    assert {r.data for r in snapshot.records} == {b"%d" % n for n in range(1100)}


async def test_what_is_told_is_heard_and_not_stored(log: Log) -> None:
    heard: list[tuple[str, bytes]] = []
    arrived = asyncio.Event()

    def hear(subject: str, data: bytes) -> None:
        heard.append((subject, data))
        if data == b"last":
            arrived.set()

    stop = log.feed.hear(hear)
    before = await log.feed.position()
    log.feed.tell("live.s.g", b"1")
    log.feed.tell("live.s.g.a", b"last")
    await asyncio.wait_for(arrived.wait(), 10)
    assert heard == [("live.s.g", b"1"), ("live.s.g.a", b"last")]
    stop()
    log.feed.tell("live.s.g", b"2")
    assert (await log.feed.position()).seq == before.seq
    assert len(heard) == 2
    with pytest.raises(ValueError, match="only events of streams"):
        log.feed.tell("ev.a.b", b"")


@pytest.mark.parametrize("names", [("s", "g", None), ("s.1", "g >*", "a/b"), ("s", "", ""), ("ä", "=", None)])
def test_names_of_events_can_be_told_from_their_subject(names: tuple[str, str, str | None]) -> None:
    assert live_names(live_subject(*names)) == names
