"""Plans of runs that no input repeats: those of api steps. When their process dies in mid-commit, another engine completes them.

Each engine keeps a note, `rt.=t.<engine>`, of which of its plans are still open, renewed while there are any. A note that is not renewed means that its
engine is gone (or idle, and then all is done): `sweep` completes what it left behind. Plans are at `tx.=a.<engine>.<number>`; those of requests with an
idempotency key at `tx.=i.<step>.<key>.<claim>`, where whoever takes the claim over looks for them; those that end a task at `tx.=h.<step>.<task>`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from motia_runtime.naming import encode
from motia_runtime.ports import Clock, Log, LogUnavailable

if TYPE_CHECKING:
    from motia_runtime.commit import Commits

RENEWED = 5.0  # seconds between notes while plans are open
STALE = 45.0  # seconds after which an engine that has plans and renews nothing counts as gone
KEPT = 7 * 86_400.0  # seconds that a note stays


class Note(msgspec.Struct, frozen=True):
    """Of one engine. All of its plans up to `newest` are done, but those from `open` on (0: none is open). Of one that is being stored, or was and nobody
    knows whether, `open` is no more than its seq would be."""

    newest: int
    open: int


_encode = msgspec.json.Encoder().encode
read_note = msgspec.json.Decoder(Note).decode


def note_subject(engine: str) -> str:
    return f"rt.=t.{encode(engine)}"


def plans_of(engine: str) -> tuple[str, ...]:
    """Patterns of all plans of an engine that no input repeats, and of those of requests with a key and of tasks, whichever engine's: doing them twice harms
    nobody."""
    return f"tx.=a.{encode(engine)}.*", "tx.=i.>", "tx.=h.>"


class Orphans:
    """Of this engine. Lives as long as it."""

    def __init__(self, log: Log, clock: Clock, engine: str) -> None:
        self._log = log
        self._clock = clock
        self._engine = engine
        self._number = 0
        self._open: dict[str, int] = {}  # subject -> seq; while that is not known, one that it will be no less than
        self._unknown: set[str] = set()  # of them, those whose outcome nobody knows
        self._newest = 0
        self._noted = float("-inf")
        self._noting: asyncio.Lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def place(self, subject: str | None = None) -> AsyncIterator[tuple[str, Callable[[int], None]]]:
        """A subject for a plan, unless it has one (`tx.=i.`, `tx.=h.`), and whom to tell its seq. The plan is done when the block ends, unless with
        `LogUnavailable` or cancelled: then nobody knows, and it stays open for who sweeps. Raises `LogUnavailable`."""
        if self._clock.steady() - self._noted > RENEWED:
            await self._note()
        if subject is None:
            self._number += 1
            subject = f"tx.=a.{encode(self._engine)}.{self._number}"
        self._open[subject] = self._newest + 1
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

        def seen(seq: int) -> None:
            self._open[subject] = seq
            self._newest = max(self._newest, seq)

        try:
            yield subject, seen
        except (LogUnavailable, asyncio.CancelledError):
            self._unknown.add(subject)
            raise
        except BaseException:
            self._open.pop(subject, None)
            raise
        else:
            self._open.pop(subject, None)

    async def finish_own(self, commits: Commits) -> None:
        """Complete those of this engine that ended in an outage. Raises `LogUnavailable`: later, then."""
        for subject in list(self._unknown):
            record = await self._log.last(subject)
            if record is not None:
                await commits.finish(record)
            self._unknown.discard(subject)
            self._open.pop(subject, None)

    async def _note(self) -> None:
        async with self._noting:
            note = Note(self._newest, min(self._open.values(), default=0))
            at = self._clock.steady()
            await self._log.append(note_subject(self._engine), _encode(note), ttl=KEPT)
            self._noted = at

    async def _renew(self) -> None:
        """Until nothing is open and the note says so."""
        try:
            while True:
                idle = not self._open
                await self._clock.pause(RENEWED)
                with contextlib.suppress(LogUnavailable):
                    await self._note()
                    if idle and not self._open:
                        return
        finally:
            self._renewing = None

    async def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        if self._newest:
            with contextlib.suppress(LogUnavailable):
                await self._note()
