"""`delay`: an event is handled no earlier than this after its emit. Handed on once to its time, as a schedule of the broker's."""

from __future__ import annotations

from motia_runtime.controls.control import Arrival, Control


class Delay(Control):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def admit(self, arrival: Arrival) -> bool:
        record, hands = arrival.record, arrival.hands
        due = record.time + self._seconds
        if record.subject.startswith("retry.") or hands.runs.services.clock.time() >= due:
            return True
        await hands.hand_on(arrival, due, why="delay")
        return False
