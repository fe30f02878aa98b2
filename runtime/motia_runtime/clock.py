"""Time as the engine sees it: the machine's, or one that a test turns by hand."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from motia_runtime.ports import Clock, Feed, LogUnavailable

LONGEST = 60.0  # seconds slept at a time, so that a clock that was set is noticed
NEAR = 0.5  # seconds that two clocks may differ
ASKED = 10.0  # seconds between looks at the broker's clock
ASKING = 1.0  # seconds an answer may take that tells the time
ROUNDS = 100  # turns of the event loop that work set off by a due time is given


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """As `Clock.steady`, of this machine."""
    return time.clock_gettime(_STEADY)


class SystemClock:
    """The time of the machine's wall clock when this was made, and what has passed since; the broker's while it is `following` that. So no step of the
    machine's clock moves it, and a delay is as long as it says, though the broker is told a time of day."""

    def __init__(self) -> None:
        self._epoch = time.time() - steady()

    def time(self) -> float:
        return steady() + self._epoch

    def set(self, now: float) -> None:
        """It is now so late, in seconds since the epoch; ignored when that is nothing new."""
        if abs(now - self.time()) > NEAR:
            self._epoch = now - steady()

    def steady(self) -> float:
        return steady()

    async def sleep_until(self, when: float) -> None:
        while (left := when - self.time()) > 0:  # noqa: ASYNC110  # waits for a time, not for somebody
            await asyncio.sleep(min(left, LONGEST))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def following(clock: SystemClock, feed: Feed) -> AsyncIterator[None]:
    """The clock goes by the broker's for as long as the block lasts, where that can be asked."""

    async def ask() -> None:
        with contextlib.suppress(LogUnavailable):
            asked = steady()
            position = await feed.position()
            took = steady() - asked
            if took < ASKING:
                clock.set(position.time + took / 2)

    async def keep_asking() -> None:
        while True:
            await asyncio.sleep(ASKED)
            await ask()

    await ask()
    asking = asyncio.create_task(keep_asking())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait([asking])


class VirtualClock:
    """Stands still until `advance`. One event loop, one test.

    `settle` is awaited after each due time so that what it set off can finish; replace it when you know better than to wait a number of
    turns of the event loop when all is quiet."""

    def __init__(self, start: float = 1_700_000_000.0, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        self._now = start
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self.settle = settle or _yield_to_the_loop

    def time(self) -> float:
        return self._now

    def steady(self) -> float:
        return self._now

    async def sleep_until(self, when: float) -> None:
        if when <= self._now:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (when, next(self._order), future))
        await future

    async def pause(self, seconds: float) -> None:
        await self.sleep_until(self._now + seconds)

    def next_due(self) -> float | None:
        """When the next sleeper wakes; None when nobody sleeps."""
        while self._sleeping and self._sleeping[0][2].done():
            heapq.heappop(self._sleeping)
        return self._sleeping[0][0] if self._sleeping else None

    async def advance(self, seconds: float) -> None:
        """Let this much time pass: everything due meanwhile runs, in order, each at its own time."""
        until = self._now + seconds
        await self.settle()
        while (due := self.next_due()) is not None and due <= until:
            self._now = max(self._now, due)
            while (now := self.next_due()) is not None and now <= self._now:
                heapq.heappop(self._sleeping)[2].set_result(None)
            await self.settle()
        self._now = until
        await self.settle()


async def _yield_to_the_loop() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class Timers:
    """Calls functions at times of a clock: one task for all of them, none while nothing is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._until = 0.0

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        timer = Timer(self, call)
        heapq.heappush(self._due, (when, next(self._order), timer))
        self._sleep()
        return timer

    def close(self) -> None:
        """Forget all of them."""
        self._due.clear()
        self._sleep()

    def _sleep(self) -> None:
        while self._due and self._due[0][2].call is None:
            heapq.heappop(self._due)
        if self._task is not None and (not self._due or self._due[0][0] != self._until):
            self._task.cancel()
            self._task = None
        if self._task is None and self._due:
            self._until = self._due[0][0]
            self._task = asyncio.get_running_loop().create_task(self._wake(self._until))

    async def _wake(self, when: float) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._clock.sleep_until(when)
            self._task = None
            while self._due and self._due[0][0] <= self._clock.time():
                call = heapq.heappop(self._due)[2].take()
                if call is not None:
                    call()
            self._sleep()


class Timer:
    """One call that is due once."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self._timers._sleep()

    def take(self) -> Callable[[], object] | None:
        call, self.call = self.call, None
        return call
