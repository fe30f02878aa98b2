"""`ports.Log` in memory, for tests of apps: no server, no files, and time that a test can turn (`clock.VirtualClock`).

It keeps every promise of the port, as `tests/contract` shows, except to outlive its process. One event loop; callers are sequential, so no
lock. What a consumer gets is delivered in the next turn of the loop, never from within `append`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from functools import partial

from motia_runtime.clock import SystemClock, Timer, Timers
from motia_runtime.naming import check_pattern, check_subject
from motia_runtime.nats.wire import encode_head
from motia_runtime.ports import ACK_WAIT, Backlog, Clock, Conflict, Consumer, Delivery, Entry, Headers, Record, TooLarge

MAX_SIZE = (1 << 20) - 2048  # bytes: what a NATS server takes by default
DEDUPE_WINDOW = 600.0  # seconds
CRON_KEPT = 1000
HISTORY = 64

PARTS = {"ev": "ev", "retry": "ev", "cron": "cron", "st": "st", "dlq": "dlq", "rt": "rt", "run": "run"}


class MemoryLog:
    """See the module. `history`: revisions of a state key that are kept. `ack_wait`: seconds until an un-ended delivery comes again."""

    def __init__(self, clock: Clock | None = None, *, history: int = HISTORY, ack_wait: float = ACK_WAIT) -> None:
        self.clock = clock or SystemClock()
        self.ack_wait = ack_wait
        self.timers = Timers(self.clock)
        kept = {"st": history, "rt": 1, "cron": CRON_KEPT}
        self._parts = {part: _Part(self, kept.get(part)) for part in set(PARTS.values())}
        self._durables: dict[str, _Durable] = {}

    def close(self) -> None:
        """End it: nothing that was scheduled happens any more."""
        self.timers.close()

    @property
    def max_size(self) -> int:
        return MAX_SIZE

    def connected(self) -> bool:
        return True

    def _part(self, subject: str) -> _Part:
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
        ttl: float | None = None,
    ) -> asyncio.Future[int]:
        """As in `ports.Log`. Problems are raised when the result is awaited."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        part = self._part(check_subject(subject))
        if at is not None and (PARTS[subject.partition(".")[0]] != "ev" or expect is not None):
            raise ValueError(f"`at` is for events, without `expect`: not for {subject!r}")
        try:
            _check_size(data, headers)
            known = part.known(id)
            if known is not None:
                future.set_result(known)
            elif at is not None and at > self.clock.time():
                seq = part.number(id)
                self.timers.at(at, partial(part.store, subject, data, headers, None, None))
                future.set_result(seq)
            else:
                part.check(subject, expect)
                future.set_result(part.store(subject, data, headers, id, ttl))
        except (Conflict, TooLarge) as error:
            future.set_exception(error)
        return future

    async def append_all(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            _check_size(entry.data, entry.headers)
            if not entry.subject.startswith("st."):
                raise ValueError(f"only state is stored together: not {entry.subject!r}")
        if len({entry.subject for entry in entries}) < len(entries):
            raise ValueError("the subjects of records that are stored together must be distinct")
        part = self._parts["st"]
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

    async def history(self, subject: str) -> list[Record]:
        part = self._part(subject)
        return [part.records[seq] for seq in part.subjects.get(subject, ())]

    async def scan(self, pattern: str, *, limit: int, before: int | None = None) -> list[Record]:
        found: list[Record] = []
        for record in reversed(self._part(pattern).records.values()):
            if len(found) >= limit:
                break
            if fits(record.subject, pattern) and (before is None or record.seq < before):
                found.append(record)
        return found

    async def get(self, part: str, seq: int) -> Record | None:
        record = self._part(part).records.get(seq)
        return record if record is not None and record.subject.startswith(f"{part}.") else None

    async def delete(self, part: str, seq: int) -> bool:
        if await self.get(part, seq) is None:
            return False
        self._part(part).remove(seq)
        return True

    # -- consuming --

    async def consume(
        self,
        name: str,
        subjects: Sequence[str],
        deliver: Callable[[Delivery], None],
        *,
        credit: int,
        exclusive: bool = False,
    ) -> Consumer:
        parts = {id(part): part for part in map(self._part, subjects)}
        if len(parts) != 1:
            raise ValueError(f"a consumer reads one part of the log, not {', '.join(subjects) or 'none'}")
        (part,) = parts.values()
        durable = self._durables.get(name)
        if durable is None:
            durable = self._durables[name] = _Durable(self, part)
            part.readers.append(durable)
        durable.patterns = tuple(subjects)
        durable.most = 1 if exclusive else None
        return durable.join(deliver, credit)

    async def backlog(self, name: str) -> Backlog:
        durable = self._durables.get(name)
        if durable is None:
            return Backlog(0, 0)
        waiting = sum(seq >= durable.next and durable.wants(r) for seq, r in durable.part.records.items())
        return Backlog(waiting, len(durable.open))


def fits(subject: str, pattern: str) -> bool:
    """Whether a subject matches: "*" stands for one level, ">" at the end for one or more."""
    want = pattern.split(".")
    have = subject.split(".")
    if want[-1] == ">":
        want = want[:-1]
        if len(have) <= len(want):
            return False
        have = have[: len(want)]
    return len(want) == len(have) and all(w in ("*", h) for w, h in zip(want, have, strict=True))


def _check_size(data: bytes, headers: Headers | None) -> None:
    if headers:
        encode_head(headers)
    size = len(data) + sum(len(name) + len(value.encode()) + 4 for name, value in (headers or {}).items())
    if size > MAX_SIZE:
        raise TooLarge(f"a record of {size:,} bytes is larger than the {MAX_SIZE:,} that the broker takes")


class _Part:
    """Records of one part of the log, oldest first."""

    def __init__(self, log: MemoryLog, kept: int | None) -> None:
        self.log = log
        self.kept = kept
        self.records: dict[int, Record] = {}
        self.subjects: dict[str, list[int]] = {}
        self.readers: list[_Durable] = []
        self.top = 0
        self._ids: dict[str, tuple[float, int]] = {}  # id -> (when it is forgotten, seq), in that order

    def known(self, id: str | None) -> int | None:
        now = self.log.clock.time()
        while self._ids:
            oldest = next(iter(self._ids))
            if self._ids[oldest][0] > now:
                break
            del self._ids[oldest]
        found = self._ids.get(id) if id is not None else None
        return found[1] if found else None

    def number(self, id: str | None) -> int:
        self.top += 1
        if id is not None:
            self._ids[id] = (self.log.clock.time() + DEDUPE_WINDOW, self.top)
        return self.top

    def check(self, subject: str, expect: int | None) -> None:
        last = self.last(subject)
        seq = last.seq if last else 0
        if expect is not None and expect != seq:
            raise Conflict(f"the last record of {subject} is {seq}, not {expect}")

    def last(self, subject: str) -> Record | None:
        seqs = self.subjects.get(subject)
        return self.records[seqs[-1]] if seqs else None

    def store(self, subject: str, data: bytes, headers: Headers | None, id: str | None, ttl: float | None) -> int:
        seq = self.number(id)
        now = self.log.clock.time()
        head = {name: value.strip() for name, value in (headers or {}).items()}
        self.records[seq] = Record(subject=subject, seq=seq, data=bytes(data), headers=head, time=now)
        seqs = self.subjects.setdefault(subject, [])
        seqs.append(seq)
        if self.kept is not None and len(seqs) > self.kept:
            self.remove(seqs[0])
        if ttl is not None:
            for old in seqs[:-1]:  # or what it replaced would come back when it has expired
                self.remove(old)
            self.log.timers.at(now + max(1.0, ttl), partial(self._expire, seq))
        for reader in self.readers:
            reader.wake()
        return seq

    def _expire(self, seq: int) -> None:
        if seq in self.records:
            self.remove(seq)

    def remove(self, seq: int) -> None:
        record = self.records.pop(seq)
        seqs = self.subjects[record.subject]
        seqs.remove(seq)
        if not seqs:
            del self.subjects[record.subject]


class _Durable:
    """Where a consumer of one name stands, over all of its running instances."""

    def __init__(self, log: MemoryLog, part: _Part) -> None:
        self.log = log
        self.part = part
        self.patterns: tuple[str, ...] = ()
        self.most: int | None = None
        self.next = part.top + 1
        self.open: dict[int, int] = {}  # seq -> how often delivered; not ended
        self._again: list[int] = []  # heap of those to be delivered once more
        self._running: list[_Running] = []
        self._awake = False

    def wants(self, record: Record) -> bool:
        return any(fits(record.subject, pattern) for pattern in self.patterns)

    def join(self, deliver: Callable[[Delivery], None], credit: int) -> _Running:
        running = _Running(self, deliver, credit)
        self._running.append(running)
        self.wake()
        return running

    def leave(self, running: _Running) -> None:
        if running in self._running:
            self._running.remove(running)

    def wake(self) -> None:
        if not self._awake and self._running:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._pump)

    def give_back(self, seq: int) -> None:
        if seq in self.open and seq not in self._again:
            heapq.heappush(self._again, seq)
            self.wake()

    def _pump(self) -> None:
        self._awake = False
        while free := [running for running in self._running if running.credit > 0]:
            record = self._take()
            if record is None:
                return
            self._running.remove(free[0])
            self._running.append(free[0])  # the others first, next time
            self.open[record.seq] = self.open.get(record.seq, 0) + 1
            free[0].give(_MemoryDelivery(self, record, self.open[record.seq]))

    def _take(self) -> Record | None:
        while self._again:
            seq = heapq.heappop(self._again)
            record = self.part.records.get(seq)
            if record is not None and seq in self.open:
                return record
            self.open.pop(seq, None)  # removed or ended meanwhile
        if self.most is not None and len(self.open) >= self.most:
            return None
        while self.next <= self.part.top:
            record = self.part.records.get(self.next)
            self.next += 1
            if record is not None and self.wants(record):
                return record
        return None


class _Running:
    """`ports.Consumer`."""

    def __init__(self, durable: _Durable, deliver: Callable[[Delivery], None], credit: int) -> None:
        self._durable = durable
        self._deliver = deliver
        self.credit = credit

    def give(self, delivery: _MemoryDelivery) -> None:
        self.credit -= 1
        self._deliver(delivery)

    def resume(self, credit: int) -> None:
        self.credit += credit
        self._durable.wake()

    async def stop(self) -> None:
        self._durable.leave(self)


class _MemoryDelivery:
    """`ports.Delivery`."""

    __slots__ = ("_durable", "_ended", "_wait", "delivered", "record")

    def __init__(self, durable: _Durable, record: Record, delivered: int) -> None:
        self.record = record
        self.delivered = delivered
        self._durable = durable
        self._ended = False
        self._wait = self._start()

    def _start(self) -> Timer:
        log, durable, seq = self._durable.log, self._durable, self.record.seq

        def overdue() -> None:
            durable.give_back(seq)

        return log.timers.at(log.clock.time() + log.ack_wait, overdue)

    def _current(self) -> bool:
        """False when it has been ended, or handed out again."""
        if self._ended or self._durable.open.get(self.record.seq) != self.delivered:
            return False
        self._wait.cancel()
        return True

    def ack(self) -> None:
        # Like NATS, take the word of an earlier delivery too: the work is done.
        if not self._ended:
            self._ended = True
            self._wait.cancel()
            self._durable.open.pop(self.record.seq, None)
            self._durable.wake()

    def nak(self, delay: float) -> None:
        if self._current():
            self._ended = True
            log, durable, seq = self._durable.log, self._durable, self.record.seq
            if delay > 0:
                log.timers.at(log.clock.time() + delay, lambda: durable.give_back(seq))
            else:
                durable.give_back(seq)

    def term(self, reason: str) -> None:
        self.ack()

    def touch(self) -> None:
        if self._current():
            self._wait = self._start()
