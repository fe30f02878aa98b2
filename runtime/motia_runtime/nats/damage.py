"""What a broken disk has done to the store: never passed over in silence.

NATS keeps a checksum of each record and of what it knows of a stream. A stream whose description is damaged it leaves out at its start, so that an
app would make a new, empty one in its place; records that are damaged it leaves out of what it gives. It has none of the position of a consumer: one that
can't be read at all is left out, and made again (`positions`); damage that gives another position is found by nobody.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.nats.link import Link, problem
from motia_runtime.nats.reads import PAGE, Reader
from motia_runtime.nats.streams import Layout
from motia_runtime.ports import LogUnavailable

# What nats-server says at a start about streams that it can't take back: of damage in its index alone it recovers by itself, and lost consumers are made
# again. A damaged word in the description of either makes it one of a newer server, for which it takes the stream out of service.
_LEFT_OUT = re.compile(
    r"\[(?:WRN|ERR)\]\s+((?:(?![^'\"]*consumer).*(?:metafile|metasum|checksum file|recreating stream|adding stream)|.*unsupported (?:stream|consumer)).*)"
)


MOST_GAPS = 100_000  # sequences that a stream has no more, each of which is in the answer that tells of damage: 0.1 s


class Lost(msgspec.Struct):
    """Records that the server found damaged when it took its store back."""

    msgs: list[int] | None = None
    bytes: int = 0


class State(msgspec.Struct):
    messages: int = 0
    num_deleted: int = 0
    first_seq: int = 0
    last_seq: int = 0
    deleted: list[int] | None = None
    lost: Lost | None = None


class _Info(msgspec.Struct):
    state: State = msgspec.field(default_factory=State)
    error: dict[str, Any] | None = None


class Examined(msgspec.Struct, frozen=True):
    """One stream of an app, read from end to end."""

    stream: str
    records: int
    unreadable: list[
        tuple[int, int]
    ]  # sequences of records that are counted and can't be read: first and last of each stretch
    lost_bytes: int  # found damaged at the server's last start

    @property
    def whole(self) -> bool:
        return not self.unreadable and not self.lost_bytes


def left_out(log: bytes) -> list[str]:
    """What the lines of a server's log say of streams that it could not take back."""
    return [found[1].strip() for line in log.decode(errors="replace").splitlines() if (found := _LEFT_OUT.search(line))]


def set_aside(store: Path, stream: str, name: str) -> None:
    """Move what the embedded server can't read of a consumer out of its way, to `damaged` beside the store."""
    for there in store.glob(f"jetstream/*/streams/{stream}/obs/{name}"):
        kept = store.parent / "damaged" / f"{stream}.{name}.{time.time_ns()}"
        kept.parent.mkdir(exist_ok=True)
        there.rename(kept)


async def lost_bytes(link: Link, stream: str) -> int:
    """Of records that were damaged when the server started. 0 also for a stream with so many gaps that asking takes long. Raises `LogUnavailable`."""
    state = await _state(link, stream, b"")
    if state.num_deleted <= MOST_GAPS:
        state = await _state(link, stream)
    return state.lost.bytes if state.lost else 0


async def examine(link: Link, layout: Layout, part: str) -> Examined:
    """Read each record of one part of the log. What is written or removed meanwhile does no harm. Raises `LogUnavailable`."""
    stream = layout.stream(part)
    before = await _state(link, stream)
    reader = Reader(link, layout, leader=False)
    there: set[int] = set()
    at = before.first_seq
    while at <= before.last_seq:
        page, _, newest = await reader.many(stream, {"seq": at, "batch": PAGE, "next_by_subj": ">"}, _sequence)
        there.update(page)
        if newest == 0:
            break
        at = newest + 1
    after = await _state(link, stream)
    gone = {*(before.deleted or ()), *(after.deleted or ())}
    first = max(before.first_seq, after.first_seq)
    missing = [n for n in range(first, before.last_seq + 1) if n not in there and n not in gone]
    return Examined(stream, before.messages, _stretches(missing), after.lost.bytes if after.lost else 0)


async def _state(link: Link, stream: str, asked: bytes = b'{"deleted_details":true}') -> State:
    status, _, data = await link.request(f"$JS.API.STREAM.INFO.{stream}", asked)
    if status:
        raise problem(status, stream)
    info = msgspec.json.decode(data, type=_Info)
    if info.error is not None:
        raise LogUnavailable(f"stream {stream}: {info.error.get('description')}")
    return info.state


def _sequence(head: dict[str, str], _: bytes) -> int:
    return int(head["Nats-Sequence"])


def _stretches(numbers: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
