"""A link on nats-py's public names only: slower, for versions of nats-py that `fast` does not know, and for websocket URLs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from motia_runtime.nats.link import LOG, Link, Receive
from motia_runtime.nats.wire import NO_HEAD, Head, decode_head, encode_head


class PlainLink(Link):
    """See the module. One task per connection writes, in order, what was queued."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None
        self._subscriptions: dict[int, Subscription] = {}
        super().__init__()

    def prepare(self, client: Client) -> None:
        self._subscriptions.clear()

    def _send(self, subject: str, reply: str, head: Head | None, data: bytes, tail: str = "") -> None:
        if head:
            block = encode_head(head, tail)  # refuses what nats-py would quietly change
            head = decode_head(block)[1] if tail else head
        self._queued += len(data)
        self._queue.put_nowait(("pub", subject, data, reply, dict(head) if head else None))

    def _unsent(self) -> int:
        return self._queued

    def _listen(self, sid: int, subject: str, queue: str = "") -> None:
        self._queue.put_nowait(("sub", sid, subject, queue))

    def _unlisten(self, sid: int) -> None:
        self._queue.put_nowait(("unsub", sid))

    def _relisten(self, *, new_client: bool) -> None:
        while not self._queue.empty():  # queued for the connection before; whoever asked was told that it is lost
            self._queue.get_nowait()
        self._queued = 0
        for sid, (subject, queue, _) in self._listening.items():
            if sid not in self._subscriptions:  # nats-py renews those it knows
                self._listen(sid, subject, queue)
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_task(self._write())

    async def close(self) -> None:
        await super().close()
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    async def _write(self) -> None:
        while True:
            what, *rest = await self._queue.get()
            try:
                if what == "pub":
                    self._queued -= len(rest[1])
                    await self.client.publish(rest[0], rest[1], reply=rest[2], headers=rest[3])
                elif what == "sub":
                    await self._subscribe(*rest)
                elif rest[0] in self._subscriptions:
                    await self._subscriptions.pop(rest[0]).drain()  # type: ignore[no-untyped-call]  # nats-py's; unsubscribe() would drop what has arrived
            except (errors.Error, OSError) as error:
                LOG.warning("nats: %s", error)  # the one who asked gets LATE or LOST

    async def _subscribe(self, sid: int, subject: str, queue: str) -> None:
        if sid not in self._listening:
            return
        receive: Receive = self._listening[sid][2]

        async def on_message(msg: Msg) -> None:
            head = dict(msg.headers) if msg.headers else NO_HEAD
            status = int(head.pop("Status", 0)) if head else 0
            try:
                receive(msg.subject, msg.reply, status, head, msg.data)
            except Exception:
                LOG.exception("a message could not be handled")

        self._subscriptions[sid] = await self.client.subscribe(
            subject, queue, cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=0
        )
