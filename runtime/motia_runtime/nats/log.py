"""`ports.Log` on JetStream. Start here; `appends`, `batches`, `reads`, `durables` and `pulls` do the work, `streams` says where things live."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.cloudevents.outgoing import FIRST_NAME, Tails
from motia_runtime.naming import check_pattern, check_subject
from motia_runtime.nats.appends import EXPECT, MSG_ID, WRITE, Fault, append, decode_ack
from motia_runtime.nats.batches import Batches, Message
from motia_runtime.nats.durables import Durables
from motia_runtime.nats.feed import NatsFeed
from motia_runtime.nats.link import Link, problem
from motia_runtime.nats.positions import Positions
from motia_runtime.nats.pulls import NatsConsumer
from motia_runtime.nats.reads import Reader, patiently
from motia_runtime.nats.streams import Layout
from motia_runtime.ports import (
    ACK_WAIT,
    Backlog,
    Consumer,
    Delivery,
    Entry,
    Headers,
    LogUnavailable,
    Record,
    Scheduled,
    TooLarge,
)
from motia_spec.model import Nats

RESERVE = 2048  # bytes of a message kept for headers of our own
TOGETHER = ("st", "tx")  # parts with records that become true together

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


class _Purged(msgspec.Struct):
    error: Fault | None = None
    purged: int = 0


class NatsLog:
    """See the module. Lives as long as the link; closing the link ends it. The streams must be there (`reconcile`).

    `store`: the folder of an embedded server; there is one replica, whatever the spec says. `ack_wait`: seconds until an un-ended delivery comes again. `now`: what time it is,
    by the clock that `at` of an append goes by."""

    def __init__(
        self,
        link: Link,
        nats: Nats,
        *,
        store: Path | None = None,
        ack_wait: float = ACK_WAIT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._now = now
        self._layout = Layout(nats.prefix)
        self._tails = Tails(nats.prefix)
        self._ack_wait = ack_wait
        self._reader = Reader(link, self._layout, leader=nats.replicas > 1 and store is None)
        self._batches = {part: Batches(link, self._layout.stream(part)) for part in TOGETHER}
        self._durables = Durables(link, self._layout, self._reader, Positions(self._reader, self.append), store)
        self.feed = NatsFeed(link, self._layout)
        self._loop = asyncio.get_running_loop()
        self._us = secrets.token_hex(6)
        self._written = 0
        self._started = 0

    @property
    def max_size(self) -> int:
        return self._link.max_payload - RESERVE

    def connected(self) -> bool:
        return self._link.up

    @property
    def in_touch_since(self) -> float:
        return self._link.in_touch_since

    # -- writing --

    def append(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Headers | None = None,
        id: str | None = None,
        expect: int | None = None,
        at: float | None = None,
        slot: str | None = None,
        ttl: float | None = None,
    ) -> asyncio.Future[int]:
        """As in `ports.Log`. Problems are raised when the result is awaited. An event with an id is a CloudEvent for whoever reads the stream; those attributes that
        `headers` give, if any, stand in place of our own."""
        future: asyncio.Future[int] = asyncio.Future(loop=self._loop)  # half of what `create_future` of uvloop takes
        try:
            self._check_size(data, headers)
        except TooLarge as error:
            future.set_exception(error)
            return future
        stream, wire = self._wire(subject)
        head = self._head(headers, id, expect, ttl)
        if at is not None:
            if not subject.startswith(("ev.", "retry.")) or expect is not None:
                raise ValueError(f"`at` is for events, without `expect`: not for {subject!r}")
            if (
                slot is not None or at > self._now()
            ):  # of the past in a slot: replaces what waits there, and is sent at once
                head = {
                    **(head or {}),
                    "Nats-Schedule": f"@at {datetime.fromtimestamp(at, UTC).isoformat()}",
                    "Nats-Schedule-Target": wire,
                    "Nats-TTL": "never",  # max_age may be shorter than the delay
                }
                _, wire = self._wire(f"sched.{self._unique(id) if slot is None else slot}")
        elif slot is not None:
            raise ValueError(f"a slot is for what is due later: {slot!r} has no `at`")
        tail = ""
        if id is not None and subject.startswith("ev.") and not (headers and FIRST_NAME in headers):
            now = self._now()
            tail = self._tails.tail(subject, id, now if at is None else max(at, now))
        append(self._link, future, stream, wire, data, head, tail)
        return future

    async def append_all(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._check_size(entry.data, entry.headers)
        parts = {entry.subject.partition(".")[0] for entry in entries}
        if not parts <= {*TOGETHER} or len(parts) > 1:
            raise ValueError(f"only state is stored together, or plans of commits: not {', '.join(sorted(parts))}")
        if len({entry.subject for entry in entries}) < len(entries):
            raise ValueError("the subjects of records that are stored together must be distinct")
        if len(entries) == 1:
            e = entries[0]
            await self.append(e.subject, e.data, headers=e.headers, id=e.id, expect=e.expect, ttl=e.ttl)
        elif entries:
            messages: list[Message] = []
            for e in entries:
                head = self._head(e.headers, e.id, e.expect, e.ttl) or {}
                head.pop(WRITE, None)  # the batch gives every message an id
                messages.append((self._wire(e.subject)[1], e.data, head))
            await self._batches[parts.pop()].commit(messages)

    def note(self, subject: str, data: bytes) -> None:
        if len(data) <= self.max_size:
            self._link.publish(self._wire(subject)[1], data, droppable=True)

    def _wire(self, subject: str) -> tuple[str, str]:
        return self._layout.wire(check_subject(subject))

    def _head(
        self, headers: Headers | None, id: str | None, expect: int | None, ttl: float | None
    ) -> dict[str, str] | None:
        head = dict(headers) if headers else {}
        if id is not None:
            head[MSG_ID] = id
        if expect is not None:
            head[EXPECT] = str(expect)
            if id is None:
                self._written += 1
                head[WRITE] = f"{self._us}{self._written:x}"
        if ttl is not None:
            head["Nats-TTL"] = f"{max(1000, round(ttl * 1000))}ms"
            head["Nats-Rollup"] = "sub"  # or what it replaced would come back when it has expired
        return head or None

    def _check_size(self, data: bytes, headers: Headers | None) -> None:
        size, most = len(data), self._link.max_payload - RESERVE
        if headers:
            for name, value in headers.items():
                size += len(name) + (len(value) if value.isascii() else len(value.encode())) + 4
        if size > most:
            raise TooLarge(f"a record of {size:,} bytes is larger than the {most:,} that the broker takes")

    def _unique(self, id: str | None) -> str:
        return secrets.token_hex(12) if id is None else sha256(id.encode()).hexdigest()[:32]

    # -- reading --

    async def last(self, subject: str) -> Record | None:
        return await self._reader.last(check_pattern(subject))

    async def lasts(self, pattern: str) -> list[Record]:
        return await self._reader.lasts(check_pattern(pattern))

    async def counts(self, pattern: str) -> dict[str, int]:
        return await self._reader.counts(check_pattern(pattern))

    async def history(self, subject: str) -> list[Record]:
        return await self._reader.history(check_pattern(subject))

    async def scan(self, pattern: str, *, limit: int, before: int | None = None) -> list[Record]:
        return await self._reader.scan(check_pattern(pattern), limit=limit, before=before)

    async def since(self, pattern: str, *, after: int, limit: int) -> list[Record]:
        return await self._reader.since(check_pattern(pattern), after=after, limit=limit)

    async def get(self, part: str, seq: int) -> Record | None:
        return await self._reader.get(part, seq)

    async def delete(self, part: str, seq: int) -> bool:
        if await self.get(part, seq) is None:
            return False
        subject = f"$JS.API.STREAM.MSG.DELETE.{self._layout.stream(part)}"
        status, _, data = await self._link.request(subject, b'{"seq":%d}' % seq)
        if status:
            raise problem(status)
        return decode_ack(data).error is None  # the only refusal left: it went meanwhile

    # -- what is due later, and plans --

    async def scheduled(self, pattern: str, *, limit: int) -> list[Scheduled]:
        check_pattern(f"sched.{pattern}")
        return await self._reader.scheduled(pattern, limit=limit)

    async def cancel(self, slot: str) -> bool:
        stream, wire = self._wire(f"sched.{slot}")
        return await patiently(lambda: self._purge(stream, {"filter": wire})) > 0

    async def purge(self, pattern: str, *, through: int) -> int:
        stream, wire = self._layout.wire(check_pattern(pattern))
        if not pattern.startswith("tx."):
            raise ValueError(f"only plans of commits are purged: not {pattern!r}")
        # without a filter the server cuts off whole blocks; beyond its newest seq it would count on from there
        below: dict[str, Any] = {"seq": min(through, await self.newest("tx")) + 1}
        if pattern != "tx.>":
            below["filter"] = wire
        return await patiently(lambda: self._purge(stream, below)) if below["seq"] > 1 else 0

    async def newest(self, part: str) -> int:
        return await self._reader.newest(self._layout.stream(part))

    async def _purge(self, stream: str, what: dict[str, Any]) -> int:
        status, _, data = await self._link.request(f"$JS.API.STREAM.PURGE.{stream}", msgspec.json.encode(what))
        if status:
            raise problem(status)
        reply = msgspec.json.decode(data, type=_Purged)
        if reply.error is not None:
            raise LogUnavailable(f"stream {stream}: {reply.error.description}")
        return reply.purged

    # -- consuming --

    async def consume(
        self,
        name: str,
        subjects: Sequence[str],
        deliver: Callable[[Delivery], None],
        *,
        credit: int,
        exclusive: bool = False,
        alone: Callable[[], bool] | None = None,
    ) -> Consumer:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no consumer name: use naming.durable")
        places = [self._layout.wire(check_pattern(subject)) for subject in subjects]
        streams = {stream for stream, _ in places}
        if len(streams) != 1:
            raise ValueError(f"a consumer reads one part of the log, not {', '.join(subjects) or 'none'}")
        stream = streams.pop()
        filters = sorted(wire for _, wire in places)

        async def ensure() -> None:
            await self._durables.make(
                stream, name, filters, ack_wait=self._ack_wait, exclusive=exclusive, alone=alone is not None
            )
            if alone is not None and credit and alone():
                await self._durables.unpin(stream, name)

        await patiently(ensure)
        consumer = NatsConsumer(
            self._link, self._layout, stream, name, deliver, credit, ensure, alone=alone is not None
        )
        self._started += 1
        consumer.start(self._started)
        return consumer

    def watch(self, pattern: str, seen: Callable[[str | None], None]) -> Callable[[], None]:
        _, wire = self._layout.wire(check_pattern(pattern))
        back = self._layout.back

        def receive(subject: str, _reply: str, _status: int, _head: dict[str, str], _data: bytes) -> None:
            seen(back(subject))

        def missed() -> None:
            seen(None)

        sid = self._link.listen(wire, receive)
        self._link.on_up.append(missed)

        def stop() -> None:
            self._link.unlisten(sid)
            self._link.forget(sid)
            self._link.on_up.remove(missed)

        return stop

    async def backlog(self, name: str) -> Backlog:
        return await self._durables.backlog(name) or Backlog(0, 0)

    async def backlogs(self, *, keep: bool = False) -> dict[str, Backlog]:
        return await self._durables.backlogs(keep=keep)

    async def pause(self, name: str, until: float) -> None:
        if not await self._durables.pause(name, until):
            raise LookupError(f"there is no consumer {name!r}")
