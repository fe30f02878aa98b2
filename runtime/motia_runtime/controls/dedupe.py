"""`dedupe`: of the events with the same key, the first one within the window is handled, and the others are dropped.

The first to come claims the key, with a record that only one can write. The claim names the event, so that the same event passes however
often it comes: after a crash between claim and run, in its retries, when it is redriven. How far two events are apart is told by when they were
stored, so an engine that was down counts like one that was not. A claim is forgotten after the window.
"""

from __future__ import annotations

import msgspec

from motia_runtime.controls.control import Arrival, Control, Unreadable
from motia_runtime.controls.keys import key_of, path_of
from motia_runtime.naming import encode
from motia_runtime.ports import Conflict, Log, Record
from motia_runtime.state import is_deleted
from motia_spec.model import Dedupe

SHORTEST = 1.0  # second for which the broker can keep a record


class Claim(msgspec.Struct, frozen=True):
    """Whose a key is."""

    event: str
    seen: float  # when that event was first stored, seconds since the epoch


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Claim).decode


class FirstOfKey(Control):
    def __init__(self, step: str, dedupe: Dedupe, log: Log) -> None:
        self._log = log
        self._path = path_of(dedupe.key)
        self._window = dedupe.window
        self._prefix = (
            f"rt.=d.{encode(step)}."  # "=d" is no encoded name, so no stream of the app's can have these subjects
        )

    async def admit(self, arrival: Arrival) -> bool:
        asked = arrival.asked
        if asked.attempt > 1 or asked.redrives:
            return True  # it was let pass before
        try:
            key = key_of(arrival.value, self._path)
        except Unreadable:
            return True
        if key is None:
            return True  # without a key it is like no other
        subject = self._prefix + encode(key)
        claim = _encode(Claim(asked.event_id, asked.first_seen))
        expect = 0  # most keys are new
        while True:
            try:
                await self._log.append(subject, claim, expect=expect, ttl=max(SHORTEST, self._window))
                return True
            except Conflict:
                record = await self._log.last(subject)
            expect = 0 if record is None else record.seq
            held = _claim_in(record)
            if held is None:
                continue
            apart = asked.first_seen - held.seen
            if held.event == asked.event_id or apart <= -self._window:
                return True
            if apart < self._window:
                arrival.hands.drop(arrival, "duplicate")
                return False


def _claim_in(record: Record | None) -> Claim | None:
    return None if record is None or is_deleted(record) else _decode(record.data)
