"""How steps stand with their work, pauses, and emits that wait for their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from motia_runtime import delayed, standings
from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http, NotThere
from motia_runtime.cli.reach.way import Way
from motia_runtime.clock import SystemClock
from motia_runtime.delayed import DelayedEmit
from motia_runtime.standings import Standing


class Queues(Protocol):
    async def standings(self) -> list[Standing]: ...

    async def pause(self, step: str, seconds: float | None) -> float:
        """When it ends."""
        ...

    async def resume(self, step: str) -> bool:
        """False: it was not paused."""
        ...

    async def delayed(self, topic: str | None, limit: int) -> Sequence[DelayedEmit]:
        """The earliest first."""
        ...

    async def cancel(self, slot: str) -> bool:
        """False: nothing waits there."""
        ...


def queues_of(way: Way) -> Queues:
    return HttpQueues(way) if isinstance(way, Http) else BrokerQueues(way)


class BrokerQueues:
    def __init__(self, way: Broker) -> None:
        self._way = way

    async def standings(self) -> list[Standing]:
        return await standings.standings(self._way.log, self._way.project, oldest=True)

    async def pause(self, step: str, seconds: float | None) -> float:
        return await standings.pause(self._way.log, SystemClock(), self._way.project.steps[step], seconds)

    async def resume(self, step: str) -> bool:
        return await standings.resume(self._way.log, self._way.project.steps[step])

    async def delayed(self, topic: str | None, limit: int) -> Sequence[DelayedEmit]:
        return await delayed.waiting(self._way.log, topic=topic, limit=limit)

    async def cancel(self, slot: str) -> bool:
        return await delayed.cancel(self._way.log, slot)


class _Steps(msgspec.Struct):
    steps: list[Standing]


class _Paused(msgspec.Struct):
    paused_until: float


class _Resumed(msgspec.Struct):
    resumed: bool


class _Emit(msgspec.Struct):
    """As the API shows it."""

    slot: str
    topic: str
    key: str | None
    at: float
    trace_id: str
    data: msgspec.Raw


class _Delayed(msgspec.Struct):
    delayed: list[_Emit]


class HttpQueues:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def standings(self) -> list[Standing]:
        return (await self._way.get(_Steps, "queues")).steps

    async def pause(self, step: str, seconds: float | None) -> float:
        body = {} if seconds is None else {"seconds": seconds}
        return (await self._way.send(_Paused, "POST", "queues", step, "pause", body=body)).paused_until

    async def resume(self, step: str) -> bool:
        return (await self._way.send(_Resumed, "POST", "queues", step, "resume")).resumed

    async def delayed(self, topic: str | None, limit: int) -> Sequence[DelayedEmit]:
        found = await self._way.get(_Delayed, "delayed", topic=topic, limit=limit)
        return [DelayedEmit(e.slot, e.topic, e.key, e.at, e.trace_id, bytes(e.data)) for e in found.delayed]

    async def cancel(self, slot: str) -> bool:
        try:
            await self._way.send(dict[str, Any], "DELETE", "delayed", slot)
        except NotThere:
            return False
        return True
