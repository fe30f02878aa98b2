"""`concurrency`: at most `limit` runs at once over all engines, or with `key` so many for each value there (`slots`)."""

from __future__ import annotations

from motia_runtime.controls.control import Arrival, Control, Unreadable
from motia_runtime.controls.keys import key_of, path_of
from motia_runtime.controls.priority import urgency_of
from motia_runtime.controls.slots import Slot, Slots
from motia_runtime.ports import Clock, Log
from motia_spec.model import Concurrency

ALL = ""  # the key of steps without one: no value's JSON text


class AtMost(Control):
    def __init__(self, step: str, concurrency: Concurrency, priority: str | None, log: Log, clock: Clock) -> None:
        self._slots = Slots(step, concurrency.limit, log, clock)
        self._path = path_of(concurrency.key) if concurrency.key else None
        self._urgent = path_of(priority) if priority else None
        self._held: dict[Arrival, Slot] = {}

    async def admit(self, arrival: Arrival) -> bool:
        try:
            key = ALL if self._path is None else key_of(arrival.value, self._path)
            if key is None:
                return True  # without a key it is like no other
            urgency = 0.0 if self._urgent is None else urgency_of(arrival.value, self._urgent)
        except Unreadable:
            return True
        slot = await self._slots.take_now(key)
        if slot is not None:
            self._held[arrival] = slot
        elif self._path is None:
            self._held[arrival] = await self._slots.take(key, urgency)  # nobody else of this step could run
        else:
            try:
                async with arrival.hands.aside():
                    self._held[arrival] = await self._slots.take(key, urgency)
            except BaseException:
                self.leave(arrival)
                raise
        return True

    def leave(self, arrival: Arrival) -> None:
        slot = self._held.pop(arrival, None)
        if slot is not None:
            self._slots.give(slot)

    async def stop(self) -> None:
        await self._slots.stop()
