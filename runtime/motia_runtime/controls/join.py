"""`join`: one run when an event of each topic of the step has come for the same key.

An event that comes is put into the set of its key, `rt.=j.<step>.<key>`. That is a commit of its own (`commit`): its plan writes the set by
compare-and-set, so an event gets into one set, once, whatever crashes when, and however often it comes again. The event that completes the set takes it
away in the same commit, and what it emits is the whole set, as an event of its own to this step alone: from then on that is tried again, buried and
redriven like any other, and whoever comes next for the key begins a new set.

A set that is not complete in time is emitted likewise, as far as it goes, and buried when it comes. Redriven, it waits for the others again.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from motia_runtime.controls.control import Arrival, Control, Unreadable
from motia_runtime.controls.debounce import Burst, older
from motia_runtime.controls.keys import key_of, path_of
from motia_runtime.naming import encode, retry_subject
from motia_runtime.plans import Emitted, Planned, Write
from motia_runtime.ports import Conflict, LogUnavailable, TooLarge
from motia_runtime.runs import Attempt, Runs, conflict_pause
from motia_runtime.state import is_deleted
from motia_runtime.trace import format_parent, headers_in
from motia_spec.model import EventStep, Join

DEADLINE = "join:"  # stands for a topic: the time of a set is over
LATE = "late"  # why an incomplete set comes
KEPT = (
    7 * 86_400.0
)  # seconds that a set which is done leaves a record: longer than an event can come again after a crash


class _Part(msgspec.Struct, array_like=True):
    event: str  # id
    seen: float  # when it was first stored, seconds since the epoch
    data: bytes


class _Set(msgspec.Struct, array_like=True):
    """What has come for a key."""

    first: str  # the event that began it: no other set has that one
    parts: dict[str, _Part]  # by topic


class _Deadline(msgspec.Struct):
    key: str
    first: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Set).decode
_encode_json = msgspec.json.Encoder().encode
_decode_deadline = msgspec.json.Decoder(_Deadline).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def joined(join: Join) -> str:
    """What stands for a topic of a whole set. No topic has a colon."""
    return DEADLINE + ",".join(join.topics)


class AllOfKey(Control):
    def __init__(self, step: EventStep, join: Join, runs: Runs) -> None:
        self._log = runs.services.log
        self._clock = runs.services.clock
        self._commits = runs.services.commits
        self._join = join
        self._step = step.name
        self._source = joined(join)
        self._path = path_of(join.by)
        # without a timeout a set waits as long as events are kept; with one it is the deadline that ends it
        self._ttl = runs.park_limit + (join.timeout or 0.0)
        # "=j" is no encoded name, so no stream of the app's can have these subjects
        self._prefix = f"rt.=j.{encode(step.name)}."

    async def admit(self, arrival: Arrival) -> bool:
        topic, join = arrival.asked.topic, self._join
        if topic == DEADLINE:
            await self._expire(arrival)
            return False
        try:
            value = arrival.value
        except Unreadable:
            return True
        if topic != self._source:
            key, parts = key_of(value, self._path), {topic: arrival.record.data}
        elif len(value) == len(join.topics):
            return True
        else:
            key = key_of(next(iter(value.values())), self._path)
            parts = {topic: bytes(raw) for topic, raw in _decode_parts(arrival.record.data).items()}
            if arrival.came_by == LATE:
                missing = ", ".join(topic for topic in join.topics if topic not in parts)
                told = f"{join.timeout:g} s after the first event for {key} there was none of {missing}"
                await arrival.hands.bury(arrival, "JoinTimeout", f"{told}; there is {', '.join(parts)}")
                return False
        if key is None:
            told = f"the event has nothing at {join.by}, so it belongs to no others"
            await arrival.hands.bury(arrival, "JoinKeyMissing", told)
        else:
            if not arrival.fresh:
                # it may have been about to begin a set, and the deadline have passed meanwhile
                await self._set_deadline(arrival, key, _name(arrival))
            if not await arrival.hands.recovered(arrival):
                await self._gather(arrival, key, parts)
        return False

    async def _gather(self, arrival: Arrival, key: str, parts: dict[str, bytes]) -> None:
        hands, asked = arrival.hands, arrival.asked
        attempt = hands.attempt(arrival)
        name, conflicts, due = _name(arrival), 0, None
        while True:
            found, revision, over = await self._read(key)
            new = found or _Set(name, {})
            fits = {t: _Part(asked.event_id, asked.first_seen, data) for t, data in parts.items()}
            fits = {t: part for t, part in fits.items() if self._is_newest(arrival, new.parts.get(t))}
            if not fits:
                hands.drop(arrival, "replaced", attempt)
                return
            new.parts.update(fits)
            is_complete = len(new.parts) == len(self._join.topics)
            if found is None and not is_complete:
                due = await self._set_deadline(arrival, key, new.first)
            try:
                if is_complete:
                    own = await self._take(attempt, key, new, f"j-{name}", revision, over)
                else:
                    write = Write(self._subject(key), _encode(new), revision, over, self._ttl)
                    own = await self._commits.commit(attempt.claim, "", _planned(attempt, write), ())
                break
            except Conflict:
                conflicts += 1
                await asyncio.sleep(conflict_pause(conflicts))
            except TooLarge as problem:
                await hands.bury(arrival, "TooLarge", f"the events that are joined are too large together: {problem}")
                return
        if due is not None and not is_complete and self._clock.time() >= due:
            await self._set_deadline(arrival, key, new.first)  # it came before the set was there
        if is_complete and self._join.timeout is not None:
            with contextlib.suppress(LogUnavailable):  # it would find nothing to do
                await self._log.cancel(self._slot(new.first))
        hands.drop(arrival, ("joined" if is_complete else "waiting") if own else "recovered", attempt)

    def _is_newest(self, arrival: Arrival, there: _Part | None) -> bool:
        """Of the events of a topic the newest counts; what comes from a dead letter only fills gaps."""
        if there is None:
            return True
        return arrival.asked.topic != self._source and not older(arrival.asked, Burst(there.event, there.seen, None))

    async def _take(
        self, attempt: Attempt, key: str, whole: _Set, name: str, revision: int, over: str | None, why: str = ""
    ) -> bool:
        """End a set, and have what is in it come as one event. As `Commits.commit`."""
        parts = {t: msgspec.Raw(whole.parts[t].data) for t in self._join.topics if t in whole.parts}
        headers = {"Motia-Event": name, "Motia-Topic": self._source, "Motia-First": repr(self._clock.time())}
        if why:
            headers["Motia-Why"] = why
        event = Emitted(retry_subject(self._step), _encode_json(parts), None, headers)
        write = Write(self._subject(key), None, revision, over, KEPT)
        return await self._commits.commit(attempt.claim, "", _planned(attempt, write, event), ())

    async def _read(self, key: str) -> tuple[_Set | None, int, str | None]:
        """The set of a key, with revision and id of its record."""
        record = await self._log.last(self._subject(key))
        if record is None:
            return None, 0, None
        return None if is_deleted(record) else _decode(record.data), record.seq, record.id

    # -- deadlines

    async def _set_deadline(self, arrival: Arrival, key: str, first: str) -> float | None:
        """Before the set is there: one without a set does nothing, and a set without one would wait for ever. Gives its time."""
        if self._join.timeout is None:
            return None
        now = self._clock.time()
        headers = {
            "Motia-Event": f"d-{first}",
            "Motia-Topic": DEADLINE,
            "Motia-First": repr(now),
            **headers_in(arrival.asked.trace),
        }
        data = _encode_json(_Deadline(key, first))
        at = now + self._join.timeout
        await self._log.append(retry_subject(self._step), data, headers=headers, at=at, slot=self._slot(first))
        return at

    async def _expire(self, arrival: Arrival) -> None:
        hands, deadline = arrival.hands, _decode_deadline(arrival.record.data)
        if await hands.recovered(arrival):
            return
        attempt = hands.attempt(arrival)
        while True:
            found, revision, over = await self._read(deadline.key)
            if found is None or found.first != deadline.first:
                break  # it was complete in time
            try:
                await self._take(attempt, deadline.key, found, f"l-{found.first}", revision, over, LATE)
                break
            except Conflict:
                continue
        arrival.delivery.ack()

    def _subject(self, key: str) -> str:
        return self._prefix + encode(key)

    def _slot(self, first: str) -> str:
        return f"join.{encode(self._step)}.{encode(first)}"


def _name(arrival: Arrival) -> str:
    """Of the event, different each time that it is redriven."""
    asked = arrival.asked
    return f"{asked.event_id}+{asked.redrives}" if asked.redrives else asked.event_id


def _planned(attempt: Attempt, write: Write, *emits: Emitted) -> Planned:
    trace = format_parent(attempt.trace_id, attempt.span_id)
    return Planned("", trace, [write], list(emits), tracestate=attempt.tracestate)
