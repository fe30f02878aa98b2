"""What a run changes, as one value: built while the handler runs, committed in one place.

A `Unit` lives as long as one attempt. State writes and emits are buffered in it; nothing is visible to anybody until `commit`, and
nothing ever is when the handler fails. Every append carries an id made from the run's identity and its place in the run, so a run that
is repeated after a crash (same run id, same order) changes nothing twice within the broker's dedupe window.

Commit order: state (several keys: all or none), then emits, each awaited. The caller ends the input after that.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.handler import InvalidTopic, TooManyEffects
from motia_runtime.ports import Clock, Entry, Log, TooLarge
from motia_runtime.records import LISTED, EmitInfo, StateInfo
from motia_runtime.state import DELETED, StateStore, Value, subject_of
from motia_runtime.streams import StreamStore
from motia_runtime.trace import format_parent

EFFECTS_PER_RUN = 1_000  # what one atomic batch of JetStream holds
HEADROOM = 32 * 1024  # bytes below the broker's limit, so that an event still fits with a dead letter's story


class Services(msgspec.Struct, frozen=True):
    """What units share. Lives as long as the engine."""

    log: Log
    clock: Clock
    state: StateStore
    streams: StreamStore


class Outlet(msgspec.Struct, frozen=True):
    """A topic that a step may emit."""

    codec: Codec
    subject: str


class _Write(msgspec.Struct):
    data: bytes | None  # None deletes
    ttl: float | None


class _Emit(msgspec.Struct):
    topic: str
    subject: str
    data: bytes
    delay: float | None
    at: float | None


class Unit:
    __slots__ = (
        "_emits",
        "_order",
        "_outlets",
        "_reads",
        "_services",
        "_writes",
        "emitted",
        "more",
        "run_id",
        "span_id",
        "streams",
        "trace_id",
        "written",
    )

    def __init__(
        self, services: Services, outlets: dict[str, Outlet], run_id: str, trace_id: str, span_id: str
    ) -> None:
        self._services = services
        self._outlets = outlets
        self.run_id = run_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.streams = services.streams
        self._writes: dict[tuple[str, str], _Write] = {}
        self._reads: dict[tuple[str, str], Value] = {}
        self._emits: list[_Emit] = []
        self._order = 0  # of the next append, over flushes
        self.emitted: list[EmitInfo] = []  # for the run's record
        self.written: list[StateInfo] = []
        self.more = 0

    # -- building

    def emit(self, topic: str, data: Any, delay: float | None, at: float | None) -> None:
        outlet = self._outlets.get(topic) if isinstance(topic, str) else None
        if outlet is None:
            declared = ", ".join(sorted(self._outlets)) or "none"
            raise InvalidTopic(
                f"this step does not emit {topic!r} (it declares: {declared}); add the topic to the step's `emits`"
            )
        if (delay is not None and not delay >= 0) or (delay is not None and at is not None):
            raise ValueError(f"emit {topic!r}: give either `delay`, at least 0 seconds, or `at`")
        encoded = outlet.codec.encode(data)
        limit = self._services.log.max_size - HEADROOM
        if len(encoded) > limit:
            raise TooLarge(f"the event {topic!r} has {len(encoded):,} bytes of JSON; at most {limit:,} fit")
        self._count()
        self._emits.append(_Emit(topic, outlet.subject, encoded, delay, at))

    def set(self, group: str, key: str, value: Any, ttl: float | None) -> None:
        subject_of(group, key)
        if ttl is not None and not ttl >= 1:
            raise ValueError(f"state {group}/{key}: a ttl is at least 1 second, not {ttl}")
        data = self._services.state.codec(group).encode(value)
        if len(data) > self._services.log.max_size - HEADROOM:
            raise TooLarge(
                f"state {group}/{key} has {len(data):,} bytes of JSON; at most {self._services.log.max_size - HEADROOM:,} fit"
            )
        self._write(group, key, _Write(data, ttl if ttl is not None else self._services.state.ttl(group)))

    async def delete(self, group: str, key: str) -> bool:
        there = await self._data(group, key) is not None
        if there:
            self._write(group, key, _Write(None, None))
        return there

    def _write(self, group: str, key: str, write: _Write) -> None:
        if (group, key) not in self._writes:
            self._count()
        self._writes[group, key] = write

    def _count(self) -> None:
        if len(self._emits) + len(self._writes) >= EFFECTS_PER_RUN:
            raise TooManyEffects(
                f"a run may have {EFFECTS_PER_RUN:,} effects; emit fewer, larger events, or commit in between with `ctx.flush()`"
            )

    # -- reading: the run's own writes first, then what it has read before, then the log

    async def get(self, group: str, key: str) -> Any:
        data = await self._data(group, key)
        return None if data is None else self._services.state.codec(group).decode(data, trusted=True)

    async def items(self, group: str) -> dict[str, Any]:
        found: dict[str, bytes | None] = {**await self._services.state.read_group(group)}
        found.update({key: write.data for (of, key), write in self._writes.items() if of == group})
        decode = self._services.state.codec(group).decode
        return {key: decode(data) for key, data in sorted(found.items()) if data is not None}

    async def history(self, group: str, key: str) -> list[Any]:
        return await self._services.state.history(group, key)

    async def _data(self, group: str, key: str) -> bytes | None:
        write = self._writes.get((group, key))
        if write is not None:
            return write.data
        value = self._reads.get((group, key))
        if value is None:
            value = self._reads[group, key] = await self._services.state.read(group, key)
        return value.data

    # -- committing

    async def flush(self) -> None:
        await self.commit()
        self._reads.clear()  # revisions are new

    async def commit(self) -> None:
        """Make the effects true. Raises `Conflict` when a key that was read has been written since (nothing is committed then, unless emits
        of an earlier flush), `LogUnavailable` when it is not known whether they are."""
        if self._writes:
            await self._commit_state()
        if self._emits:
            await self._commit_emits()

    async def _commit_state(self) -> None:
        entries = []
        for (group, key), write in self._writes.items():
            read = self._reads.get((group, key))
            entries.append(
                Entry(
                    subject=subject_of(group, key),
                    data=write.data or b"",
                    headers=DELETED if write.data is None else {},
                    id=self._next_id(),
                    expect=None if read is None else read.revision,
                    ttl=write.ttl,
                )
            )
        if len(entries) == 1:
            one = entries[0]
            await self._services.log.append(
                one.subject, one.data, headers=one.headers, id=one.id, expect=one.expect, ttl=one.ttl
            )
        else:
            await self._services.log.append_all(entries)
        for (group, key), write in self._writes.items():
            self._note(self.written, StateInfo("delete" if write.data is None else "set", group, key))
        self._writes.clear()

    async def _commit_emits(self) -> None:
        append = self._services.log.append
        headers = {"traceparent": format_parent(self.trace_id, self.span_id)}
        under_way = []
        for emit in self._emits:
            at = emit.at if emit.delay is None else self._services.clock.time() + emit.delay
            under_way.append(append(emit.subject, emit.data, headers=headers, id=self._next_id(), at=at))
            self._note(self.emitted, EmitInfo(emit.topic, len(emit.data), at))
        if len(under_way) == 1:
            await under_way[0]
        else:
            await asyncio.gather(*under_way)
        self._emits.clear()

    def _next_id(self) -> str:
        self._order += 1
        return f"{self.run_id}:{self._order}"

    def _note(self, listed: list[Any], info: object) -> None:
        if len(listed) < LISTED:
            listed.append(info)
        else:
            self.more += 1
