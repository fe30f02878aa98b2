"""`debounce`: events wait until none has come for a while, and only the newest of them is handled.

Each event that is the newest so far takes note of that in one record for the step, by compare-and-set, and is handed on to the time at which it
would have been quiet long enough. Coming back, it runs if it still is the newest, and is dropped otherwise. So every event of a burst has
a delivery of its own that only ends when a newer one is on record, and a crash anywhere loses none.

An engine keeps the event that waits in a slot of its own, where its next one takes the place: at most one event per engine waits. One slot for
all of them would not do, since two engines may fill it in another order than they wrote the record, and the newest would be lost.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

import msgspec

from motia_runtime.context import new_id
from motia_runtime.controls.control import Arrival, Control, Input, Unreadable
from motia_runtime.naming import encode
from motia_runtime.ports import Clock, Conflict, Log
from motia_spec.model import Debounce

_BEFORE = ("", "delay", "debounce", "park")  # how an event comes that has not been let pass yet
_NUMBERED = re.compile(r"(.*?)(\d*)", re.DOTALL)


class Burst(msgspec.Struct, frozen=True):
    """The newest event that the step has had, and the burst that it belongs to."""

    event: str
    seen: float  # when it was first stored, seconds since the epoch
    since: float | None  # when the first event of the burst came; None: it is over, this event was let pass


class _Waiting(NamedTuple):
    """What this engine has put into its slot last."""

    arrival: Arrival
    since: float
    due: float


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Burst).decode


class NewestOfBurst(Control):
    def __init__(self, step: str, debounce: Debounce, log: Log, clock: Clock) -> None:
        self._debounce = debounce
        self._log = log
        self._clock = clock
        self._subject = (
            f"rt.=b.{encode(step)}"  # "=b" is no encoded name, so no stream of the app's can have this subject
        )
        self._slot = f"deb.{encode(step)}.{new_id()}"
        self._turn = asyncio.Lock()
        self._known: tuple[Burst | None, int] = (None, 0)  # the record as last seen, and its revision
        self._newest: Input | None = None  # of those in hand here
        self._waiting: _Waiting | None = None

    async def admit(self, arrival: Arrival) -> bool:
        asked = arrival.asked
        if asked.attempt > 1 or asked.redrives or arrival.came_by.partition(":")[0] not in _BEFORE:
            return True  # it was let pass before
        try:
            arrival.value  # noqa: B018  # one that nobody can read takes nobody's place
        except Unreadable:
            return True
        if self._newest is None or not older(asked, self._newest):
            self._newest = asked
        async with self._turn:
            if asked is not self._newest and older(asked, self._newest):
                arrival.hands.drop(arrival, "debounced")
                return False
            while True:
                try:
                    return await self._decide(arrival)
                except Conflict:
                    record = await self._log.last(self._subject)
                    self._known = (None, 0) if record is None else (_decode(record.data), record.seq)

    async def _decide(self, arrival: Arrival) -> bool:
        asked, now, debounce = arrival.asked, self._clock.time(), self._debounce
        burst, _ = self._known
        if burst is not None and asked.event_id != burst.event and older(asked, burst):
            arrival.hands.drop(arrival, "debounced")
            return False
        is_newest = burst is not None and burst.event == asked.event_id
        if is_newest and burst is not None and burst.since is None:
            return True  # let pass before, by a process that died
        since = now if burst is None or burst.since is None else burst.since
        last = float("inf") if debounce.max is None else since + debounce.max
        if arrival.came_by == "debounce" or now >= last:
            await self._note(Burst(asked.event_id, asked.first_seen, None))
            return True
        if not is_newest:
            await self._note(Burst(asked.event_id, asked.first_seen, since))
        await self._wait(arrival, since, min(now + debounce.wait, last))
        return False

    async def _note(self, burst: Burst) -> None:
        seq = await self._log.append(self._subject, _encode(burst), expect=self._known[1])
        self._known = (burst, seq)

    async def _wait(self, arrival: Arrival, since: float, due: float) -> None:
        before, now = self._waiting, self._clock.time()
        await arrival.hands.hand_on(arrival, due, why="debounce", slot=self._slot)
        self._waiting = _Waiting(arrival, since, due)
        if (
            before
            and before.since == since
            and now < before.due
            and before.arrival.asked.event_id != arrival.asked.event_id
        ):
            arrival.hands.note(before.arrival, "debounced")


def older(one: Input, other: Input | Burst) -> bool:
    """Was the one stored before the other? Only if number and time agree: clocks may be set back, and a stream may be made anew."""
    event, seen = (other.event, other.seen) if isinstance(other, Burst) else (other.event_id, other.first_seen)
    kind, number = _number(one.event_id)
    other_kind, other_number = _number(event)
    return kind == other_kind and number < other_number and one.first_seen <= seen


def _number(event_id: str) -> tuple[str, int]:
    """The number of the event's record, which its id ends with, and what stands before it."""
    found = _NUMBERED.fullmatch(event_id)
    assert found is not None
    return found[1], int(found[2] or 0)
