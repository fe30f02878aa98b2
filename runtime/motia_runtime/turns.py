"""Runs that were beaten to a key of state begin again one after the other, so that each finds the key as it will still be when it commits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from contextlib import suppress

AT_ONCE = 48  # commits beside those of runs that have their turn


class Turns:
    """The lines of one engine, first come, first served. Other engines have their own: what they write in between is a conflict once more."""

    def __init__(self) -> None:
        self._lines: dict[
            str, deque[asyncio.Future[None]]
        ] = {}  # by key: those who wait, behind the one whose turn it is

    def taken(self, key: str) -> bool:
        return key in self._lines

    @property
    def any(self) -> bool:
        """Whether somebody has a turn at anything."""
        return bool(self._lines)

    async def take(self, keys: Collection[str]) -> tuple[str, ...]:
        """Wait for the turn at all of these keys. `give` it back."""
        taken: list[str] = []
        try:
            for key in sorted(keys):  # all in one order, so that no two wait for each other
                line = self._lines.get(key)
                if line is None:
                    self._lines[key] = deque()
                else:
                    await self._wait(line, key)
                taken.append(key)
        except BaseException:
            self.give(taken)
            raise
        return tuple(taken)

    async def _wait(self, line: deque[asyncio.Future[None]], key: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give((key,))  # it had come
            else:
                with suppress(ValueError):  # `give` has gone past it
                    line.remove(turn)
            raise

    def give(self, keys: Collection[str]) -> None:
        for key in keys:
            line = self._lines[key]
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    break
            else:
                del self._lines[key]


class Gate:
    """Who commits while others have their turn at a key: few at a time, first come, first served. Nobody is held up when no turn is taken.

    A run that has its turn waits for two answers of the broker before the next one may begin, and each of them stands in line behind all else that this process does:
    with hundreds of commits under way that takes tens of milliseconds, so a key changes some dozen times a second, and its step falls behind all others."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """`leave` again."""
        if self._inside < AT_ONCE or not self._turns.any:
            self._inside += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # it had been let in
            raise

    def leave(self) -> None:
        self._inside -= 1
        while self._waiting and (self._inside < AT_ONCE or not self._turns.any):
            place = self._waiting.popleft()
            if not place.done():
                self._inside += 1
                place.set_result(None)
