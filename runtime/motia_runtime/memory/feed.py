"""`ports.Feed` in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from motia_runtime.memory.parts import Part, fits
from motia_runtime.naming import check_pattern, check_subject
from motia_runtime.ports import Clock, Position, Record, Snapshot


class MemoryFeed:
    """Of one `MemoryLog`; `part` holds its items. What happens is told in the next turn of the loop, in order."""

    def __init__(self, clock: Clock, part: Part) -> None:
        self._clock = clock
        self._part = part
        self._hearing: list[Callable[[str, bytes], None]] = []

    async def position(self) -> Position:
        return Position(self._part.top, self._clock.time())

    async def snapshot(self, pattern: str) -> Snapshot:
        check_pattern(pattern)
        part = self._part
        found = [part.records[seqs[-1]] for subject, seqs in part.subjects.items() if fits(subject, pattern)]
        return Snapshot(found, await self.position())

    def follow(self, seen: Callable[[Record | None], None]) -> Callable[[], None]:
        part, following = self._part, True
        loop = asyncio.get_running_loop()

        def tell(record: Record) -> None:
            if following:
                seen(record)

        def stored() -> None:
            loop.call_soon(tell, part.records[part.top])

        def stop() -> None:
            nonlocal following
            following = False
            part.stored.remove(stored)

        part.stored.append(stored)
        return stop

    def tell(self, subject: str, data: bytes) -> None:
        check_subject(subject)
        if not subject.startswith("live."):
            raise ValueError(f"only events of streams are told and not stored: not {subject!r}")
        loop = asyncio.get_running_loop()
        for heard in list(self._hearing):
            loop.call_soon(self._pass_on, heard, subject, bytes(data))

    def _pass_on(self, heard: Callable[[str, bytes], None], subject: str, data: bytes) -> None:
        if heard in self._hearing:
            heard(subject, data)

    def hear(self, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        self._hearing.append(heard)
        return lambda: self._hearing.remove(heard)
