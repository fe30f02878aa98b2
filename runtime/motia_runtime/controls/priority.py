"""`priority`: of the events that wait in an engine, the one with the higher number goes first; equal ones in the order of the log."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from motia_runtime.controls.keys import found_at
from motia_runtime.ports import Delivery

LOOK_AHEAD = 1_000  # deliveries held ready in an engine, of which the highest goes next


def urgency_of(value: Any, path: tuple[str, ...]) -> float:
    """The number that is there; 0 when there is none."""
    found = found_at(value, path)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else 0


class ByPriority:
    """Takes the place of the queue of a worker. `urgency` is asked once for each."""

    def __init__(self, urgency: Callable[[Delivery], float]) -> None:
        self._urgency = urgency
        self._heap: list[tuple[float, int, int, Delivery]] = []
        self._order = itertools.count()  # one record may wait twice, when it was delivered again

    def append(self, delivery: Delivery) -> None:
        entry = (-self._urgency(delivery), delivery.record.seq, next(self._order), delivery)
        heapq.heappush(self._heap, entry)

    def popleft(self) -> Delivery:
        return heapq.heappop(self._heap)[-1]

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Delivery]:
        """In no order."""
        return (entry[-1] for entry in self._heap)
