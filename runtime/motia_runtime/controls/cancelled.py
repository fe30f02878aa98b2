"""`motia cancel`: what was cancelled does not run any more (`cancels`)."""

from __future__ import annotations

from motia_runtime.cancels import Cancels
from motia_runtime.controls.control import Arrival, Control
from motia_runtime.effects import Services
from motia_runtime.naming import plan_subject


class Cancelled(Control):
    def __init__(self, step: str, cancels: Cancels) -> None:
        self._step = step
        self._cancels = cancels

    async def admit(self, arrival: Arrival) -> bool:
        if not self.hits(arrival):
            return True
        if not arrival.fresh:
            if await arrival.hands.recovered(arrival):
                return False
            await finish_flushed(arrival.hands.runs.services, plan_subject(self._step, arrival.asked.event_id))
        arrival.hands.drop(arrival, "cancelled")
        return False

    def hits(self, arrival: Arrival) -> bool:
        asked = arrival.asked
        return self._cancels.hits(asked.trace.trace_id, self._step, asked.event_id)


async def finish_flushed(services: Services, plan: str | None) -> None:
    """Complete what a cancelled run has committed early, since no other try of it will. `plan`: subject of its plan. Raises `LogUnavailable`."""
    number = 1
    while plan and (record := await services.log.last(f"{plan}.f{number}")) is not None:
        await services.commits.finish(record)
        number += 1
