"""Keeps the plans of commits few, and completes those whose process died. Every engine does this, now and then; doing it twice harms nobody.

A plan may go when nobody can ask for it any more: when each input that was delivered before it was stored has ended, and so long ago that no engine still
has a lease on it. So a round notes the newest plan and how far each consumer has got, and a later round, when all of them have ended that far, purges
up to that plan.

A round also has it kept how far each consumer has got (`Log.backlogs`): before the plans go that one needs which the broker has lost and gives again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from motia_runtime.commit import LEASE, Commits
from motia_runtime.naming import decode
from motia_runtime.orphans import STALE, Orphans, plans_of, read_note
from motia_runtime.ports import Clock, Log, LogUnavailable, Record

EVERY = 15.0  # seconds between rounds, while there are plans
SELDOM = 60.0  # seconds until the next one, when there are none: runs without effects have ended, too
LAST = 2.0  # seconds that the last look may take
HELD = 3 * LEASE  # seconds that a plan stays at least
PAGE = 500
TOGETHER = 32  # plans completed at once, which share what is read of the log

_log = logging.getLogger("motia.engine")


class _Horizon(msgspec.Struct, frozen=True):
    """Where things stood at one moment."""

    time: float
    newest: int  # plan
    delivered: dict[str, int]  # by consumer


class Sweeper:
    """Of one engine. Lives as long as it."""

    def __init__(self, log: Log, clock: Clock, commits: Commits, orphans: Orphans, engine: str) -> None:
        self._log = log
        self._clock = clock
        self._commits = commits
        self._orphans = orphans
        self._engine = engine
        self._horizon: _Horizon | None = None
        self._ended = False  # all inputs before the horizon had ended a round ago, so the broker has that on its disk
        self._purged = 0
        self._heard: dict[
            str, tuple[int, float]
        ] = {}  # engine -> seq of its note and when it was first seen, by our clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._commits.planned.set()  # others may have left something
        self._task = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            with contextlib.suppress(LogUnavailable, TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._log.backlogs(keep=True)

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                if not await self.round():
                    self._commits.planned.clear()
            except LogUnavailable as problem:
                _log.debug("plans are swept later: %s", problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SELDOM):
                    await self._commits.planned.wait()
            await self._clock.pause(EVERY)

    async def round(self) -> bool:
        """False: there is nothing left to come back for."""
        await self._orphans.finish_own(self._commits)
        oldest_open, waiting = await self._adopt()
        newest = await self._log.newest("tx")
        backlogs = await self._log.backlogs(keep=True)
        if self._horizon is None:
            if newest > self._purged:
                delivered = {name: backlog.delivered for name, backlog in backlogs.items()}
                self._horizon = _Horizon(self._clock.steady(), newest, delivered)
                self._ended = False
        elif self._clock.steady() - self._horizon.time >= HELD:
            if self._ended:
                through = min(self._horizon.newest, oldest_open - 1) if oldest_open else self._horizon.newest
                if through > self._purged:
                    await self._log.purge("tx.>", through=through)
                    self._purged = through
                self._horizon = None
            else:
                self._ended = all(
                    name not in backlogs or backlogs[name].ended >= seq for name, seq in self._horizon.delivered.items()
                )
        return waiting or self._horizon is not None or newest > self._purged

    async def _adopt(self) -> tuple[int, bool]:
        """Complete what engines that are gone have left. Gives the oldest plan that a living one has open (0: none), and whether there are any."""
        oldest = 0
        waiting = False
        for record in await self._log.lasts("rt.=t.*"):
            engine = decode(record.subject.rpartition(".")[2])
            note = read_note(record.data)
            seq, since = self._heard.get(engine, (0, 0.0))
            if seq != record.seq:
                since = self._clock.steady()
                self._heard[engine] = record.seq, since
            if engine != self._engine and self._clock.steady() - since > STALE:
                del self._heard[engine]
                await self._complete(engine, note.open or note.newest + 1)
                await self._log.delete("rt", record.seq)
                continue
            waiting |= engine != self._engine or note.open > 0
            if note.open:
                oldest = min(oldest or note.open, note.open)
        return oldest, waiting

    async def _complete(self, engine: str, since: int) -> None:
        left: list[Record] = []
        for pattern in plans_of(engine):
            before: int | None = None
            while page := await self._log.scan(pattern, limit=PAGE, before=before):
                left += [record for record in page if record.seq >= since]
                before = page[-1].seq
                if before < since:
                    break
        done = 0
        left.reverse()
        for start in range(0, len(left), TOGETHER):
            outcomes = await asyncio.gather(*map(self._finish, left[start : start + TOGETHER]), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                done += outcome
        if left:
            _log.warning(
                "looked at %d plans since an engine that is gone was last heard of: %d are complete now, the others came to nothing",
                len(left),
                done,
            )

    async def _finish(self, record: Record) -> bool:
        try:
            return await self._commits.finish(record)
        except msgspec.DecodeError as problem:
            _log.error("the plan %s can't be read and is left alone: %s", record.subject, problem)
            return False
