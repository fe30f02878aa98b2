"""Events given by hand: emitted, cancelled, replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from motia_runtime import replay
from motia_runtime.byhand import run_now
from motia_runtime.cancels import Dropped, Target, cancel
from motia_runtime.cli.errors import Failure
from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http, NotThere
from motia_runtime.cli.reach.way import Way
from motia_runtime.clock import SystemClock
from motia_runtime.publish import publish
from motia_runtime.replay import Beginning, Event, Replayed

TOGETHER = 500  # events replayed with one request


class Chosen(msgspec.Struct, frozen=True):
    """Events that would be replayed, oldest first."""

    events: list[Event]
    begun_by: Beginning | None  # what the trace began with, when that is no event
    misfit: str  # why nothing would be; empty: all fit


class Events(Protocol):
    async def emit(self, topic: str, plain: Any) -> str:
        """The id of the trace that begins with it. Raises `ValidationFailed`."""
        ...

    async def run(self, step: str, data: bytes | None, source: str) -> str:
        """The same, for one step alone; None for a cron step. Raises `byhand.NotRunnable`, or `Failure`."""
        ...

    async def cancel(self, target: Target) -> Dropped: ...

    async def event(self, id: int) -> Event | None: ...

    async def of_trace(self, trace_id: str, step: str | None) -> Chosen:
        """Those that began it. `step`: those that it subscribes to instead."""
        ...

    async def of_topic(self, topic: str, since: float | None, until: float, replay_id: str) -> Chosen: ...

    async def replay(
        self, events: Sequence[Event], id: str, *, again: bool, step: str | None, edited: bool
    ) -> list[Replayed]:
        """`edited`: with other data than is stored; one event only. Failure when any does not fit its topic: then nothing has happened."""
        ...


def events_of(way: Way) -> Events:
    return HttpEvents(way) if isinstance(way, Http) else BrokerEvents(way)


class BrokerEvents:
    def __init__(self, way: Broker) -> None:
        self._way = way

    async def emit(self, topic: str, plain: Any) -> str:
        return await publish(self._way.log, self._way.project, self._way.types, topic, plain)

    async def run(self, step: str, data: bytes | None, source: str) -> str:
        way = self._way
        return await run_now(way.log, SystemClock(), way.project, way.types, way.project.steps[step], data, source)

    async def cancel(self, target: Target) -> Dropped:
        return await cancel(self._way.log, target, SystemClock().time(), self._way.project.nats.max_age)

    async def event(self, id: int) -> Event | None:
        return await replay.event(self._way.log, id)

    async def of_trace(self, trace_id: str, step: str | None) -> Chosen:
        topics = None if step is None else replay.topics_of(self._way.project, step)
        found = await replay.of_trace(self._way.log, trace_id, topics)
        return Chosen(found.events, found.begun_by, self._misfit(found.events))

    async def of_topic(self, topic: str, since: float | None, until: float, replay_id: str) -> Chosen:
        found = await replay.of_topic(self._way.log, topic, since, until, replay_id=replay_id)
        return Chosen(found, None, self._misfit(found))

    async def replay(
        self, events: Sequence[Event], id: str, *, again: bool, step: str | None, edited: bool
    ) -> list[Replayed]:
        if problem := self._misfit(events):
            raise Failure(problem)
        return await replay.replay(self._way.log, events, id, again=again, step=step)

    def _misfit(self, events: Sequence[Event]) -> str:
        return replay.misfit(self._way.project, self._way.types, events)


class _Emitted(msgspec.Struct):
    trace_id: str


class _Cancelled(msgspec.Struct):
    retries: int
    delayed: int


class _Event(msgspec.Struct):
    """As the API shows it."""

    id: int
    topic: str
    time: float
    trace_id: str
    data: msgspec.Raw

    def event(self) -> Event:
        return Event(self.id, self.topic, self.time, self.trace_id, bytes(self.data))


class _Chosen(msgspec.Struct):
    events: list[_Event]
    begun_by: Beginning | None
    misfit: str


class _Replayed(msgspec.Struct):
    replayed: list[Replayed]


class HttpEvents:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def emit(self, topic: str, plain: Any) -> str:
        return (await self._way.send(_Emitted, "POST", "emit", body={"topic": topic, "data": plain})).trace_id

    async def run(self, step: str, data: bytes | None, source: str) -> str:
        body = {"source": source} if data is None else {"source": source, "data": msgspec.Raw(data)}
        return (await self._way.send(_Emitted, "POST", "steps", step, "run", body=body)).trace_id

    async def cancel(self, target: Target) -> Dropped:
        body = {"trace": target.trace_id, "step": target.step, "event": target.event_id}
        found = await self._way.send(_Cancelled, "POST", "cancel", body=body)
        return Dropped(found.delayed, found.retries)

    async def event(self, id: int) -> Event | None:
        try:
            return (await self._way.get(_Event, "events", id)).event()
        except NotThere:
            return None

    async def of_trace(self, trace_id: str, step: str | None) -> Chosen:
        return await self._choose(trace=trace_id, step=step)

    async def of_topic(self, topic: str, since: float | None, until: float, replay_id: str) -> Chosen:
        return await self._choose(topic=topic, since=since, until=until, id=replay_id)

    async def _choose(self, **query: str | float | None) -> Chosen:
        found = await self._way.get(_Chosen, "replay", **query)
        return Chosen([each.event() for each in found.events], found.begun_by, found.misfit)

    async def replay(
        self, events: Sequence[Event], id: str, *, again: bool, step: str | None, edited: bool
    ) -> list[Replayed]:
        done: list[Replayed] = []
        for start in range(0, len(events), TOGETHER):
            body: dict[str, Any] = {"id": id, "again": again, "step": step}
            body["events"] = [each.id for each in events[start : start + TOGETHER]]
            if edited:
                body["data"] = msgspec.Raw(events[start].data)
            done += (await self._way.send(_Replayed, "POST", "replay", body=body)).replayed
        return done
