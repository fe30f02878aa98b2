"""At most so many runs at once over all engines: each run has one of `limit` slots, a record in the broker that expires unless it is renewed.

    rt.=c.<step>.<key>.<number>      holds the name of the engine

Runs of one engine wait in lines, one a key, and hand their slots on without asking the broker: a slot costs two writes however many runs
it serves. An engine whose slots have served for a while lets others have them.

As with `leading`, who holds a slot stops counting on it by its own clock before it expires at the broker, so no two clocks are compared.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Coroutine, Iterator
from typing import Any

from motia_runtime.context import new_id
from motia_runtime.naming import encode
from motia_runtime.ports import Clock, Conflict, Log, LogUnavailable, Record
from motia_runtime.state import DELETED, is_deleted

EXPIRES = 12.0  # seconds after which the broker forgets a slot that nobody renews
RENEWED = 3.0  # seconds between renewals
VALID = 10.0  # seconds after a renewal was sent for which it counts
FIRST_LOOK, LAST_LOOK = 0.02, 0.2  # seconds between looks for a free slot, longer each time
TURN = 6.0  # seconds after which a slot is handed to another engine that looks for one
AWAY = 1.5 * LAST_LOOK  # seconds for which the others are let look then
KEPT = 0.05  # seconds for which one that nobody here waits for is kept for the next run
FORGOTTEN = 1.0  # seconds after which nothing is left of a free slot
KNOWN = 10_000  # slots of which is remembered that we freed them

_log = logging.getLogger("motia.engine")


class Slot:
    """Held by this engine, for one run at a time."""

    __slots__ = ("idle", "line", "number", "seq", "since", "until", "writing")

    def __init__(self, line: _Line, number: int, seq: int, since: float, until: float) -> None:
        self.line = line
        self.number = number
        self.seq = seq  # of its record; 0: lost
        self.since = since  # when it was taken, `Clock.steady`
        self.until = until  # when it counts no longer, `Clock.steady`
        self.idle = 0.0  # since when no run has it, `Clock.steady`
        self.writing = asyncio.Lock()


class _Line:
    """Runs of one key in this engine."""

    __slots__ = ("away", "held", "idle", "key", "looking", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.held: dict[int, Slot] = {}  # by number
        self.idle: list[Slot] = []  # of them, those that no run has; then none waits
        self.waiting: list[tuple[float, int, asyncio.Future[Slot]]] = []  # a heap
        self.looking: asyncio.Task[Any] | None = None  # the one that asks the broker
        self.away = 0.0  # until then others go first, `Clock.steady`


class Slots:
    """Of one step in one engine."""

    def __init__(self, step: str, limit: int, log: Log, clock: Clock) -> None:
        self._step = step
        self._limit = limit
        self._log = log
        self._clock = clock
        self._prefix = (
            f"rt.=c.{encode(step)}."  # "=c" is no encoded name, so no stream of the app's can have these subjects
        )
        self._me = new_id().encode()
        self._lines: dict[str, _Line] = {}
        self._freed: dict[str, tuple[int, float]] = {}  # subject -> seq of the record by which we freed it, and when
        self._order = itertools.count()
        self._renewing: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Task[None] | None = None
        self._idle: set[Slot] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def take_now(self, key: str) -> Slot | None:
        """A slot of this key, if one is free and nobody here waits for one. `give` it back. Raises `LogUnavailable`."""
        line = self._line(key)
        if (idle := self._reuse(line)) is not None:
            return idle
        if line.looking is not None or line.waiting or len(line.held) >= self._limit:
            return None
        line.looking = asyncio.current_task()
        try:
            return await self._try(line)
        finally:
            line.looking = None
            self._settle(line)

    async def take(self, key: str, urgency: float = 0.0) -> Slot:
        """Wait for a slot of this key; of those that wait here, the more urgent one gets it first. `give` it back."""
        line = self._line(key)
        if (idle := self._reuse(line)) is not None:
            return idle
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        heapq.heappush(line.waiting, (-urgency, next(self._order), future))
        self._settle(line)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give(future.result())
            raise

    def give(self, slot: Slot) -> None:
        """Its run has ended."""
        line, now = slot.line, self._clock.steady()
        if now - slot.since >= TURN:
            line.away = now + AWAY
        elif self._counts(slot) and not self._stopped:
            if not self._serve(slot):
                slot.idle = now
                line.idle.append(slot)
                self._idle.add(slot)
                if self._letting_go is None:
                    self._letting_go = asyncio.get_running_loop().create_task(self._let_go())
            return
        self._drop(slot)
        self._settle(line)

    async def stop(self) -> None:
        """All runs have ended: wait until the broker knows."""
        self._stopped = True
        for task in (self._renewing, self._letting_go):
            if task is not None:
                task.cancel()
        for slot in list(self._idle):
            self._rouse(slot)
            self._drop(slot)
        for line in list(self._lines.values()):
            if line.looking is not None:
                line.looking.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FORGOTTEN)
        for left in self._tasks:
            left.cancel()

    # -- lines

    def _line(self, key: str) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key)
        return line

    def _counts(self, slot: Slot) -> bool:
        return slot.seq > 0 and self._clock.steady() < slot.until

    def _reuse(self, line: _Line) -> Slot | None:
        while line.idle:
            slot = line.idle[-1]
            self._rouse(slot)
            if self._counts(slot):
                return slot
            self._drop(slot)
        return None

    def _rouse(self, slot: Slot) -> None:
        slot.line.idle.remove(slot)
        self._idle.discard(slot)

    def _drop(self, slot: Slot) -> None:
        del slot.line.held[slot.number]
        self._do(self._free(slot))

    async def _let_go(self) -> None:
        """Of those that are idle, while there are any."""
        while self._idle:
            await self._sleep(KEPT)
            before = self._clock.steady() - KEPT / 2
            for slot in [slot for slot in self._idle if slot.idle <= before]:
                self._rouse(slot)
                self._drop(slot)
                self._settle(slot.line)
        self._letting_go = None

    def _serve(self, slot: Slot) -> bool:
        """Have the first that waits run with it. False: nobody does."""
        waiting = slot.line.waiting
        while waiting:
            future = heapq.heappop(waiting)[-1]
            if not future.done():
                future.set_result(slot)
                return True
        return False

    def _settle(self, line: _Line) -> None:
        """Have somebody look for slots if there is use for them, or forget the line."""
        if line.looking is None:
            if line.waiting:
                if len(line.held) < self._limit:
                    line.looking = self._do(self._look(line))
            elif not line.held:
                self._lines.pop(line.key, None)

    async def _look(self, line: _Line) -> None:
        """Get slots from the broker while there are runs to use them."""
        pause = FIRST_LOOK
        try:
            while line.waiting and len(line.held) < self._limit:
                away = line.away - self._clock.steady()
                slot = None
                if away <= 0:
                    try:
                        slot = await self._try(line)
                    except LogUnavailable as problem:
                        _log.debug("%s: no slot for a run (%s); trying again", self._step, problem)
                        pause = LAST_LOOK
                if slot is None:
                    await self._sleep(max(away, pause * random.uniform(0.7, 1.0)))  # noqa: S311  # spreads load, hides nothing
                    pause = min(LAST_LOOK, pause * 1.5)
                else:
                    pause = FIRST_LOOK
                    if not self._serve(slot):
                        self.give(slot)
        finally:
            line.looking = None
        self._settle(line)

    async def _sleep(self, seconds: float) -> None:
        await self._clock.pause(seconds)

    # -- records

    def _subject(self, line: _Line, number: int) -> str:
        return f"{self._prefix}{encode(line.key)}.{number}"

    async def _try(self, line: _Line) -> Slot | None:
        """A slot that nobody holds, None when there is none. One at a time for each line."""
        start = random.randrange(self._limit)  # noqa: S311  # spreads engines over the slots, hides nothing
        first = next(number for number in self._from(start) if number not in line.held)
        slot = await self._claim(line, first, self._free_since(self._subject(line, first)))
        if slot is not None:
            return slot
        records = await self._log.lasts(f"{self._prefix}{encode(line.key)}.*")
        there = {int(record.subject.rpartition(".")[2]): record for record in records}
        for number in self._from(start):
            record = there.get(number)
            if number not in line.held and (record is None or self._is_free(record)):
                slot = await self._claim(line, number, record.seq if record else 0)
                if slot is not None:
                    return slot
        return None

    def _from(self, start: int) -> Iterator[int]:
        return (number % self._limit for number in range(start, start + self._limit))

    def _is_free(self, record: Record) -> bool:
        return is_deleted(record) or record.data == self._me  # what we don't know of ourselves was lost in an outage

    def _free_since(self, subject: str) -> int:
        """Seq of the record by which we have freed a slot ourselves; 0 when there is none any more."""
        seq, freed = self._freed.pop(subject, (0, 0.0))
        return seq if self._clock.steady() - freed < FORGOTTEN else 0

    async def _claim(self, line: _Line, number: int, expect: int) -> Slot | None:
        since = self._clock.steady()
        try:
            seq = await self._log.append(self._subject(line, number), self._me, expect=expect, ttl=EXPIRES)
        except Conflict:
            return None
        slot = line.held[number] = Slot(line, number, seq, since, since + VALID)
        if self._renewing is None and not self._stopped:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_all())
        return slot

    async def _free(self, slot: Slot) -> None:
        subject = self._subject(slot.line, slot.number)
        async with slot.writing:
            if not slot.seq:
                return
            try:
                seq = await self._log.append(subject, b"", headers=DELETED, expect=slot.seq, ttl=FORGOTTEN)
            except (Conflict, LogUnavailable):
                return  # it expires, or has
            slot.seq = 0
        self._freed[subject] = (seq, self._clock.steady())
        if len(self._freed) > KNOWN:
            del self._freed[next(iter(self._freed))]

    async def _renew_all(self) -> None:
        """While there are any."""
        while True:
            await self._sleep(RENEWED)
            held = [slot for line in self._lines.values() for slot in line.held.values()]
            if not held:
                self._renewing = None
                return
            await asyncio.gather(*map(self._renew, held))

    async def _renew(self, slot: Slot) -> None:
        async with slot.writing:
            sent = self._clock.steady()
            if not slot.seq or sent >= slot.until:
                return  # it is somebody else's, or may be
            subject = self._subject(slot.line, slot.number)
            try:
                slot.seq = await self._log.append(subject, self._me, expect=slot.seq, ttl=EXPIRES)
            except Conflict:
                slot.seq = 0
            except LogUnavailable:
                return  # it may come back in time
            else:
                slot.until = sent + VALID

    def _do(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
