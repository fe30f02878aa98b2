"""The live streams of one process: one watch of the log, and the channels that somebody follows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from motia_runtime.live.channels import Channel
from motia_runtime.naming import decode, encode
from motia_runtime.ports import Clock, Log, LogUnavailable, Position, Record
from motia_runtime.streams import Told

if TYPE_CHECKING:
    from motia_runtime.live.clients import Client

RETRY = 1.0  # seconds between tries to read while the broker is away
CHECK = 10.0  # seconds between looks whether anything was missed
LATE = 2.0  # seconds that a record may take to be seen

_told = msgspec.json.Decoder(Told).decode
_log = logging.getLogger("motia.streams")


class Counts(msgspec.Struct):
    """Since the start, over all clients that were."""

    sent: int = 0  # frames
    coalesced: int = 0  # frames that a slow client did not get, because a later one of the same item took their place
    discarded: int = 0  # events that a slow client did not get
    dropped: int = 0  # clients that were too slow even for that
    refused: int = 0  # messages that could not be understood, or came too often
    denied: int = 0  # joins


class Hub:
    """See the package. Lives as long as the engine; asks nothing of the broker until somebody follows."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.clients: set[Client] = set()
        self.counts = Counts()
        self.stopped = False
        self._feed = log.feed
        self._clock = clock
        self._channels: dict[str, Channel] = {}  # by the levels of stream and group in a subject
        self._stops: list[Callable[[], None]] = []
        self._checking: asyncio.Task[None] | None = None
        self._begun: asyncio.Task[None] | None = None
        self._top = 0  # the newest seq that was seen, or known before
        self._ahead = 0.0  # the broker's clock, less our steady one

    def stop(self) -> None:
        """Send all clients away. Nothing is told after this."""
        self.stopped = True
        for client in [*self.clients]:
            client.close(1012, "the app restarts or stops")
        for stop in self._stops:
            stop()
        self._stops.clear()
        for task in (self._checking, self._begun):
            if task is not None:
                task.cancel()

    def now(self) -> float:
        """ms since the epoch, by the broker's clock and never ahead of it by more than clocks drift in `CHECK` seconds."""
        return (self._ahead + self._clock.steady()) * 1000

    # -- channels --

    async def hold(self, stream: str, group: str, id: str | None) -> Channel:
        """The channel, with the part that `id` says loaded, and kept up to date until `release`. Waits for a broker that is away."""
        await self._begin()
        key = f"{encode(stream)}.{encode(group)}"
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(stream, group, self.now, _spoiled)
        part = channel.hold(id)
        try:
            if not part.ready.is_set() and part.loading is None:
                self._load(channel, id)
            await part.ready.wait()
        except BaseException:
            self.release(channel, id)
            raise
        return channel

    def release(self, channel: Channel, id: str | None) -> None:
        channel.release(id)
        if not channel.parts:
            place = channel.place
            del self._channels[f"{encode(place.stream)}.{encode(place.group)}"]

    async def ready(self) -> None:
        """Have begun to listen, so that `now` is the broker's time."""
        await self._begin()

    def _load(self, channel: Channel, id: str | None) -> None:
        part = channel.parts[id]
        if part.loading is not None:
            part.loading.cancel()
        part.loading = asyncio.get_running_loop().create_task(self._read(channel, id))

    async def _read(self, channel: Channel, id: str | None) -> None:
        while True:
            try:
                snapshot = await self._feed.snapshot(channel.pattern(id))
            except LogUnavailable:
                await asyncio.sleep(RETRY)
                continue
            self._observe(snapshot.at)
            channel.merge(id, snapshot)
            return

    # -- the watch --

    async def _begin(self) -> None:
        """Listen before anything is read, and not before somebody wants to know."""
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_task(self._listen())
        await asyncio.shield(self._begun)

    async def _listen(self) -> None:
        self._stops = [self._feed.follow(self._seen), self._feed.hear(self._heard)]
        while True:
            try:
                at = await self._feed.position()
                break
            except LogUnavailable:
                await asyncio.sleep(RETRY)
        self._top = max(self._top, at.seq)
        self._observe(at)
        self._checking = asyncio.get_running_loop().create_task(self._check_for_ever())

    def _seen(self, record: Record | None) -> None:
        if record is None:
            self._reload()
            return
        self._top = max(self._top, record.seq)
        self._ahead = max(self._ahead, record.time - self._clock.steady())
        place, _, token = record.subject[3:].rpartition(".")
        channel = self._channels.get(place)
        if channel is not None:
            channel.take(record, token)

    def _heard(self, subject: str, data: bytes) -> None:
        levels = subject.split(".")
        channel = self._channels.get(".".join(levels[1:3]))
        if channel is None:
            return
        try:
            _told(data)
            text = data.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _spoiled(f"{subject}: {error}")
            return
        channel.tell(decode(levels[3]) if len(levels) > 3 else None, text.encode())

    def _observe(self, at: Position) -> None:
        self._ahead = at.time - self._clock.steady()

    def _reload(self) -> None:
        """Some changes may have been missed: read all that is followed anew, and tell what differs."""
        for channel in self._channels.values():
            for item in channel.parts:
                self._load(channel, item)

    async def _check_for_ever(self) -> None:
        """A lost record shows when the next one comes; the last one of all only here."""
        while True:
            await asyncio.sleep(CHECK)
            if not self._channels:
                continue
            with contextlib.suppress(LogUnavailable):
                at = await self._feed.position()
                self._observe(at)
                if at.seq > self._top:
                    await asyncio.sleep(LATE)
                    if at.seq > self._top:
                        _log.warning("changes of streams were missed; reading what is followed anew")
                        self._top = at.seq
                        self._reload()


def _spoiled(what: str) -> None:
    _log.warning("what another program wrote to a stream can't be read, and is left out: %s", what)
