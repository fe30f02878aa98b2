"""Records of one part of the log in memory, and which subjects fit a pattern."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from motia_runtime.clock import Timers
from motia_runtime.ports import Clock, Conflict, Headers, Record

DEDUPE_WINDOW = 120.0  # seconds
EXPIRED = {"Nats-Marker-Reason": "MaxAge"}  # what a marker says
MARKED = 1.0  # seconds that the marker of an expired record stays


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


def stripped(headers: Headers | None) -> dict[str, str]:
    return {name: value.strip() for name, value in (headers or {}).items()}


class Part:
    """Records of one part of the log, oldest first."""

    def __init__(self, clock: Clock, timers: Timers, kept: int | None, *, markers: bool = False) -> None:
        self.clock = clock
        self.timers = timers
        self.kept = kept
        self.markers = markers  # what outlives its TTL leaves one, for a moment, which only consumers see
        self.records: dict[int, Record] = {}
        self.subjects: dict[str, list[int]] = {}
        self.stored: list[Callable[[], None]] = []  # called after every record
        self.top = 0
        self._ids: dict[str, tuple[float, int]] = {}  # id -> (when it is forgotten, seq), in that order

    def known(self, id: str | None) -> int | None:
        now = self.clock.time()
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
            self._ids[id] = (self.clock.time() + DEDUPE_WINDOW, self.top)
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
        now = self.clock.time()
        head = stripped(headers)
        self.records[seq] = Record(subject=subject, seq=seq, data=bytes(data), headers=head, time=now, id=id)
        seqs = self.subjects.setdefault(subject, [])
        seqs.append(seq)
        if self.kept is not None and len(seqs) > self.kept:
            self.remove(seqs[0])
        if ttl is not None:
            for old in seqs[:-1]:  # or what it replaced would come back when it has expired
                self.remove(old)
            self.timers.at(now + max(1.0, ttl), partial(self._expire, seq))
        for call in self.stored:
            call()
        return seq

    def _expire(self, seq: int) -> None:
        record = self.records.get(seq)
        if record is None:
            return
        self.remove(seq)
        if self.markers:
            now, marker = self.clock.time(), self.number(None)
            self.records[marker] = Record(subject=record.subject, seq=marker, data=b"", headers=EXPIRED, time=now)
            self.timers.at(now + MARKED, lambda: self.records.pop(marker, None))
            for call in self.stored:
                call()

    def remove(self, seq: int) -> None:
        record = self.records.pop(seq)
        seqs = self.subjects[record.subject]
        seqs.remove(seq)
        if not seqs:
            del self.subjects[record.subject]
