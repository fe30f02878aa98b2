"""What event and cron steps share: deliveries taken in hand, a task each, every one of them ended or given back."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from motia_runtime.controls.priority import ByPriority
from motia_runtime.ports import Consumer, Delivery, LogUnavailable
from motia_runtime.runs import Runs

OUTAGE_PAUSE = 1.0  # seconds before a delivery comes again when the broker could not take its effects

_log = logging.getLogger("motia.engine")


class Worker(ABC):
    """One step in one engine. `limit`: deliveries worked on at once; the consumer's credit says how many more wait here."""

    def __init__(self, name: str, runs: Runs, limit: int) -> None:
        self._name = name
        self._runs = runs
        self._limit = limit
        self._waiting: deque[Delivery] | ByPriority = deque()
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._aside: set[asyncio.Task[None]] = set()  # of them, those that wait for another run to end
        self._returning: deque[tuple[asyncio.Task[None], asyncio.Future[None]]] = deque()  # and have waited
        self._consumer: Consumer | None = None
        self._in_touch = runs.services.log.in_touch_since  # as it was when we looked last
        self._stopping = False

    @abstractmethod
    async def start(self) -> None:
        """Begin to consume. Raises `LogUnavailable`."""

    @abstractmethod
    def _work(self, delivery: Delivery) -> Coroutine[Any, Any, None]:
        """End the delivery. What it raises gives the delivery back, to come again."""

    @property
    def name(self) -> str:
        """Of its step."""
        return self._name

    @property
    def busy(self) -> int:
        """Deliveries in hand: running, and waiting for that."""
        return len(self._running) - len(self._aside) + len(self._waiting)

    @property
    def holds(self) -> int:
        """Deliveries that the broker has to hear of now and then."""
        return len(self._running) + len(self._waiting)

    async def stop(self, grace: float) -> None:
        """Take no more, let what runs finish for `grace` seconds, give back the rest."""
        self._stopping = True
        if self._consumer is not None:
            await self._consumer.stop()
        while self._waiting:
            self._waiting.popleft().nak(0)
        for task in self._aside:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        late = list(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def touch(self) -> None:
        """Tell the broker that what is in hand is still worked on."""
        for delivery in self._running.values():
            delivery.touch()
        for delivery in self._waiting:
            delivery.touch()

    def _deliver(self, delivery: Delivery) -> None:
        if self._stopping:
            delivery.nak(0)
        elif self._has_room():
            self._spawn(delivery)
        else:
            self._waiting.append(delivery)

    def _spawn(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(delivery))
        self._running[task] = delivery
        self._runs.work.set()
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if self._consumer is not None:
            self._consumer.resume(1)
        self._fill()

    def _has_room(self) -> bool:
        return len(self._running) - len(self._aside) < self._limit

    def _drop_lost(self) -> None:
        """What came before the process stood still, and has waited since, may have been handled by others and forgotten: it comes again, or not."""
        in_touch = self._runs.services.log.in_touch_since
        if in_touch != self._in_touch:
            self._in_touch = in_touch
            lost = len(self._waiting)
            while self._waiting:
                self._waiting.popleft().nak(0)
            if lost and self._consumer is not None:
                self._consumer.resume(lost)

    def _fill(self) -> None:
        if self._waiting:
            self._drop_lost()
        while (self._returning or self._waiting) and self._has_room() and not self._stopping:
            if self._returning:
                self._call_back()
            else:
                self._spawn(self._waiting.popleft())

    def _call_back(self) -> None:
        task, future = self._returning.popleft()
        if not future.done():
            self._aside.discard(task)
            future.set_result(None)

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._aside.add(task)
        self._fill()
        try:
            yield
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._returning.append((task, future))
            self._fill()
            await future
        finally:
            self._aside.discard(task)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._work(delivery)
        except asyncio.CancelledError:
            delivery.nak(0)
            if not self._stopping:
                raise
        except LogUnavailable as problem:
            _log.warning(
                "%s: the broker did not take the outcome of a run (%s); it will run again", self._name, problem
            )
            delivery.nak(OUTAGE_PAUSE)
        except Exception:
            _log.exception("%s: the engine failed on record %s; it comes again", self._name, delivery.record.seq)
            delivery.nak(OUTAGE_PAUSE)
