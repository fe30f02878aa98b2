"""Events that may have killed the process. Two deliveries without an end can be bad luck (the process died of something else while the event
waited in a buffer). From the third on an event runs with a mark written before, a few of its like at a time; if the process dies then too, those few run
alone, one by one, each in a process of its own (`isolation.apart`). When that one dies and the app lives on, the event has done it: so often found, it is
buried. When the app dies, something else may have killed it: such deaths count too, since what takes all of a machine's memory may take the app along,
but it takes many of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from motia_runtime.bind import Bound
from motia_runtime.context import new_id
from motia_runtime.isolation.apart import Apart
from motia_runtime.naming import encode
from motia_runtime.ports import Delivery, Log, LogUnavailable
from motia_runtime.state import DELETED, value_of
from motia_spec.model import EventStep

SUSPECT_FROM = 3  # deliveries
GUILTY = (
    3  # processes of its own that died while the app lived on: of one or two, something else may have been the cause
)
UNLUCKY = 10  # processes of the app that died while it ran in one of its own: 9 can be bad luck of one that takes long, among many faults
BESIDE = 32  # suspected events of a step that run at once, while nobody has died of them
MARK_KEPT = 86_400.0  # seconds
AGAIN = 1.0  # seconds between tries to take a mark back


class Mark(msgspec.Struct, frozen=True):
    """What stands against an event."""

    deaths: int  # processes of its own that died of it; and of the app, while it ran alone in them
    by: str  # the process of the app that runs it now
    alone: bool = True
    apart: bool = False  # in a process of its own
    outlived: int = 0  # processes of the app that died meanwhile


class Trial(msgspec.Struct, frozen=True):
    """How a suspected event is to be run, if at all. `handler`: in a process of its own; None: as all others of its step."""

    guilty: bool
    handler: Bound | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Mark).decode


class Lane:
    """Some of each step side by side, or one alone. Who wants to be alone goes first and waits for those under way only: hundreds may wait behind it.
    Each step has places of its own, so that none waits behind hundreds of another that is slow."""

    def __init__(self) -> None:
        self.under_way = 0
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(BESIDE))
        self._turn = asyncio.Lock()
        self._wanting = 0  # to be alone
        self._open = asyncio.Event()  # nobody wants to be alone
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def beside(self, step: str) -> AsyncIterator[None]:
        async with self._places[step]:
            while self._wanting:
                await self._open.wait()
            with self._counted():
                yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        self._wanting += 1
        self._open.clear()
        try:
            async with self._turn:
                await self._empty.wait()
                with self._counted():
                    yield
        finally:
            self._wanting -= 1
            if not self._wanting:
                self._open.set()

    @property
    def wanted(self) -> bool:
        """Somebody is alone, or wants to be."""
        return self._wanting > 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.under_way += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self._empty.set()


class Suspects:
    """Shared by all steps of an engine."""

    def __init__(self, log: Log, apart: Apart) -> None:
        self._log = log
        self._apart = apart
        self._me = new_id()
        self._clearing: set[asyncio.Task[None]] = set()
        self.lane = Lane()

    def suspected(self, delivery: Delivery) -> bool:
        return delivery.delivered >= SUSPECT_FROM

    @asynccontextmanager
    async def trial(self, step: EventStep, event_id: str, handler: Bound | None = None) -> AsyncIterator[Trial]:
        """A place to run it in, beside others of its like or alone. `handler`: what is to run, if it can do so in another process. Raises
        `LogUnavailable`."""
        mark = await self._mark(step, event_id)
        alone = mark is not None and (mark.alone or mark.by != self._me)
        try:
            async with self.lane.alone() if alone else self.lane.beside(step.name):
                away = await self._apart.place(step, handler) if alone and handler is not None else None
                may_run = await self.may_run(step, event_id, alone=alone, apart=away is not None)
                yield Trial(not may_run, away if away is not handler else None)
        finally:
            if alone and not self.lane.wanted:
                self._apart.leave()

    async def may_run(self, step: EventStep, event_id: str, *, alone: bool = True, apart: bool = False) -> bool:
        """Write the mark and say yes, or no when enough stands against the event."""
        mark = await self._mark(step, event_id)
        deaths, outlived = (mark.deaths, mark.outlived) if mark is not None else (0, 0)
        if mark is not None and mark.alone and mark.by != self._me:
            # our own mark means that we are alive: an outage kept us from taking it back
            deaths, outlived = (deaths, outlived + 1) if mark.apart else (deaths + 1, outlived)
        if deaths >= _most(step) or outlived >= max(UNLUCKY, _most(step)):
            return False
        await self._put(step, event_id, Mark(deaths, self._me, alone, apart, outlived))
        return True

    async def died(self, step: EventStep, event_id: str) -> bool:
        """The process of its own has died, the app lives. True: so often that it is guilty. Raises `LogUnavailable`."""
        mark = await self._mark(step, event_id) or Mark(0, self._me)
        deaths = mark.deaths + 1
        await self._put(step, event_id, Mark(deaths, self._me, True, True, mark.outlived))
        return deaths >= _most(step)

    async def _mark(self, step: EventStep, event_id: str) -> Mark | None:
        data = value_of(await self._log.last(_subject(step, event_id))).data
        return _decode(data) if data else None

    async def _put(self, step: EventStep, event_id: str, mark: Mark) -> None:
        await self._log.append(_subject(step, event_id), _encode(mark), ttl=MARK_KEPT)

    def cleared(self, step: EventStep, event_id: str) -> None:
        """It has come to an end: take the mark back, as soon as the broker can be reached."""
        task = asyncio.get_running_loop().create_task(self._clear(_subject(step, event_id)))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def _clear(self, subject: str) -> None:
        while True:
            try:
                await self._log.append(subject, b"", headers=DELETED)
            except LogUnavailable:
                await asyncio.sleep(AGAIN)
            else:
                return

    async def stop(self) -> None:
        """Wait for marks to be taken back, but not for a broker that is away."""
        if self._clearing:
            await asyncio.wait(self._clearing, timeout=AGAIN)
        for task in self._clearing:
            task.cancel()
        await self._apart.close()


def _most(step: EventStep) -> int:
    """Deaths that make an event guilty."""
    return max(GUILTY, step.retry.attempts - SUSPECT_FROM)


def _subject(step: EventStep, event_id: str) -> str:
    # "=m" is no encoded name, so no stream of the app's can have these subjects
    return f"rt.=m.{encode(step.name)}.{encode(event_id)}"
