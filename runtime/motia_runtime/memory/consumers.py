"""Durable consumers in memory: where each stands, and what it has out."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from motia_runtime.clock import Timer, Timers
from motia_runtime.memory.parts import Part, fits
from motia_runtime.ports import Backlog, Clock, Delivery, Record


class Durable:
    """Where a consumer of one name stands, over all of its running instances."""

    def __init__(self, clock: Clock, timers: Timers, ack_wait: float, part: Part) -> None:
        self.clock = clock
        self.timers = timers
        self.ack_wait = ack_wait
        self.part = part
        self.patterns: tuple[str, ...] = ()
        self.most: int | None = None
        self.next = part.top + 1
        self.delivered = part.top  # seq of the newest one
        self.made = 0  # deliveries
        self.paused_until = 0.0
        self.open: dict[int, int] = {}  # seq -> how often delivered; not ended
        self._again: list[int] = []  # heap of those to be delivered once more
        self._running: list[Running] = []
        self._awake = False

    def backlog(self) -> Backlog:
        waiting = sum(seq >= self.next and self.wants(record) for seq, record in self.part.records.items())
        ended = min(self.open) - 1 if self.open else self.delivered
        redelivered = sum(times > 1 for times in self.open.values())
        until = self.paused_until if self._paused() else 0.0
        return Backlog(waiting, len(self.open), self.delivered, ended, until, redelivered)

    def pause(self, until: float) -> None:
        self.paused_until = until
        if self._paused():
            self.timers.at(until, self.wake)
        else:
            self.wake()

    def _paused(self) -> bool:
        return self.paused_until > self.clock.time()

    def wants(self, record: Record) -> bool:
        return any(fits(record.subject, pattern) for pattern in self.patterns)

    def join(self, deliver: Callable[[Delivery], None], credit: int, *, alone: bool = False) -> Running:
        running = Running(self, deliver, credit)
        if alone and credit:
            self._running.clear()
        self._running.append(running)
        self.wake()
        return running

    def leave(self, running: Running) -> None:
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
        while not self._paused() and (free := [running for running in self._running if running.credit > 0]):
            record = self._take()
            if record is None:
                return
            self._running.remove(free[0])
            self._running.append(free[0])  # the others first, next time
            self.open[record.seq] = self.open.get(record.seq, 0) + 1
            self.made += 1
            free[0].give(_Delivery(self, record, self.open[record.seq]))

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
                self.delivered = record.seq
                return record
        return None


class Running:
    """`ports.Consumer`."""

    def __init__(self, durable: Durable, deliver: Callable[[Delivery], None], credit: int) -> None:
        self._durable = durable
        self._deliver = deliver
        self.credit = credit

    def give(self, delivery: _Delivery) -> None:
        self.credit -= 1
        self._deliver(delivery)

    def resume(self, credit: int) -> None:
        self.credit += credit
        self._durable.wake()

    async def stop(self) -> None:
        self._durable.leave(self)


class _Delivery:
    """`ports.Delivery`."""

    __slots__ = ("_durable", "_ended", "_wait", "delivered", "nth", "record")

    def __init__(self, durable: Durable, record: Record, delivered: int) -> None:
        self.record = record
        self.delivered = delivered
        self.nth = durable.made
        self._durable = durable
        self._ended = False
        self._wait = self._start()

    def _start(self) -> Timer:
        durable, seq = self._durable, self.record.seq

        def overdue() -> None:
            durable.give_back(seq)

        return durable.timers.at(durable.clock.time() + durable.ack_wait, overdue)

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
            durable, seq = self._durable, self.record.seq
            if delay > 0:
                durable.timers.at(durable.clock.time() + delay, lambda: durable.give_back(seq))
            else:
                durable.give_back(seq)

    def term(self, reason: str) -> None:
        self.ack()

    def touch(self) -> None:
        if self._current():
            self._wait = self._start()
