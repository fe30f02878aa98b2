"""Which ids are in the newest part of the log: read once, backwards, and shared by all who ask. Evidence for what is completed after a crash
(`commit`), when there may be thousands to complete, and the broker may have forgotten the ids it dropped doubles by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from motia_runtime.delayed import ID
from motia_runtime.ports import Clock, Log, Record

PAGE = 1_000  # records read at a time, at most
FIRST = 16  # records read at first, since mostly few are new
SKEW = 5.0  # seconds that clocks of brokers may differ
REMEMBERED = 60.0  # seconds for which the broker surely knows an id, unless it has been restarted
KEPT = 60.0  # seconds without a question after which it is all forgotten


class Seen:
    """Ids of the records of one pattern. Times are the broker's. Lives as long as the engine."""

    def __init__(self, log: Log, clock: Clock, pattern: str, ids: Callable[[Record], Iterable[str]]) -> None:
        self._log = log
        self._clock = clock
        self._pattern = pattern
        self._of = ids
        self._reading = asyncio.Lock()
        self._rounds = 0  # begun
        self._asked = clock.steady()
        self._clear()

    def _clear(self) -> None:
        self._ids: set[str] = set()
        self._top = 0  # all from `_bottom` to `_top` have been read
        self._bottom: int | None = None
        self._floor = float("inf")  # time of the oldest of them

    async def has(self, id: str, since: float) -> bool:
        """Whether a record with that id was stored since then and before now. Raises `LogUnavailable`."""
        self._expire()
        if id in self._ids:
            return True
        asked_in = self._rounds
        async with self._reading:
            # one who waited for a round that began after it had asked need not read anew
            if self._rounds <= asked_in or since - SKEW < self._floor:
                self._rounds += 1
                await self._read(since - SKEW)
        return id in self._ids

    def _expire(self) -> None:
        now = self._clock.steady()
        if now - self._asked > KEPT and not self._reading.locked():
            self._clear()
        self._asked = now

    async def _read(self, since: float) -> None:
        top = await self._down(None, self._top, since)
        self._top = max(self._top, top)
        if self._bottom is not None and since < self._floor:
            await self._down(self._bottom, 0, since)

    async def _down(self, before: int | None, until: int, since: float) -> int:
        """Read from before `before` back to `until` (a seq) or `since` (a time). Gives the newest seq found."""
        newest = 0
        reached_end = False
        limit = FIRST
        while page := await self._log.scan(self._pattern, limit=limit, before=before):
            newest = newest or page[0].seq
            for record in page:
                if record.seq <= until:
                    return newest
                self._ids.update(self._of(record))
                before = record.seq
                if self._bottom is None or record.seq < self._bottom:
                    self._bottom, self._floor = record.seq, record.time
                if record.time < since:
                    return newest
            reached_end = len(page) < limit
            if reached_end:
                break
            limit = min(4 * limit, PAGE)
        if before is None or reached_end or not page:
            self._floor = float("-inf")  # there is nothing older
        return newest


async def is_there(log: Log, subject: str, id: str, since: float) -> bool:
    """For a single question: whether a record with that id was stored since then. Raises `LogUnavailable`."""
    before: int | None = None
    while page := await log.scan(subject, limit=PAGE, before=before):
        for record in page:
            if record.time < since - SKEW:
                return False
            before = record.seq
            if id in ids_of(record):
                return True
    return False


def ids_of(record: Record) -> Iterable[str]:
    """What it was appended with; a schedule drops that when it fires, so it is in a header too."""
    return [one for one in (record.id, record.headers.get(ID)) if one is not None]
