"""`ports.Log` in memory, for tests of apps: no server, no files, and time that a test can turn (`clock.VirtualClock`).

It keeps every promise of the port, as `tests/contract` shows, except to outlive its process. One event loop; callers are sequential, so no
lock. What a consumer gets is delivered in the next turn of the loop, never from within `append`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from secrets import token_hex

from motia_runtime.clock import SystemClock, Timer, Timers
from motia_runtime.memory.consumers import Durable
from motia_runtime.memory.feed import MemoryFeed
from motia_runtime.memory.parts import EXPIRED, Part, fits, stripped
from motia_runtime.naming import check_pattern, check_subject
from motia_runtime.nats.wire import encode_head
from motia_runtime.ports import (
    ACK_WAIT,
    Backlog,
    Clock,
    Conflict,
    Consumer,
    Delivery,
    Entry,
    Headers,
    Record,
    Scheduled,
    TooLarge,
)
from motia_runtime.revisions import WITH_TRIGGERS

MAX_SIZE = (1 << 20) - 2048  # bytes: what a NATS server takes by default
CRON_KEPT = 1000
TOGETHER = ("st", "tx")  # parts with records that become true together
HISTORY = 64

PARTS = {
    "ev": "ev",
    "in": "in",
    "retry": "ev",
    "cron": "cron",
    "st": "st",
    "dlq": "dlq",
    "rt": "rt",
    "run": "run",
    "tx": "tx",
}


class MemoryLog:
    """See the module. `history` and `items`: revisions of a state key and of a stream's item that are kept. `ack_wait`: seconds until an un-ended delivery comes again."""

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        history: int = HISTORY,
        items: int = WITH_TRIGGERS,
        ack_wait: float = ACK_WAIT,
    ) -> None:
        self.clock = clock or SystemClock()
        self.ack_wait = ack_wait
        self.timers = Timers(self.clock)
        kept = {"st": history, "rt": items, "tx": 1, "cron": CRON_KEPT}
        self._parts = {
            part: Part(self.clock, self.timers, kept.get(part), markers=part in ("st", "rt"))
            for part in set(PARTS.values())
        }
        self._slots: dict[str, tuple[Scheduled, Timer]] = {}
        self._durables: dict[str, Durable] = {}
        self.feed = MemoryFeed(self.clock, self._parts["rt"])

    def close(self) -> None:
        """End it: nothing that was scheduled happens any more."""
        self.timers.close()

    @property
    def max_size(self) -> int:
        return MAX_SIZE

    def connected(self) -> bool:
        return True

    @property
    def in_touch_since(self) -> float:
        return -math.inf

    def _part(self, subject: str) -> Part:
        part = check_pattern(subject).partition(".")[0]
        if part not in PARTS:
            raise ValueError(f"{part!r} is no part of the log: there are {', '.join(sorted(PARTS))}")
        return self._parts[PARTS[part]]

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
        """As in `ports.Log`. Problems are raised when the result is awaited."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        part = self._part(check_subject(subject))
        if at is not None and (PARTS[subject.partition(".")[0]] != "ev" or expect is not None):
            raise ValueError(f"`at` is for events, without `expect`: not for {subject!r}")
        if slot is not None and at is None:
            raise ValueError(f"a slot is for what is due later: {slot!r} has no `at`")
        try:
            _check_size(data, headers)
            known = part.known(id)
            if known is not None:
                future.set_result(known)
            elif at is not None and (slot is not None or at > self.clock.time()):
                future.set_result(self._wait(part, subject, data, headers, id, at, slot))
            else:
                part.check(subject, expect)
                future.set_result(part.store(subject, data, headers, id, ttl))
        except (Conflict, TooLarge) as error:
            future.set_exception(error)
        return future

    def _wait(
        self,
        part: Part,
        subject: str,
        data: bytes,
        headers: Headers | None,
        id: str | None,
        at: float,
        slot: str | None,
    ) -> int:
        if slot is None:
            slot = token_hex(12) if id is None else sha256(id.encode()).hexdigest()[:32]
        check_subject(f"sched.{slot}")
        seq = part.number(id)
        self._clear(slot)

        def due() -> None:
            del self._slots[slot]
            part.store(subject, data, headers, None, None)

        if at <= self.clock.time():
            part.store(subject, data, headers, None, None)
        else:
            self._slots[slot] = (
                Scheduled(slot, subject, at, bytes(data), stripped(headers), seq),
                self.timers.at(at, due),
            )
        return seq

    def _clear(self, slot: str) -> bool:
        found = self._slots.pop(slot, None)
        if found is not None:
            found[1].cancel()
        return found is not None

    async def append_all(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            _check_size(entry.data, entry.headers)
        parts = {entry.subject.partition(".")[0] for entry in entries}
        if not parts <= {*TOGETHER} or len(parts) > 1:
            raise ValueError(f"only state is stored together, or plans of commits: not {', '.join(sorted(parts))}")
        if not entries:
            return
        if len({entry.subject for entry in entries}) < len(entries):
            raise ValueError("the subjects of records that are stored together must be distinct")
        part = self._parts[parts.pop()]
        if any(part.known(entry.id) is not None for entry in entries):
            return
        for entry in entries:
            part.check(entry.subject, entry.expect)
        for entry in entries:
            part.store(entry.subject, entry.data, entry.headers, entry.id, entry.ttl)

    def note(self, subject: str, data: bytes) -> None:
        if len(data) <= MAX_SIZE:
            self._part(check_subject(subject)).store(subject, data, None, None, None)

    # -- reading --

    async def last(self, subject: str) -> Record | None:
        return self._part(subject).last(subject)

    async def lasts(self, pattern: str) -> list[Record]:
        part = self._part(pattern)
        return [part.records[part.subjects[s][-1]] for s in sorted(part.subjects) if fits(s, pattern)]

    async def counts(self, pattern: str) -> dict[str, int]:
        part = self._part(pattern)
        return {subject: len(seqs) for subject, seqs in part.subjects.items() if fits(subject, pattern) and seqs}

    async def history(self, subject: str) -> list[Record]:
        part = self._part(subject)
        return [part.records[seq] for seq in part.subjects.get(subject, ())]

    async def scan(self, pattern: str, *, limit: int, before: int | None = None) -> list[Record]:
        found: list[Record] = []
        for record in reversed(self._part(pattern).records.values()):
            if len(found) >= limit:
                break
            if record.headers is EXPIRED:
                continue
            if fits(record.subject, pattern) and (before is None or record.seq < before):
                found.append(record)
        return found

    async def since(self, pattern: str, *, after: int, limit: int) -> list[Record]:
        part = self._part(pattern)
        newer = [seq for seq in part.records if seq > after] if after < part.top else []
        found = (part.records[seq] for seq in newer)
        return [r for r in found if r.headers is not EXPIRED and fits(r.subject, pattern)][:limit]

    async def get(self, part: str, seq: int) -> Record | None:
        record = self._part(part).records.get(seq)
        there = record is not None and record.subject.startswith(f"{part}.") and record.headers is not EXPIRED
        return record if there else None

    async def delete(self, part: str, seq: int) -> bool:
        if await self.get(part, seq) is None:
            return False
        self._part(part).remove(seq)
        return True

    # -- what is due later, and plans --

    async def scheduled(self, pattern: str, *, limit: int) -> list[Scheduled]:
        check_pattern(f"sched.{pattern}")
        found = [scheduled for slot, (scheduled, _) in self._slots.items() if fits(slot, pattern)]
        return sorted(found, key=lambda each: (each.at, each.seq))[:limit]

    async def cancel(self, slot: str) -> bool:
        check_subject(f"sched.{slot}")
        return self._clear(slot)

    async def purge(self, pattern: str, *, through: int) -> int:
        part = self._part(pattern)
        if not pattern.startswith("tx."):
            raise ValueError(f"only plans of commits are purged: not {pattern!r}")
        gone = [
            record.seq for record in part.records.values() if record.seq <= through and fits(record.subject, pattern)
        ]
        for seq in gone:
            part.remove(seq)
        return len(gone)

    async def newest(self, part: str) -> int:
        return self._part(part).top

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
        parts = {id(part): part for part in map(self._part, subjects)}
        if len(parts) != 1:
            raise ValueError(f"a consumer reads one part of the log, not {', '.join(subjects) or 'none'}")
        (part,) = parts.values()
        durable = self._durables.get(name)
        if durable is None:
            durable = self._durables[name] = Durable(self.clock, self.timers, self.ack_wait, part)
            part.stored.append(durable.wake)
        durable.patterns = tuple(subjects)
        durable.most = 1 if exclusive else None
        return durable.join(deliver, credit, alone=alone is not None)

    def watch(self, pattern: str, seen: Callable[[str | None], None]) -> Callable[[], None]:
        part = self._part(pattern)
        loop = asyncio.get_running_loop()

        def stored() -> None:
            newest = part.records.get(part.top)
            if newest is not None and fits(newest.subject, pattern):
                loop.call_soon(seen, newest.subject)

        part.stored.append(stored)
        return lambda: part.stored.remove(stored)

    async def backlog(self, name: str) -> Backlog:
        durable = self._durables.get(name)
        return durable.backlog() if durable is not None else Backlog(0, 0)

    async def backlogs(self, *, keep: bool = False) -> dict[str, Backlog]:
        return {name: durable.backlog() for name, durable in self._durables.items()}

    async def pause(self, name: str, until: float) -> None:
        if name not in self._durables:
            raise LookupError(f"there is no consumer {name!r}")
        self._durables[name].pause(until)


def _check_size(data: bytes, headers: Headers | None) -> None:
    if headers:
        encode_head(headers)
    size = len(data) + sum(len(name) + len(value.encode()) + 4 for name, value in (headers or {}).items())
    if size > MAX_SIZE:
        raise TooLarge(f"a record of {size:,} bytes is larger than the {MAX_SIZE:,} that the broker takes")
