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


class Mark(msgspec.Struct, array_like=True, omit_defaults=True):
    """A record of our own in part rt. Somebody else's record in its place means that it was written already."""

    subject: str
    data: bytes
    expect: int
    ttl: float | None = None


class Planned(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a commit will make true."""

    id: str
    trace: str  # traceparent of what it emits
    writes: list[Write] = []
    emits: list[Emitted] = []
    marks: list[Mark] = []
    cancels: list[str] = []  # slots of emits with a key that shall wait no longer


encode_plan = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Planned).decode


def read_plan(record: Record) -> Planned:
    """Raises `msgspec.DecodeError` for a record that no engine has written."""
    return _decode(record.data)
