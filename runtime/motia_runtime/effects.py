"""What a run changes, as one value: built while the handler runs, committed in one place (`commit`).

A `Unit` lives as long as one attempt. State writes and emits are buffered in it; nothing is visible to anybody until `commit`, and
nothing ever is when the handler fails.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Collection
from typing import Any

import msgspec

from motia_runtime.cancels import RunCancelled
from motia_runtime.codec import Codec
from motia_runtime.commit import Claim, Commits
from motia_runtime.delayed import keyed_slot, own_slot
from motia_runtime.handler import InvalidTopic, TooManyEffects
from motia_runtime.noted import NotedStreams, Notes
from motia_runtime.plans import Emitted, Mark, Planned
from motia_runtime.plans import Write as PlannedWrite
from motia_runtime.ports import Clock, Conflict, Log, TooLarge
from motia_runtime.redaction import Redaction
from motia_runtime.state import StateStore, Value, subject_of
from motia_runtime.streams import StreamStore
from motia_runtime.trace import format_parent, headers_of

EFFECTS_PER_RUN = 1_000  # what one atomic batch of JetStream holds
HEADROOM = 32 * 1024  # bytes below the broker's limit, so that an event still fits with a dead letter's story


class Services(msgspec.Struct, frozen=True):
    """What units share. Lives as long as the engine."""

    log: Log
    clock: Clock
    state: StateStore
    streams: StreamStore
    commits: Commits
    redaction: Redaction


class Outlet(msgspec.Struct, frozen=True):
    """A topic that a step may emit."""

    codec: Codec
    subject: str


class Write(msgspec.Struct):
    subject: str
    data: bytes | None  # None deletes
    ttl: float | None
    called: float = 0.0  # `time.perf_counter`
    planned: PlannedWrite | None = None
    # of its record, once it has come true:
    read: Value | None = None
    size: int = 0  # of data of which only the beginning is left

    @property
    def revision(self) -> int:
        """That it was written over."""
        return 0 if self.planned is None else self.planned.expect


class Emission(msgspec.Struct):
    topic: str
    subject: str
    data: bytes
    delay: float | None
    at: float | None
    slot: str | None = None  # with a key: where it waits
    key: str | None = None
    called: float = 0.0  # `time.perf_counter`
    size: int = 0  # of data of which only the beginning is left, once it has come true


class Unit(msgspec.Struct, eq=False):
    _services: Services
    _outlets: dict[str, Outlet]
    _claim: Claim
    trace_id: str
    span_id: str
    tracestate: str
    _writes: dict[tuple[str, str], Write] = {}
    _reads: dict[tuple[str, str], Value] = {}
    _emits: list[Emission] = []
    _cancels: dict[str, None] = {}  # slots
    _marks: list[Mark] = []
    _beaten: set[str] = set()  # subjects of keys that it may not write in this attempt
    _handed: list[tuple[str, str]] = []  # keys that it was told of by the run before it, and has not read
    _streams: StreamStore | None = None
    notes: Notes | None = None  # of what has come true

    # -- building

    def emit(self, topic: str, data: Any, delay: float | None, at: float | None, key: str | None = None) -> None:
        outlet = self._outlet(topic)
        if (delay is not None and not delay >= 0) or (delay is not None and at is not None):
            raise ValueError(f"emit {topic!r}: give either `delay`, at least 0 seconds, or `at`")
        encoded = outlet.codec.encode(data)
        limit = self._services.log.max_size - HEADROOM
        if len(encoded) > limit:
            raise TooLarge(f"the event {topic!r} has {len(encoded):,} bytes of JSON; at most {limit:,} fit")
        slot = None
        if key is not None:
            if delay is None and at is None:
                raise ValueError(f"emit {topic!r}: a `key` is for an emit with `delay` or `at`")
            slot = keyed_slot(topic, key)
            self._forget_slot(slot)
        self._count()
        self._emits.append(Emission(topic, outlet.subject, encoded, delay, at, slot, key, time.perf_counter()))

    def cancel_emit(self, topic: str, key: str) -> None:
        self._outlet(topic)
        slot = keyed_slot(topic, key)
        self._forget_slot(slot)
        self._count()
        self._cancels[slot] = None

    def _outlet(self, topic: str) -> Outlet:
        outlet = self._outlets.get(topic) if isinstance(topic, str) else None
        if outlet is None:
            declared = ", ".join(sorted(self._outlets)) or "none"
            raise InvalidTopic(
                f"this step does not emit {topic!r} (it declares: {declared}); add the topic to the step's `emits`"
            )
        return outlet

    def _forget_slot(self, slot: str) -> None:
        """What the run did with a slot so far counts no longer: the last one does."""
        self._cancels.pop(slot, None)
        self._emits = [emit for emit in self._emits if emit.slot != slot]

    def set(self, group: str, key: str, value: Any, ttl: float | None) -> None:
        subject = subject_of(group, key)
        if ttl is not None and not ttl >= 1:
            raise ValueError(f"state {group}/{key}: a ttl is at least 1 second, not {ttl}")
        data = self._services.state.codec(group).encode(value)
        if len(data) > self._services.log.max_size - HEADROOM:
            raise TooLarge(
                f"state {group}/{key} has {len(data):,} bytes of JSON; at most {self._services.log.max_size - HEADROOM:,} fit"
            )
        self._write(
            group,
            key,
            Write(subject, data, ttl if ttl is not None else self._services.state.ttl(group), time.perf_counter()),
        )

    async def delete(self, group: str, key: str) -> bool:
        there = await self._data(group, key) is not None
        if there:
            self._write(group, key, Write(subject_of(group, key), None, None, time.perf_counter()))
        return there

    def mark(self, mark: Mark) -> None:
        """A record of our own that becomes true with the effects of this run."""
        self._marks.append(mark)

    def _write(self, group: str, key: str, write: Write) -> None:
        if (group, key) not in self._writes:
            self._count()
        self._writes[group, key] = write

    def _count(self) -> None:
        if len(self._emits) + len(self._cancels) + len(self._writes) >= EFFECTS_PER_RUN:
            raise TooManyEffects(
                f"a run may have {EFFECTS_PER_RUN:,} effects; emit fewer, larger events, or commit in between with `ctx.flush()`"
            )

    # -- streams, which are not buffered

    @property
    def streams(self) -> StreamStore:
        if self._streams is None:
            self._streams = self._open_streams()
        return self._streams

    def _open_streams(self) -> StreamStore:
        if self.notes is None:
            self.notes = Notes()
        return NotedStreams(self._services.streams, self.notes, self._services.redaction)

    # -- reading: the run's own writes first, then what it has read before, then the log

    async def get(self, group: str, key: str) -> Any:
        data = await self._data(group, key)
        return None if data is None else self._services.state.codec(group).decode(data, trusted=True)

    async def get_to_change(self, group: str, key: str) -> Any:
        """As `get`, for a key that is written next. Raises `Conflict` when other runs are in line for it: better to begin again in turn at once than to
        read, go on and be beaten to it. The run comes to nothing even if the handler catches that."""
        if (group, key) not in self._writes and (group, key) not in self._reads:
            commits, claim, subject = self._services.commits, self._claim, subject_of(group, key)
            if commits.is_beaten(claim, subject):
                self._beaten.add(subject)
                raise Conflict(f"others that were beaten to {subject} come first")
            handed = commits.handed(claim, subject)
            if handed is not None:
                self._reads[group, key] = handed
                self._handed.append((group, key))
        return await self.get(group, key)

    @property
    def was_handed(self) -> bool:
        return bool(self._handed)

    async def look_again(self, but: Collection[tuple[str, str]] = ()) -> None:
        """Raise `Conflict` when a key that it was told of, and has not read, holds something else by now: so nobody fails, or leaves a key
        alone, because of what is no longer true."""
        handed, self._handed = [at for at in self._handed if at not in but], []
        for group, key in handed:
            if (await self._services.state.read(group, key)).revision != self._reads[group, key].revision:
                raise Conflict(f"{group}/{key} has been written since the run before this one wrote it")

    @property
    def reads(self) -> dict[tuple[str, str], Value]:
        """What it has read since it began, or since it has flushed."""
        return self._reads

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
        """Make what there is true now. A repeated run finds that its early commits have been made, and goes on from there."""
        claim = self._claim
        if claim.members is not None:
            raise RuntimeError(
                "the run of a batch commits all at once; leave out `ctx.flush()`, or make `size` smaller"
            )
        claim.flushing += 1
        if claim.flushing > claim.flushed:
            await self._commit(f"f{claim.flushing}")
            claim.flushed = claim.flushing
        if claim.cancelled:
            raise RunCancelled
        self._forget()

    def commit(self) -> Awaitable[bool]:
        """Make the effects true. False: another try of the run had done so with its own, and these count for nothing. Raises `Conflict` when a key
        that was read has been written since (nothing is committed then, unless by `flush`), `LogUnavailable` when it is not known whether they are."""
        return self._commit("")

    async def _commit(self, part: str) -> bool:
        """A cancel comes before this or after it."""
        claim = self._claim
        if claim.cancelled:
            raise RunCancelled
        if self._beaten:
            raise Conflict(f"others that were beaten to {', '.join(sorted(self._beaten))} come first")
        emits, writes = self._emits, self._writes
        if self._handed:
            await self.look_again(but=writes)  # a write would find out by itself
        if not emits and not writes and not self._marks and not self._cancels:
            return True
        claim.committing = True
        try:
            if claim.subject is None and len(emits) + len(writes) == 1 and not self._marks and not self._slots():
                done = await self._commit_one()
            else:
                done = False
            if not done and not await self._commit_planned(part):
                return False
        finally:
            claim.committing = False
        if self.notes is None:
            self.notes = Notes()
        self.notes.take(emits, writes, self._reads, self._services.redaction)
        return True

    async def _commit_one(self) -> bool:
        """A single effect of a run that no input repeats is atomic by nature, and writes over nothing. False: it would."""
        services = self._services
        once = f"{self._claim.run_id}:{self._claim.flushing}"
        trace = headers_of(format_parent(self.trace_id, self.span_id), self.tracestate)
        for emit in self._emits:
            self._settle(emit)
            slot = None if emit.at is None else own_slot(emit.subject, once)
            await services.log.append(emit.subject, emit.data, headers=trace, id=once, at=emit.at, slot=slot)
        for at, write in self._writes.items():
            subject = write.subject
            read = self._reads.get(at)
            revision = services.commits.known(subject)[0] if read is None else read.revision
            if revision or write.data is None:
                return False
            try:
                seq = await services.log.append(subject, write.data, headers=trace, id=once, expect=0, ttl=write.ttl)
            except Conflict:
                if read is not None:
                    raise
                return False
            services.commits.saw(subject, seq, once)
        return True

    def _commit_planned(self, part: str) -> Awaitable[bool]:
        commits = self._services.commits
        claim = self._claim
        marks = self._marks if part or claim.mark is None else [*self._marks, claim.mark()]
        effects = Planned("", format_parent(self.trace_id, self.span_id), [], [], marks, tracestate=self.tracestate)
        blind: list[int] = []
        for at, write in self._writes.items():
            subject = write.subject
            read = self._reads.get(at)
            if read is None:
                blind.append(len(effects.writes))
                revision, over = commits.known(subject)
            else:
                revision, over = read.revision, read.id
            planned = write.planned = PlannedWrite(subject, write.data, revision, over, write.ttl)
            effects.writes.append(planned)
        for emit in self._emits:
            self._settle(emit)
            effects.emits.append(Emitted(emit.subject, emit.data, emit.at, None, emit.slot))
        effects.cancels.extend(self._cancels)
        return commits.commit(self._claim, part, effects, blind)

    @property
    def keys(self) -> Collection[str]:
        """Subjects of the state keys that it writes, or would have written."""
        return {*self._beaten, *(write.subject for write in self._writes.values())}

    def _slots(self) -> bool:
        """Whether a key is used, which takes more than one write."""
        return bool(self._cancels) or any(emit.slot is not None for emit in self._emits)

    def _settle(self, emit: Emission) -> None:
        """A delay counts from the commit."""
        if emit.delay is not None:
            emit.at, emit.delay = self._services.clock.time() + emit.delay, None

    def _forget(self) -> None:
        self._writes.clear()
        self._emits.clear()
        self._cancels.clear()
        self._marks.clear()
        self._reads.clear()  # revisions are new
