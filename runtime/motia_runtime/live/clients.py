"""One who follows: a socket, an SSE request, a test. Gets every frame while it reads, and costs little while it does not.

What can't be written at once waits, in order. Past a limit only the last state of each item waits, and events are discarded: who reads again
sees each item as it is then. Past a further one the client is sent away; it comes again and begins with how things stand.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque

from motia_runtime.live.channels import Channel
from motia_runtime.live.frames import Frame, Place
from motia_runtime.live.hub import Hub

QUEUE = 256  # frames that wait in order
QUEUE_BYTES = 256 << 10
LATEST = 1_000  # items whose last state waits
LATEST_BYTES = 4 << 20  # most of it shared with the other clients and the channel
SUBSCRIPTIONS = 1_000  # of one client

TOO_SLOW = 1013  # try again later (RFC 6455 and its registry)


class TooManySubscriptions(Exception):  # reads as the fact it states
    """A client may have 1,000 subscriptions. Follow whole groups instead of their items."""


class Client(ABC):
    """Lives from `Hub` to `leave`. Subscriptions go by the ids that the client gave them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._subscriptions: dict[str, tuple[Channel, str | None]] = {}
        self._queue: deque[Frame] = deque()
        self._queued = 0
        self._latest: dict[tuple[Place, str], Frame] = {}
        self._latest_bytes = 0
        self._drained: asyncio.Event | None = None  # made when somebody waits for it
        self._left = False
        hub.clients.add(self)

    @abstractmethod
    def write(self, frame: Frame) -> bool:
        """Take a frame. False: not now; `flush` follows when it can be taken."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Send it away. `leave` follows."""

    @property
    def subscriptions(self) -> list[tuple[str, str, str | None]]:
        """(stream, group, item) of each."""
        return [(c.place.stream, c.place.group, item) for c, item in self._subscriptions.values()]

    # -- subscriptions --

    async def join(self, subscription: str, stream: str, group: str, id: str | None, *, unless: str = "") -> None:
        """Follow a group or an item: first how it stands, then each change, with nothing in between. A client that does not read waits here.
        `unless`: the mark of a state that the client had, which is not sent again when it is still that; an item that is gone by now is. Raises `TooManySubscriptions`."""
        known = self._subscriptions.get(subscription)
        if known is None and len(self._subscriptions) >= SUBSCRIPTIONS:
            raise TooManySubscriptions(f"a client may have {SUBSCRIPTIONS:,} subscriptions")
        channel = await self._hub.hold(stream, group, id)
        try:
            await self.until_drained()
        except BaseException:
            self._hub.release(channel, id)
            raise
        if self._left:
            self._hub.release(channel, id)
            return
        self.leave_one(subscription)
        self._subscriptions[subscription] = (channel, id)
        channel.attach(self, id)
        if unless and unless == (channel.mark if id is None else channel.item_mark(id)):
            return
        frame = channel.sync(id)
        if frame is None and id is not None and unless:
            frame = channel.absent(id)
        if frame is not None:
            self.push(frame)

    def leave_one(self, subscription: str) -> None:
        """No harm if there is none."""
        found = self._subscriptions.pop(subscription, None)
        if found is not None:
            channel, item = found
            channel.detach(self, item)
            self._hub.release(channel, item)

    def leave(self) -> None:
        """The client is gone."""
        self._left = True
        self._hub.clients.discard(self)
        for subscription in [*self._subscriptions]:
            self.leave_one(subscription)
        self._forget()

    # -- frames --

    @property
    def behind(self) -> bool:
        return bool(self._queue or self._latest)

    async def until_drained(self) -> None:
        """Return when all that waits is written, or the client has left."""
        while self.behind and not self._left:
            self._drained = asyncio.Event()
            await self._drained.wait()

    def push(self, frame: Frame) -> None:
        if self._left:
            return
        if self.behind or not self.write(frame):
            self._keep(frame)
        else:
            self._hub.counts.sent += 1

    def flush(self) -> None:
        """Write what waits, as far as the client takes it."""
        while self._queue:
            if not self.write(self._queue[0]):
                return
            self._queued -= self._queue.popleft().size
            self._hub.counts.sent += 1
        while self._latest:
            at, frame = next(iter(self._latest.items()))
            if not self.write(frame):
                return
            self._latest_bytes -= self._latest.pop(at).size
            self._hub.counts.sent += 1
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _keep(self, frame: Frame) -> None:
        if self._latest:
            self._replace(frame)
            return
        self._queue.append(frame)
        self._queued += frame.size
        if len(self._queue) <= QUEUE and self._queued <= QUEUE_BYTES:
            return
        if len(self._queue) == 1:
            return  # larger than the limit, and alone
        waiting, self._queue, self._queued = self._queue, deque(), 0
        first = waiting[0]
        if first.kind == "sync":  # a state to begin with; what follows changes it
            self._queue.append(waiting.popleft())
            self._queued = first.size
        for each in waiting:
            self._replace(each)

    def _replace(self, frame: Frame) -> None:
        """Let it take the place of what waits for the same item."""
        if frame.id is None or frame.kind == "event":
            self._hub.counts.discarded += 1
            return
        at = (frame.place, frame.id)
        before = self._latest.pop(at, None)
        now: Frame | None = frame
        if before is not None:
            self._hub.counts.coalesced += 1
            self._latest_bytes -= before.size
            now = frame.after(before)
        if now is None:
            return
        self._latest[at] = now
        self._latest_bytes += now.size
        if len(self._latest) > LATEST or (self._latest_bytes > LATEST_BYTES and len(self._latest) > 1):
            self._hub.counts.dropped += 1
            self._forget()
            self._left = True
            self.close(TOO_SLOW, "too slow; come again")

    def _forget(self) -> None:
        self._queue.clear()
        self._latest.clear()
        self._queued = self._latest_bytes = 0
        if self._drained is not None:
            self._drained.set()
