"""Reading a stream by direct gets (ADR-31): one record, the newest of each subject, or the newest few. Reads are safe to repeat."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from motia_runtime.nats.appends import MARKER, NO_MESSAGE, PAUSE, ask_stored, decode_get, own_head, own_id
from motia_runtime.nats.link import PATIENCE, Closed, Link, problem
from motia_runtime.nats.streams import Layout
from motia_runtime.ports import LogUnavailable, Record, Scheduled

PAGE = 256  # records per request
STRETCH = 8 << 20  # bytes of records that one request of `since` may bring, beyond the first one
NEWEST = 1000  # subjects per request; the broker gives 1,024 at most

T = TypeVar("T")
Make: TypeAlias = Callable[[dict[str, str], bytes], T | None]  # headers and data -> what is read; None is left out


class _State(msgspec.Struct):
    last_seq: int = 0
    first_seq: int = 0
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    created: str = ""
    state: _State = msgspec.field(default_factory=_State)
    total: int = 0
    error: dict[str, Any] | None = None


class Reader:
    """Reads records of one app. With several replicas, single records come from the leader: a follower may lag behind our own writes."""

    def __init__(self, link: Link, layout: Layout, *, leader: bool) -> None:
        self._link = link
        self._layout = layout
        self._leader = leader

    async def last(self, subject: str) -> Record | None:
        stream, wire = self._layout.wire(subject)
        if self._leader:
            return await patiently(lambda: self._of_leader(stream, {"last_by_subj": wire}))
        return await patiently(lambda: self._one(f"$JS.API.DIRECT.GET.{stream}.{wire}", b"", stream))

    async def get(self, part: str, seq: int) -> Record | None:
        stream = self._layout.stream(part)
        if seq < 1:
            return None
        if self._leader:
            record = await patiently(lambda: self._of_leader(stream, {"seq": seq}))
        else:
            record = await patiently(lambda: self._one(f"$JS.API.DIRECT.GET.{stream}", b'{"seq":%d}' % seq, stream))
        return record if record is not None and record.subject.startswith(f"{part}.") else None

    async def history(self, subject: str) -> list[Record]:
        stream, wire = self._layout.wire(subject)
        return await patiently(lambda: self._forward(stream, wire, 1, None))

    async def lasts(self, pattern: str) -> list[Record]:
        return sorted(await self._all_newest(pattern, self._record), key=lambda record: record.subject)

    async def scheduled(self, pattern: str, *, limit: int) -> list[Scheduled]:
        """`pattern`: of slots."""
        found = await self._all_newest(f"sched.{pattern}", self._schedule)
        return sorted(found, key=lambda each: (each.at, each.seq))[:limit]

    async def newest(self, stream: str) -> int:
        return (await patiently(lambda: self._info(stream, b""))).state.last_seq

    async def since_when(self, stream: str) -> tuple[float, int]:
        """When it was made, seconds since the epoch by the broker's clock, and its newest seq."""
        info = await patiently(lambda: self._info(stream, b""))
        return seconds(info.created), info.state.last_seq

    async def scan(self, pattern: str, *, limit: int, before: int | None) -> list[Record]:
        """Streams are read forwards only: look at ever larger stretches from the end until enough has been found."""
        stream, wire = self._layout.wire(pattern)
        state = (await patiently(lambda: self._info(stream, b""))).state
        end = min(before or state.last_seq + 1, state.last_seq + 1)
        first = max(state.first_seq, 1)
        stretch = max(2 * limit, PAGE)
        found: list[Record] = []
        while end > first and len(found) < limit:
            start = max(first, end - stretch)
            newest = deque(
                await patiently(partial(self._forward, stream, wire, start, end)),
                maxlen=limit - len(found),
            )
            found += reversed(newest)
            end = start
            stretch *= 4
        return found

    async def since(self, pattern: str, *, after: int, limit: int) -> list[Record]:
        stream, wire = self._layout.wire(pattern)
        while True:
            body = {"seq": after + 1, "next_by_subj": wire, "batch": limit, "max_bytes": STRETCH}
            found, _, newest = await patiently(partial(self.many, stream, body, self._record))
            if found or newest == 0:
                return found
            after = newest  # the broker's own notes only

    async def _all_newest(self, pattern: str, make: Make[T]) -> list[T]:
        stream, wire = self._layout.wire(pattern)
        found = await patiently(lambda: self._newest(stream, [wire], make))
        if found is not None:
            return found
        found = []  # more subjects than one request gives
        subjects = sorted(await patiently(lambda: self._subjects(stream, wire)))
        for start in range(0, len(subjects), NEWEST):
            chunk = subjects[start : start + NEWEST]
            page = await patiently(partial(self._newest, stream, chunk, make))
            found += page or []
        return found

    # -- single requests --

    async def _one(self, subject: str, body: bytes, stream: str) -> Record | None:
        status, head, data = await self._link.request(subject, body)
        if status == 404:
            return None
        if status:
            raise problem(status, stream)
        return self._record(head, data)

    async def _of_leader(self, stream: str, which: dict[str, Any]) -> Record | None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, bytes]] = loop.create_future()

        def answer(status: int, _head: dict[str, str], data: bytes) -> None:
            if not future.done():
                future.set_result((status, data))

        ask_stored(self._link, stream, which, answer)
        status, data = await future
        if status:
            raise problem(status)
        reply = decode_get(data)
        if reply.message is None:
            if reply.error is not None and reply.error.err_code != NO_MESSAGE:
                raise LogUnavailable(reply.error.description)
            return None
        stored = reply.message
        if MARKER in stored.head:
            return None
        subject = self._layout.back(stored.subject)
        return Record(
            subject=subject,
            seq=stored.seq,
            data=base64.b64decode(stored.data),
            headers=own_head(stored.head, subject),
            time=seconds(stored.time),
            id=own_id(stored.head),
        )

    async def _newest(self, stream: str, subjects: list[str], make: Make[T]) -> list[T] | None:
        """None: there are too many."""
        records, status, _ = await self.many(stream, {"multi_last": subjects}, make)
        return None if status == 413 else records

    async def _forward(self, stream: str, wire: str, start: int, end: int | None) -> list[Record]:
        """Records of a subject or pattern with start <= seq < end, oldest first."""
        found: list[Record] = []
        while True:
            page, _, newest = await self.many(stream, {"seq": start, "next_by_subj": wire, "batch": PAGE}, self._record)
            found += [record for record in page if end is None or record.seq < end]
            if newest == 0 or (end is not None and newest >= end - 1):
                return found
            start = newest + 1

    async def many(self, stream: str, body: dict[str, Any], make: Make[T]) -> tuple[list[T], int, int]:
        """(records, closing status, seq of the last answer; 0: there was none)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        records: list[T] = []
        newest = 0

        def answer(status: int, head: dict[str, str], data: bytes) -> bool:
            nonlocal newest
            if status == 0:
                newest = int(head["Nats-Sequence"])
                record = make(head, data)
                if record is not None:
                    records.append(record)
                return False
            if not future.done():
                future.set_result(status)
            return True

        self._link.ask(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(body), answer, many=True)
        status = await future
        if status not in (204, 404, 413):
            raise problem(status, stream)
        return records, status, newest

    async def counts(self, pattern: str) -> dict[str, int]:
        stream, wire = self._layout.wire(pattern)
        counts = await patiently(lambda: self._subjects(stream, wire))
        return {self._layout.back(subject): count for subject, count in counts.items()}

    async def _subjects(self, stream: str, wire: str) -> dict[str, int]:
        """How many records each subject has."""
        subjects: dict[str, int] = {}
        while True:
            body = {"subjects_filter": wire, "offset": len(subjects)}
            info = await self._info(stream, msgspec.json.encode(body))
            page = info.state.subjects or {}
            subjects |= page
            if not page or len(subjects) >= info.total:
                return subjects

    async def _info(self, stream: str, body: bytes) -> _Info:
        status, _, data = await self._link.request(f"$JS.API.STREAM.INFO.{stream}", body)
        if status:
            raise problem(status)
        info = msgspec.json.decode(data, type=_Info)
        if info.error is not None:
            raise LogUnavailable(f"stream {stream}: {info.error.get('description')}")
        return info

    def _record(self, head: dict[str, str], data: bytes) -> Record | None:
        """None for the broker's own note that a record expired."""
        if MARKER in head:
            return None
        subject = self._layout.back(head["Nats-Subject"])
        return Record(
            subject=subject,
            seq=int(head["Nats-Sequence"]),
            data=data,
            headers=own_head(head, subject),
            time=seconds(head["Nats-Time-Stamp"]),
            id=own_id(head),
        )

    def _schedule(self, head: dict[str, str], data: bytes) -> Scheduled | None:
        """None for what is no single one, such as a person's own schedule."""
        word, _, when = head.get("Nats-Schedule", "").partition(" ")
        if word != "@at" or "Nats-Schedule-Target" not in head:
            return None
        subject = self._layout.back(head["Nats-Schedule-Target"])
        return Scheduled(
            slot=self._layout.back(head["Nats-Subject"]).removeprefix("sched."),
            subject=subject,
            at=seconds(when),
            data=data,
            headers=own_head(head, subject),
            seq=int(head["Nats-Sequence"]),
        )


def seconds(stamp: str) -> float:
    """Since the epoch, of a time as NATS writes it."""
    return datetime.fromisoformat(stamp).timestamp()


async def patiently(read: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """Repeat a read while the broker is away, for `patience` seconds at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    try:
        return await read()
    except LogUnavailable as error:
        if isinstance(error, Closed):
            raise
        last = error
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            while True:
                await asyncio.sleep(PAUSE)
                try:
                    return await read()
                except Closed:
                    raise
                except LogUnavailable as error:
                    last = error
    raise last
