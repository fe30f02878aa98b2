"""An engine's log on which anything can go wrong, at any call: for attacks on the commit protocol. Several of these stand on one real log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from motia_runtime.ports import (
    Backlog,
    Clock,
    Consumer,
    Delivery,
    Entry,
    Feed,
    Headers,
    Log,
    LogUnavailable,
    Record,
    Scheduled,
)

T = TypeVar("T")

STILL = 30.0  # seconds of a pause after which its engine has lost touch
KINDS = ("die before", "die after", "reply lost", "refused", "pause before", "pause after")


class FaultyLog:
    """`ports.Log`. Counts the calls that matter (`trail` names them) and does `kind` at number `at`, once.

    Dead: nothing that its engine does has any effect, or an end. Paused: nothing of it moves until `wake`. Then what was under way goes on."""

    def __init__(self, log: Log, kind: str = "", at: int = -1) -> None:
        self._log = log
        self.clock: Clock | None = getattr(log, "clock", None)
        self._asleep = 0.0
        self._in_touch = -math.inf
        self._cut = 0  # connections that the broker has closed
        self._arrived: list[tuple[Callable[[Delivery], None], Delivery]] = []  # in a pause
        self._kind = kind
        self._at = at
        self.trail: list[str] = []
        self.happened = False
        self.dead = False
        self._awake = asyncio.Event()
        self._awake.set()

    def wake(self) -> None:
        """Go on. After a long pause the broker has closed the connection: what had not been answered fails, and what it had sent before is handed
        over first, as from a socket's buffer."""
        if self._awake.is_set():
            return
        self._cut += self.clock is not None and self.clock.steady() - self._asleep > STILL
        self._awake.set()
        arrived, self._arrived = self._arrived, []
        for deliver, delivery in arrived:
            deliver(delivery)
        if self._cut and self.clock is not None:
            self._in_touch = self.clock.steady() + 1e-6

    def _fall_asleep(self) -> None:
        self._awake.clear()
        if self.clock is not None:
            self._asleep = self.clock.steady()

    @property
    def in_touch_since(self) -> float:
        return self._in_touch

    @property
    def still(self) -> bool:
        return self.dead or not self._awake.is_set()

    async def _stand(self) -> None:
        if self.dead:
            await asyncio.Event().wait()
        cut = self._cut
        await self._awake.wait()
        if self._cut > cut:
            raise LogUnavailable("the connection was closed meanwhile")

    async def _do(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        await self._stand()
        self.trail.append(name)
        kind = self._kind if len(self.trail) - 1 == self._at else ""
        if kind:
            self.happened = True
        if kind == "die before":
            self.dead = True
        elif kind == "refused":
            raise LogUnavailable("refused for the test")
        elif kind == "pause before":
            self._fall_asleep()
        await self._stand()
        result = await call()
        if kind == "die after":
            self.dead = True
        elif kind == "pause after":
            self._fall_asleep()
        await self._stand()
        if kind == "reply lost":
            raise LogUnavailable("the answer is lost for the test")
        return result

    # -- what can go wrong

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
    ) -> Awaitable[int]:
        async def call() -> int:
            return await self._log.append(
                subject, data, headers=headers, id=id, expect=expect, at=at, slot=slot, ttl=ttl
            )

        return asyncio.ensure_future(self._do(f"append {subject}", call))

    async def append_all(self, entries: Sequence[Entry]) -> None:
        await self._do("append_all", lambda: self._log.append_all(entries))

    async def last(self, subject: str) -> Record | None:
        return await self._do(f"last {subject}", lambda: self._log.last(subject))

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
        def through(delivery: Delivery) -> None:
            if not self.still:
                deliver(_Delivery(self, delivery))
            elif not self.dead:
                self._arrived.append((deliver, _Delivery(self, delivery)))

        consumer = await self._log.consume(name, subjects, through, credit=credit, exclusive=exclusive, alone=alone)
        return _Consumer(self, consumer)

    # -- what can't

    @property
    def max_size(self) -> int:
        return self._log.max_size

    def connected(self) -> bool:
        return not self.still

    @property
    def feed(self) -> Feed:
        return self._log.feed

    def note(self, subject: str, data: bytes) -> None:
        if not self.still:
            self._log.note(subject, data)

    async def lasts(self, pattern: str) -> list[Record]:
        await self._stand()
        return await self._log.lasts(pattern)

    async def history(self, subject: str) -> list[Record]:
        await self._stand()
        return await self._log.history(subject)

    async def scan(self, pattern: str, *, limit: int, before: int | None = None) -> list[Record]:
        await self._stand()
        return await self._log.scan(pattern, limit=limit, before=before)

    async def since(self, pattern: str, *, after: int, limit: int) -> list[Record]:
        await self._stand()
        return await self._log.since(pattern, after=after, limit=limit)

    async def get(self, part: str, seq: int) -> Record | None:
        await self._stand()
        return await self._log.get(part, seq)

    async def delete(self, part: str, seq: int) -> bool:
        await self._stand()
        return await self._log.delete(part, seq)

    async def scheduled(self, pattern: str, *, limit: int) -> list[Scheduled]:
        await self._stand()
        return await self._log.scheduled(pattern, limit=limit)

    async def cancel(self, slot: str) -> bool:
        await self._stand()
        return await self._log.cancel(slot)

    async def purge(self, pattern: str, *, through: int) -> int:
        await self._stand()
        return await self._log.purge(pattern, through=through)

    async def counts(self, pattern: str) -> dict[str, int]:
        await self._stand()
        return await self._log.counts(pattern)

    async def newest(self, part: str) -> int:
        await self._stand()
        return await self._log.newest(part)

    def watch(self, pattern: str, seen: Callable[[str | None], None]) -> Callable[[], None]:
        def through(subject: str | None) -> None:
            if not self.still:
                seen(subject)

        return self._log.watch(pattern, through)

    async def pause(self, name: str, until: float) -> None:
        await self._stand()
        await self._log.pause(name, until)

    async def backlog(self, name: str) -> Backlog:
        await self._stand()
        return await self._log.backlog(name)

    async def backlogs(self, *, keep: bool = False) -> dict[str, Backlog]:
        await self._stand()
        return await self._log.backlogs(keep=keep)


class _Delivery:
    """`ports.Delivery`. The ack is a moment like any other."""

    def __init__(self, log: FaultyLog, delivery: Delivery) -> None:
        self._log = log
        self._delivery = delivery

    @property
    def record(self) -> Record:
        return self._delivery.record

    @property
    def delivered(self) -> int:
        return self._delivery.delivered

    @property
    def nth(self) -> int:
        return self._delivery.nth

    def _end(self, name: str, end: Callable[[], None]) -> None:
        log = self._log
        if log.still:
            return
        log.trail.append(name)
        kind = log._kind if len(log.trail) - 1 == log._at else ""
        if kind:
            log.happened = True
        if kind in ("", "die after", "pause after"):
            end()
        if kind.startswith("die"):
            log.dead = True
        elif kind.startswith("pause"):
            log._fall_asleep()

    def ack(self) -> None:
        self._end("ack", self._delivery.ack)

    def nak(self, delay: float) -> None:
        if not self._log.still:
            self._delivery.nak(delay)

    def term(self, reason: str) -> None:
        self._end("term", lambda: self._delivery.term(reason))

    def touch(self) -> None:
        if not self._log.still:
            self._delivery.touch()


class _Consumer:
    def __init__(self, log: FaultyLog, consumer: Consumer) -> None:
        self._log = log
        self._consumer = consumer

    def resume(self, credit: int) -> None:
        if not self._log.still:
            self._consumer.resume(credit)

    async def stop(self) -> None:
        await self._consumer.stop()
