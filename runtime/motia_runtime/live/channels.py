"""One group of a stream as it stands, for as long as somebody follows it or one of its items.

Each record of the log is taken once, and each change is told once to each client, however many of its subscriptions match. What a client gets first,
`sync`, is this state, and it is attached in the same moment: nothing can fall in between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from motia_runtime.live.frames import Frame, Kind, Place, encode, item_text
from motia_runtime.naming import decode, stream_pattern, stream_subject
from motia_runtime.ports import Record, Snapshot
from motia_runtime.state import is_deleted

NOT_LOADED = -1


class Follower(Protocol):
    """Who gets frames. Equal only to itself."""

    def push(self, frame: Frame) -> None: ...


class Item(msgspec.Struct):
    seq: int
    text: bytes


class Part:
    """The whole group, or one item of it: what somebody follows."""

    __slots__ = ("floor", "followers", "held", "loading", "ready")

    def __init__(self) -> None:
        self.floor = NOT_LOADED  # what was stored up to this seq is known here
        self.followers: dict[Follower, int] = {}  # and how often each is attached
        self.held = 0
        self.ready = asyncio.Event()
        self.loading: asyncio.Task[None] | None = None


class Channel:
    """`now` gives ms since the epoch by the broker's clock, never ahead of it."""

    def __init__(self, stream: str, group: str, now: Callable[[], float], spoiled: Callable[[str], None]) -> None:
        self.place = Place(stream, group)
        self.parts: dict[str | None, Part] = {}  # by item; None: the whole group
        self._items: dict[str, Item] = {}
        self._gone: dict[str, int] = {}  # deleted while something loads, which may be older
        self._newest = 0
        self._time = 0.0
        self._now = now
        self._spoiled = spoiled

    def pattern(self, id: str | None) -> str:
        """Of the records of a part."""
        stream, group = self.place.stream, self.place.group
        return stream_pattern(stream, group) if id is None else stream_subject(stream, group, id)

    # -- what the log says --

    def take(self, record: Record, token: str) -> None:
        """A record that has just been stored. `token`: the item's level of its subject."""
        item = decode(token)
        whole, one = self.parts.get(None), self.parts.get(item)
        if whole is None and one is None:
            return
        floor = max(part.floor for part in (whole, one) if part is not None)
        if record.seq > max(floor, self._last(item)):
            self._set(item, record)

    def merge(self, id: str | None, snapshot: Snapshot) -> None:
        """What there is of a part. It may be older than what was taken meanwhile, and newer than what was missed."""
        part = self.parts.get(id)
        if part is None:
            return
        seen = set()
        for record in sorted(snapshot.records, key=lambda record: record.seq):
            item = decode(record.subject.rpartition(".")[2])
            seen.add(item)
            if record.seq > self._last(item):
                self._set(item, record)
            self._newest = max(self._newest, record.seq)
        for item in [*self._items] if id is None else [id]:
            known = self._items.get(item)
            if known is not None and item not in seen and known.seq <= snapshot.at.seq:
                self._set(item, Record(subject="", seq=snapshot.at.seq, data=b"", time=snapshot.at.time), gone=True)
        part.floor = max(part.floor, snapshot.at.seq)
        part.loading = None
        part.ready.set()
        if not any(part.loading for part in self.parts.values()):
            self._gone.clear()

    def _last(self, id: str) -> int:
        known = self._items.get(id)
        return self._gone.get(id, 0) if known is None else known.seq

    def _set(self, id: str, record: Record, *, gone: bool = False) -> None:
        known = self._items.get(id)
        kind: Kind
        if gone or is_deleted(record):
            if any(part.loading for part in self.parts.values()):
                self._gone[id] = record.seq
            self._newest = max(self._newest, record.seq)
            if known is None:
                return
            del self._items[id]
            kind, text = "delete", known.text
        else:
            try:
                text = item_text(id, record.data)
            except ValueError as error:
                self._spoiled(f"{self.place.stream}/{self.place.group}/{id}: {error}")
                return
            self._newest = max(self._newest, record.seq)
            self._items[id] = Item(record.seq, text)
            kind = "create" if known is None else "update"
        followers = self._following(id)
        if followers:
            time = self._stamp(record.time * 1000)
            self._tell(followers, Frame(self.place, id, kind, time, text, record.seq, self.mark))

    # -- what is told --

    def tell(self, id: str | None, event: bytes) -> None:
        """An event: to who follows the group, and with `id` also to who follows that item."""
        followers = self._following(id)
        if followers:
            self._tell(followers, Frame(self.place, id, "event", self._stamp(self._now()), event))

    def sync(self, id: str | None) -> Frame | None:
        """The part as it stands; None for an item that is not there."""
        if id is not None:
            item = self._items.get(id)
            if item is None:
                return None
            return Frame(self.place, id, "sync", self._stamp(self._now()), item.text, item.seq, self.mark)
        body = b"[" + b",".join([item.text for _, item in sorted(self._items.items())]) + b"]"
        return Frame(self.place, None, "sync", self._stamp(self._now()), body, self._newest, self.mark)

    def absent(self, id: str) -> Frame:
        """For who saw an item that is no more."""
        return Frame(self.place, id, "delete", self._stamp(self._now()), encode({"id": id}))

    @property
    def mark(self) -> str:
        """What tells this state of the group from any other: the newest record of it that is there, and how many items (those whose ttl is over
        leave no record)."""
        return f"{self._newest}-{len(self._items)}"

    def item_mark(self, id: str) -> str:
        item = self._items.get(id)
        return "0" if item is None else str(item.seq)

    def _following(self, id: str | None) -> Collection[Follower]:
        whole, one = self.parts.get(None), None if id is None else self.parts.get(id)
        if one is None:
            return () if whole is None else whole.followers
        return one.followers if whole is None else {**whole.followers, **one.followers}

    def _tell(self, followers: Collection[Follower], frame: Frame) -> None:
        for follower in tuple(followers):  # one that is too slow leaves meanwhile
            follower.push(frame)

    def _stamp(self, at: float) -> float:
        """The broker's time; a little more where that would not grow."""
        self._time = max(math.nextafter(self._time, math.inf), at)
        return self._time

    # -- who follows --

    def attach(self, follower: Follower, id: str | None) -> None:
        followers = self.parts[id].followers
        followers[follower] = followers.get(follower, 0) + 1

    def detach(self, follower: Follower, id: str | None) -> None:
        followers = self.parts[id].followers
        followers[follower] -= 1
        if not followers[follower]:
            del followers[follower]

    def hold(self, id: str | None) -> Part:
        """The part, kept up to date until `release`."""
        part = self.parts.get(id)
        if part is None:
            part = self.parts[id] = Part()
            whole = self.parts.get(None)
            if id is not None and whole is not None and whole.ready.is_set():
                part.floor = whole.floor
                part.ready.set()
        part.held += 1
        return part

    def release(self, id: str | None) -> None:
        part = self.parts[id]
        part.held -= 1
        if part.held:
            return
        del self.parts[id]
        if part.loading is not None:
            part.loading.cancel()
        if id is None:
            for other in self.parts.values():
                other.floor = max(other.floor, part.floor) if other.ready.is_set() else other.floor
            self._items = {item: self._items[item] for item in self._items if item in self.parts}
        elif None not in self.parts:
            self._items.pop(id, None)
