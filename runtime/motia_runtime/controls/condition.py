"""`condition`: a function of the user's says whether the step runs for an event. Asked anew before each attempt."""

from __future__ import annotations

from typing import Any

from motia_runtime.bind import Bound
from motia_runtime.controls.control import Arrival, Control, Unreadable
from motia_runtime.ports import LogUnavailable


class Condition(Control):
    def __init__(self, function: Bound) -> None:
        self._function = function

    async def admit(self, arrival: Arrival) -> bool:
        hands = arrival.hands
        if await hands.recovered(arrival):
            return False  # it ran, so what the function says of it now does not matter
        try:
            value = arrival.value
        except Unreadable:
            return True
        async with hands.alone(arrival) as may_run:
            return may_run and await self._ask(arrival, value)

    async def _ask(self, arrival: Arrival, value: Any) -> bool:
        hands, function = arrival.hands, self._function
        attempt = hands.attempt(arrival)
        attempt.only_look()
        try:
            answer = await hands.runs.executor.run(function, (value,), attempt.ctx, hands.step.timeout)
            if not isinstance(answer, bool):
                where = f"{function.handler.path}:{function.handler.function}"
                raise TypeError(f"the condition {where} gave {answer!r:.100}; return True or False")
        except LogUnavailable:
            raise
        except Exception as problem:
            await hands.fail(arrival, attempt, problem)
            return False
        if not answer:
            hands.drop(arrival, "skipped", attempt)
        return answer
