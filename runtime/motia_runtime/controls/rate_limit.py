"""`rateLimit`: so many requests of one key in each window of time, over all instances, never more.

How many of a window are given away stands in one record for each key, `rt.=r.<step>.<key>`, changed by compare-and-set. An instance takes several at a
time, more as it uses them up, and answers from these without asking the broker; once all are given away, it says no without asking until the window ends.
What an instance has taken and not used is lost to the others for that window, so it takes no more at a time than it has used before, than an eighth of
what is left, and than the limit allows in a second.

Windows are as long as `per`, counted from the epoch by the clock of the instance that is ahead.
"""

from __future__ import annotations

import asyncio
import contextlib
import math

import msgspec

from motia_runtime.naming import encode
from motia_runtime.ports import Clock, Conflict, Log, LogUnavailable
from motia_spec.model import RateLimit

KEYS = 10_000  # of one step in one instance; the one that was asked for longest ago is forgotten, with what was taken for it
SHARE = 8  # of what is left, an instance takes this part at a time
SLACK = 60.0  # seconds that a record outlives its window, for clocks that differ


class Verdict(msgspec.Struct, frozen=True):
    allowed: bool
    remaining: int  # in this window, as far as this instance knows
    reset: float  # seconds until the next window


class _Count(msgspec.Struct, array_like=True, frozen=True):
    """The record."""

    window: int
    taken: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Count).decode


class _Bucket:
    """One key in one instance."""

    __slots__ = ("asking", "seq", "size", "taken", "tokens", "waiting", "window")

    def __init__(self) -> None:
        self.window = -1
        self.tokens = 0  # ours, not used yet
        self.taken = 0  # of the window, by all instances, as of record `seq`
        self.seq = 0
        self.size = 1  # to take next
        self.waiting = 0
        self.asking: asyncio.Task[None] | None = None


class Limiter:
    """Of one step in one engine. Lives as long as it."""

    def __init__(self, step: str, rate: RateLimit, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self.rate = rate
        self._most = max(1, int(rate.limit / rate.per))  # taken at a time
        # "=r" is no encoded name, so no stream of the app's can have these subjects
        self._prefix = f"rt.=r.{encode(step)}."
        self._buckets: dict[str, _Bucket] = {}

    def take_now(self, key: str) -> Verdict | None:
        """May one more request go on? None: that needs `take`."""
        buckets = self._buckets
        bucket = buckets.pop(key, None) or _Bucket()
        buckets[key] = bucket  # the newest now
        if len(buckets) > KEYS:
            del buckets[next(iter(buckets))]
        self._turn(bucket)
        if bucket.tokens:
            bucket.tokens -= 1
            return self._verdict(bucket, True)
        return self._verdict(bucket, False) if bucket.taken >= self.rate.limit else None

    async def take(self, key: str) -> Verdict:
        """As `take_now`, asking the broker. Raises `LogUnavailable` when it can't say."""
        while (verdict := self.take_now(key)) is None:
            bucket = self._buckets[key]
            bucket.waiting += 1
            try:
                if bucket.asking is None:
                    bucket.asking = asyncio.get_running_loop().create_task(
                        self._ask(self._prefix + encode(key), bucket)
                    )
                    bucket.asking.add_done_callback(_heard)
                await asyncio.shield(bucket.asking)
            finally:
                bucket.waiting -= 1
        return verdict

    def _turn(self, bucket: _Bucket) -> None:
        window = int(self._clock.time() / self.rate.per)
        if bucket.window < window:
            bucket.window, bucket.tokens, bucket.taken = window, 0, 0
            bucket.size = max(1, bucket.size // 2)

    def _verdict(self, bucket: _Bucket, allowed: bool) -> Verdict:
        left = max(0, self.rate.limit - bucket.taken) + bucket.tokens
        return Verdict(allowed, left, max(0.0, (bucket.window + 1) * self.rate.per - self._clock.time()))

    async def _ask(self, subject: str, bucket: _Bucket) -> None:
        """Take some for all who wait, or learn that none are left."""
        try:
            if not self._log.connected():
                raise LogUnavailable("the broker can't be reached, so nobody can say how many requests there were")
            while True:
                self._turn(bucket)
                window, left = bucket.window, self.rate.limit - bucket.taken
                some = min(left, max(bucket.waiting, min(bucket.size, self._most, left // SHARE + 1)))
                if some <= 0:
                    return
                if await self._write(subject, bucket, _Count(window, bucket.taken + some)):
                    bucket.size *= 2
                    if bucket.window == window:  # else they are of the past
                        bucket.taken += some
                        bucket.tokens += some
                    return
                await self._learn(subject, bucket)
        finally:
            bucket.asking = None

    async def _write(self, subject: str, bucket: _Bucket, count: _Count) -> bool:
        """False: another instance has written since."""
        ttl = max(1.0, (count.window + 1) * self.rate.per - self._clock.time() + SLACK)
        try:
            bucket.seq = await self._log.append(subject, _encode(count), expect=bucket.seq, ttl=ttl)
        except Conflict:
            return False
        return True

    async def _learn(self, subject: str, bucket: _Bucket) -> None:
        record = await self._log.last(subject)
        if record is None:
            bucket.seq = bucket.taken = 0
            return
        count = _decode(record.data)
        bucket.seq = record.seq
        if count.window > bucket.window:
            bucket.window, bucket.tokens = count.window, 0
        bucket.taken = count.taken if count.window == bucket.window else 0

    async def stop(self) -> None:
        """Give back what was taken and not used, unless the broker is away."""
        with contextlib.suppress(LogUnavailable):
            for key, bucket in self._buckets.items():
                self._turn(bucket)
                if bucket.tokens and self._log.connected():
                    left, bucket.tokens = bucket.taken - bucket.tokens, 0
                    await self._write(self._prefix + encode(key), bucket, _Count(bucket.window, left))


class RateLimits:
    """Those of one engine, by step."""

    def __init__(self) -> None:
        self.by_step: dict[str, Limiter] = {}

    async def stop(self) -> None:
        await asyncio.gather(*(limiter.stop() for limiter in self.by_step.values()))


def _heard(task: asyncio.Task[None]) -> None:
    """Who waited has been told, unless all of them were cancelled."""
    if not task.cancelled():
        task.exception()


def seconds_up(seconds: float) -> int:
    """As HTTP counts them."""
    return max(1, math.ceil(seconds))
