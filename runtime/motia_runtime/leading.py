"""Which of several engines does something alone: a record that expires at the broker unless it is renewed.

Who holds it stops by its own clock before it expires there, and who takes it over waits for that, so no two clocks are compared. It is no lock: an engine that is stopped
just after it has looked may act late. What it does then has to be harmless, as commits are.
"""

from __future__ import annotations

import asyncio

from motia_runtime.naming import encode
from motia_runtime.ports import Clock, Conflict, Log, LogUnavailable
from motia_runtime.state import DELETED, value_of

EXPIRES = 12.0  # seconds after which the broker forgets a leader that renews nothing
RENEWED = 3.0  # seconds between renewals
VALID = 10.0  # seconds after a renewal was sent for which it counts
ASKED = 2.0  # seconds between looks of those that wait


class Leadership:
    """Of one step, in one engine."""

    def __init__(self, log: Log, clock: Clock, step: str, me: str) -> None:
        self._log = log
        self._clock = clock
        self._subject = f"rt.=o.{encode(step)}"
        self._me = me.encode()
        self._seq = 0  # of our record
        self._until = float("-inf")
        self._lost = False

    @property
    def valid(self) -> bool:
        return not self._lost and self._clock.steady() < self._until

    def lose(self) -> None:
        """It may have been somebody else's meanwhile: it ends here, and is to be taken anew."""
        self._lost = True

    async def take(self) -> bool:
        """True: it is ours now. Raises `LogUnavailable`."""
        self._lost = False
        there = value_of(await self._log.last(self._subject))
        if there.data and there.data != self._me:
            return False
        return await self._write(there.revision)

    async def wait(self) -> None:
        """Until it is ours."""
        while True:
            try:
                if await self.take():
                    return
            except LogUnavailable:
                pass
            await self._clock.pause(ASKED)

    async def keep(self) -> None:
        """Renew it until it is lost."""
        while True:
            await self._clock.pause(RENEWED)
            if self._lost:
                return
            try:
                if not await self._write(self._seq):
                    return
            except LogUnavailable:
                pass  # it may come back in time
            if not self.valid:
                return

    async def release(self) -> None:
        """Let another engine have it at once."""
        if self._clock.steady() < self._until:
            self._until = float("-inf")
            try:
                await self._log.append(self._subject, b"", headers=DELETED, expect=self._seq)
            except (Conflict, LogUnavailable):
                return  # it expires

    async def _write(self, expect: int) -> bool:
        sent = self._clock.steady()
        try:
            self._seq = await self._log.append(self._subject, self._me, expect=expect, ttl=EXPIRES)
        except Conflict:
            self._until = float("-inf")
            return False
        self._until = sent + VALID
        return True


async def settled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
