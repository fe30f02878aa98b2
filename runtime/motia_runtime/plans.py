"""The plan of a commit: all that one run changes, in one record (`commit`)."""

from __future__ import annotations

import msgspec

from motia_runtime.ports import Record


class Write(msgspec.Struct, array_like=True, omit_defaults=True):
    subject: str
    data: bytes | None  # None deletes
    expect: int  # revision that the key must have
    over: str | None = None  # id of the record that this one takes the place of
    ttl: float | None = None


class Emitted(msgspec.Struct, array_like=True, omit_defaults=True):
    """A record that appears when the commit is true: an event, a dead letter."""

    subject: str
    data: bytes
    at: float | None = None
    headers: dict[str, str] | None = None  # besides the trace
    slot: str | None = None  # of an emit with a key (`delayed`); there is an `at` then


CLAIM = "Motia-Claim"  # header of a record that holds a place for the mark of a plan
KEPT = "Motia-Kept"  # header of such a mark


class Mark(msgspec.Struct, array_like=True, omit_defaults=True):
    """A record of our own in part rt. Somebody else's record in its place means that it was written already, but for a claim of this name (`CLAIM`):
    whoever holds that now, it waits for this mark."""

    subject: str
    data: bytes
    expect: int
    ttl: float | None = None
    claim: str = ""
    until: float = 0.0  # with `claim`: when the lease on it ends that the plan was made under, seconds since the epoch


class Planned(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a commit will make true."""

    id: str
    trace: str  # traceparent of what it emits
    writes: list[Write] = []
    emits: list[Emitted] = []
    marks: list[Mark] = []
    cancels: list[str] = []  # slots of emits with a key that shall wait no longer
    at: str = ""  # subject of the plan with this id, which this input shares with others (`batch`); nothing else is in this one then
    tracestate: str = ""  # of what it emits


encode_plan = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Planned).decode


def read_plan(record: Record) -> Planned:
    """Raises `msgspec.DecodeError` for a record that no engine has written."""
    return _decode(record.data)
