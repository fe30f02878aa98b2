"""From the publish of an order to its count in step b, for orders that carry their time."""

from __future__ import annotations

import os
import statistics
import time

from shapes import Order

WORK = float(os.environ.get("WORK", "0")) / 1000  # seconds


def work() -> None:
    """What a handler does besides, on one core."""
    if WORK:
        until = time.thread_time() + WORK
        while time.thread_time() < until:
            pass


class Latencies:
    def __init__(self) -> None:
        self.seen = 0
        self._found: list[float] = []

    def add(self, order: Order) -> None:
        self.seen += 1
        if order.note.startswith("t="):
            self._found.append(time.time() - float(order.note[2:]))

    def shown(self) -> str:
        """Median and 99th percentile in ms; empty when no order had a time."""
        if len(self._found) < 2:
            return ""
        cuts = statistics.quantiles(self._found, n=100)
        return f"{statistics.median(self._found) * 1000:.2f} {cuts[98] * 1000:.2f}"
