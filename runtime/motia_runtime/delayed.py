"""Emits that wait for their time. Each stands in a slot of the log, where it can be listed, replaced and cancelled, over restarts:

    emit.<topic>.=i<hash>   an emit without a key; the hash is of its id, so a commit that is repeated finds its own place
    emit.<topic>.<key>      the one of that key: at most one waits, the newest wins

Whoever uses a keyed slot, and whoever cancels, first leaves a note whose it was, `rt.=k.<topic>.<key>`. A commit that is repeated after a
crash reads there whether somebody came after it: then the slot is not its to touch any more. The broker's memory of ids would not do, since it
forgets those of what has been cancelled or has fired when it restarts.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import msgspec

from motia_runtime.context.base import new_id
from motia_runtime.naming import check_key, decode, encode, topic_of
from motia_runtime.ports import Log, Scheduled
from motia_runtime.trace import parse

ID = "Motia-Id"  # header with the id of an emit: the broker drops its own when the time comes
NOTED = 30 * 86_400.0  # seconds a note stays: longer than an input can come again
OWN = "=i"  # starts the last token of a slot without a key; no name encodes to it

_SLOT = re.compile(r"emit\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+")


class DelayedEmit(msgspec.Struct, frozen=True):
    """One that waits. `slot` is what cancel takes."""

    slot: str
    topic: str
    key: str | None
    at: float  # seconds since the epoch
    trace_id: str  # of the run that emitted it, and of those that it will set off
    data: bytes

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**msgspec.structs.asdict(self), "data": msgspec.Raw(self.data)}


def keyed_slot(topic: str, key: object) -> str:
    """Raises `InvalidKey`."""
    return f"emit.{encode(topic)}.{encode(check_key(key))}"


def key_of(slot: str) -> str:
    """That a keyed slot is of."""
    return decode(slot.rpartition(".")[2])


def own_slot(subject: str, emit_id: str) -> str:
    """Of an emit without a key. `subject`: of its event."""
    return f"emit.{encode(topic_of(subject))}.{OWN}{sha256(emit_id.encode()).hexdigest()[:24]}"


# -- whose a slot is


def _note_subject(slot: str) -> str:
    return f"rt.=k.{slot.removeprefix('emit.')}"


async def note(log: Log, slot: str, whose: str) -> None:
    """Before the slot is used. `whose`: id of the emit or cancellation."""
    await log.append(_note_subject(slot), whose.encode(), ttl=NOTED)


async def is_past(log: Log, slot: str, whose: str, since: float) -> bool:
    """Whether somebody else has used the slot after a commit that was planned at `since` and did, or was to, itself."""
    found = await log.last(_note_subject(slot))
    return found is not None and found.data != whose.encode() and found.time > since


# -- for people


async def waiting(log: Log, *, topic: str | None = None, limit: int = 100) -> list[DelayedEmit]:
    """The earliest first. Raises `LogUnavailable`."""
    pattern = "emit.>" if topic is None else f"emit.{encode(topic)}.*"
    return [_read(found) for found in await log.scheduled(pattern, limit=limit)]


def check_slot(slot: str) -> None:
    """Raises `ValueError` for what is no slot of an emit."""
    if not _SLOT.fullmatch(slot):
        raise ValueError(f"{slot!r} is no slot of an emit")


async def cancel(log: Log, slot: str) -> bool:
    """Take one out for good. False: nothing waits there, it was never there or its time has come. Raises `ValueError` for what is no slot of an
    emit, `LogUnavailable`."""
    check_slot(slot)
    await note(log, slot, f"cancel:{new_id()}")
    return await log.cancel(slot)


def _read(found: Scheduled) -> DelayedEmit:
    own = found.slot.rpartition(".")[2].startswith(OWN)
    trace = parse(found.headers.get("traceparent"))
    return DelayedEmit(
        slot=found.slot,
        topic=topic_of(found.subject),
        key=None if own else key_of(found.slot),
        at=found.at,
        trace_id=trace.trace_id if trace else "",
        data=found.data,
    )
