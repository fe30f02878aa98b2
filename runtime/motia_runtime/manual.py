"""Noop steps with `manual`: each event opens a task (`tasks`), and the timer of a task ends it when nobody has."""

from __future__ import annotations

from typing import Any

from motia_runtime.bind import Bound, BoundStep
from motia_runtime.controls.cancelled import Cancelled
from motia_runtime.controls.control import Arrival, Unreadable
from motia_runtime.events import EventWorker
from motia_runtime.ports import TooLarge
from motia_runtime.runs import Runs
from motia_runtime.suspects import Suspects
from motia_runtime.tasks import DUE, Tasks, task_id
from motia_spec.model import EventStep, Handler, NoopStep


class TaskWorker(EventWorker):
    """The events of such a step in one engine: delivered, validated, retried and buried as those of an event step, but what it does is open tasks."""

    def __init__(self, step: NoopStep, runs: Runs, suspects: Suspects, tasks: Tasks) -> None:
        nobody = Handler(path="", place=step.place)
        as_event = EventStep(
            name=step.name, handler=nobody, subscribes=step.subscribes, emits=step.emits, place=step.place
        )
        plan = runs.plan(BoundStep(as_event, Bound(nobody, _not_called, True, 2)))
        super().__init__(plan, as_event, runs, suspects)
        self._noop = step
        self._cancelled = Cancelled(step.name, runs.cancels)
        self._tasks = tasks

    async def _process(self, arrival: Arrival) -> None:
        if not await self._cancelled.admit(arrival):
            return
        if arrival.came_by == DUE:
            await self._tasks.expire(self._noop, task_id(arrival.asked))
            arrival.delivery.ack()
            return
        attempt = self.attempt(arrival)
        try:
            _ = arrival.value  # reading it validates it
            opened = await self._tasks.open(self._noop, arrival.asked, arrival.record.data)
        except Unreadable as problem:
            await self._failed(arrival, attempt, problem)
        except TooLarge as problem:
            await self._failed(arrival, attempt, Unreadable(problem))
        else:
            self.drop(arrival, "waiting" if opened else "recovered", attempt)


async def _not_called(_data: Any, _ctx: Any) -> None:
    raise AssertionError("a noop step has no handler")
