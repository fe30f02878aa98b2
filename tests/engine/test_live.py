"""Who follows, and what happens to them when they do not read, when records are missed, and when the broker is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_runtime.clock import VirtualClock
from motia_runtime.live import clients, hub
from motia_runtime.live.clients import Client, TooManySubscriptions
from motia_runtime.live.frames import Frame, Place, error_frame, item_text, text_message
from motia_runtime.live.hub import Hub
from motia_runtime.memory import MemoryLog
from motia_runtime.ports import LogUnavailable, Position, Record, Snapshot
from motia_runtime.state import DELETED


class Reading(Client):
    """Takes what it is given while `reads`."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.reads = True
        self.got: list[Any] = []
        self.closed: tuple[int, str] | None = None

    def write(self, frame: Frame) -> bool:
        if self.reads:
            self.got.append(msgspec.json.decode(frame.text))
        return self.reads

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    @property
    def told(self) -> list[Any]:
        return [(frame["event"]["type"], frame.get("id")) for frame in self.got]


@pytest.fixture
async def log() -> Any:
    made = MemoryLog(VirtualClock(1_700_000_000.0))
    yield made
    made.close()


async def quiet() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def put(log: MemoryLog, id: str, n: int | None, group: str = "g", big: str = "") -> None:
    if n is None:
        await log.append(f"rt.s.{group}.{id}", b"", headers=DELETED)
    else:
        await log.append(f"rt.s.{group}.{id}", msgspec.json.encode({"n": n, "big": big}))
    await quiet()


def state(frames: list[Any]) -> dict[str, Any]:
    """What a group's follower has after these frames, by the rules of the published clients: a create of what is there and an update of what is not are ignored."""
    have: dict[str, Any] = {}
    last = 0.0
    for frame in frames:
        kind, item = frame["event"]["type"], frame.get("id")
        assert frame["timestamp"] > last, "times grow"
        last = frame["timestamp"]
        data = frame["event"].get("data")
        if kind == "sync":
            have = {item["id"]: item["n"] for item in data}
        elif kind == "delete":
            assert data["id"] == item
            have.pop(item, None)
        elif kind == "create":
            assert item not in have, "a create of an item that is there would be ignored"
            have[data["id"]] = data["n"]
        elif kind == "update":
            assert item in have, "an update of an item that is not there would be ignored"
            have[data["id"]] = data["n"]
    return have


async def test_who_reads_again_has_the_last_state_of_everything(log: MemoryLog) -> None:
    live = Hub(log, log.clock)
    slow, quick = Reading(live), Reading(live)
    for client in (slow, quick):
        await client.join("x", "s", "g", None)
    for n in range(10):
        await put(log, f"old{n}", 0)
    slow.reads = False
    for n in range(2_000):
        item = f"old{n % 10}" if n % 2 else f"new{n % 30}"
        await put(log, item, None if n % 7 == 0 else n)
        if n % 100 == 0:
            log.feed.tell("live.s.g", b'{"type":"note","data":null}')
    assert slow.behind
    assert slow.closed is None
    waiting = len(slow._queue) + len(slow._latest)
    assert waiting <= clients.QUEUE + 1
    slow.reads = True
    slow.flush()
    assert not slow.behind
    assert state(slow.got) == state(quick.got) != {}
    assert len(slow.got) < len(quick.got)
    assert live.counts.coalesced > 1_000
    assert live.counts.discarded > 0
    live.stop()


async def test_memory_of_who_does_not_read_is_bounded(log: MemoryLog) -> None:
    live = Hub(log, log.clock)
    many, large = Reading(live), Reading(live)
    await many.join("x", "s", "many", None)
    await large.join("x", "s", "large", None)
    many.reads = large.reads = False
    for n in range(clients.LATEST + clients.QUEUE):
        await put(log, f"i{n}", n, "many")
    for n in range(12):
        await put(log, f"i{n}", n, "large", "x" * 500_000)
        assert large._queued + large._latest_bytes <= clients.LATEST_BYTES + 600_000
    for client in (many, large):
        assert client.closed == (1013, "too slow; come again")
        assert not client.behind
        client.leave()
    assert live.counts.dropped == 2
    live.stop()


async def test_a_client_that_does_not_read_waits_with_its_joins(log: MemoryLog) -> None:
    live = Hub(log, log.clock)
    client = Reading(live)
    await client.join("x", "s", "g", None)
    client.reads = False
    await put(log, "a", 1)
    joining = asyncio.create_task(client.join("y", "s", "other", None))
    await quiet()
    assert not joining.done()
    client.reads = True
    client.flush()
    await joining
    assert client.told == [("sync", None), ("create", "a"), ("sync", None)]
    client.reads = False
    await put(log, "a", 2)
    joining = asyncio.create_task(client.join("z", "s", "third", None))
    await quiet()
    client.leave()
    await joining
    assert (live._channels, live.clients) == ({}, set())
    live.stop()


async def test_a_client_may_have_a_thousand_subscriptions(log: MemoryLog) -> None:
    live = Hub(log, log.clock)
    client = Reading(live)
    for n in range(clients.SUBSCRIPTIONS):
        await client.join(str(n), "s", "g", f"i{n}")
    with pytest.raises(TooManySubscriptions):
        await client.join("more", "s", "g", "a")
    await client.join("0", "s", "g", "a")  # in place of the one of that id
    assert len(client.subscriptions) == clients.SUBSCRIPTIONS
    client.leave()
    assert live._channels == {}
    live.stop()


class Torn:
    """A feed that loses what it is told to lose, and can be away."""

    def __init__(self, log: MemoryLog) -> None:
        self._feed = log.feed
        self.lose = False
        self.away = False
        self.seen: Callable[[Record | None], None] | None = None

    def follow(self, seen: Callable[[Record | None], None]) -> Callable[[], None]:
        self.seen = seen
        return self._feed.follow(lambda record: None if self.lose else seen(record))

    def hear(self, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        return self._feed.hear(heard)

    async def snapshot(self, pattern: str) -> Snapshot:
        if self.away:
            raise LogUnavailable("away")
        return await self._feed.snapshot(pattern)

    async def position(self) -> Position:
        return await self._feed.position()


class TornLog:
    def __init__(self, log: MemoryLog) -> None:
        self.feed = Torn(log)


@pytest.fixture
async def torn(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(hub, "CHECK", 0.01)
    monkeypatch.setattr(hub, "LATE", 0.01)
    monkeypatch.setattr(hub, "RETRY", 0.01)
    return TornLog(log)


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("told", [True, False], ids=["told of it", "found out"])
async def test_what_was_missed_is_made_up_for(log: MemoryLog, torn: Any, told: bool) -> None:
    live = Hub(torn, log.clock)
    group, item = Reading(live), Reading(live)
    for name in ("a", "b", "c"):
        await put(log, name, 1)
    await group.join("x", "s", "g", None)
    await item.join("x", "s", "g", "b")
    torn.feed.lose = True
    await put(log, "a", 2)
    await put(log, "b", None)
    await put(log, "d", 1)
    await put(log, "e", 1)
    await put(log, "e", None)
    torn.feed.lose = False
    if told:
        assert torn.feed.seen is not None
        torn.feed.seen(None)
    await _until(lambda: len(group.got) == 4 and len(item.got) == 2)
    assert sorted(group.told[1:], key=str) == [("create", "d"), ("delete", "b"), ("update", "a")]
    assert item.told == [("sync", "b"), ("delete", "b")]
    assert state(group.got) == {"a": 2, "c": 1, "d": 1}
    live.stop()


async def test_joins_wait_for_a_broker_that_is_away(log: MemoryLog, torn: Any) -> None:
    live = Hub(torn, log.clock)
    client, other = Reading(live), Reading(live)
    await other.join("x", "s", "other", None)
    torn.feed.away = True
    joining = [asyncio.create_task(client.join(group, "s", group, None)) for group in ("g", "h")]
    await asyncio.sleep(0.05)
    await put(log, "a", 1)
    await put(log, "a", 1, "other")
    assert [each.done() for each in joining] == [False, False]
    assert other.told == [("sync", None), ("create", "a")]
    joining[1].cancel()
    await asyncio.gather(joining[1], return_exceptions=True)
    torn.feed.away = False
    await joining[0]
    assert state(client.got) == {"a": 1}
    assert len(live._channels) == 2
    live.stop()


async def test_what_is_stored_while_a_snapshot_is_read_is_neither_lost_nor_undone(log: MemoryLog) -> None:
    live = Hub(log, log.clock)
    first = Reading(live)
    for name in ("a", "b"):
        await put(log, name, 1)
    await first.join("x", "s", "g", "a")  # so that the channel is there, without the group
    channel = live._channels["s.g"]
    old = await log.feed.snapshot("rt.s.g.*")
    channel.hold(None).loading = asyncio.create_task(asyncio.sleep(100))
    await put(log, "b", None)
    await put(log, "c", 1)
    await put(log, "a", 2)
    second = Reading(live)
    channel.parts[None].loading.cancel()  # type: ignore[union-attr]  # it was made above
    channel.merge(None, old)
    await second.join("x", "s", "g", None)
    assert state(second.got) == {"a": 2, "c": 1}
    assert first.told == [("sync", "a"), ("update", "a")]
    live.stop()


KINDS = st.sampled_from(["create", "update", "delete"])


@given(st.lists(st.booleans(), max_size=12), st.booleans(), st.integers(0, 12))
def test_frames_in_place_of_others_lead_to_the_same(exists: list[bool], first: bool, missed: int) -> None:
    """An item that comes and goes, seen by one client frame by frame, and by one that misses some and gets what `after` makes of them."""
    place = Place("s", "g")
    frames, there = [], first
    for n, now in enumerate(exists):
        if there or now:
            kind = "delete" if not now else "update" if there else "create"
            frames.append(Frame(place, "a", kind, float(n), b'{"id":"a","n":%d}' % n))
        there = now
    waiting: Frame | None = None
    for frame in frames[missed:]:
        waiting = frame if waiting is None else frame.after(waiting)
    seen = [*frames[:missed], *([] if waiting is None else [waiting])]
    for told in (frames, seen):
        have = b"0" if first else None
        for frame in told:
            if frame.kind == "create":
                assert have is None
            else:
                assert have is not None
            have = None if frame.kind == "delete" else frame.body
        assert (have is not None) == there
        assert not frames or have in (None, frames[-1].body)


@given(
    st.text(max_size=30),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4),
)
def test_an_item_carries_its_id_and_all_that_it_was(id: str, value: dict[str, Any]) -> None:
    data = msgspec.json.encode(value)
    assert msgspec.json.decode(item_text(id, data)) == {**value, "id": id}
    frame = error_frame(Place(id, id), id, 1.5, "CODE", id)
    told = msgspec.json.decode(frame.text)
    assert (told["timestamp"], told["streamName"], told["groupId"], told["id"]) == (1.5, id, id, id)
    assert told["event"]["event"] == {"type": "error", "data": {"code": "CODE", "message": id}}
    assert frame.framed == text_message(frame.text)
