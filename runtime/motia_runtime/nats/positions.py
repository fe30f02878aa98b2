"""How far each durable consumer has come, kept in `rt.=p.<stream>.<consumer>`: one that the broker loses begins there again.

A new consumer begins with what is new. NATS keeps no checksum of a consumer, and leaves out one that it can't read any more; made as a new one, it would
pass over what had waited, without a word. So what is kept here is never above what has ended, and plans of commits stay until it has been kept: what comes
again behind it finds its plan, and no effect is there twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from motia_runtime.nats.reads import Reader
from motia_runtime.ports import Conflict, Record

PREFIX = "rt.=p."  # "=p" is no encoded name, so no stream of the app's can have these subjects


class Position(NamedTuple):
    ended: int  # everything in the stream up to this seq
    revision: int  # of the record here
    time: float  # when it was kept, seconds since the epoch by the broker's clock


class _Kept(msgspec.Struct):
    ended: int


_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Kept).decode


class Positions:
    """Of the consumers of one app. Every instance keeps them; none is ever set back by one who has looked earlier."""

    def __init__(self, reader: Reader, append: Callable[..., Awaitable[int]]) -> None:
        self._reader = reader
        self._append = append

    async def of(self, stream: str, name: str) -> Position | None:
        """None: there was no such consumer. Raises `LogUnavailable`."""
        record = await self._reader.last(place(stream, name))
        return None if record is None else _position(record)

    async def all(self) -> dict[tuple[str, str], Position]:
        """By stream and consumer. Raises `LogUnavailable`."""
        return await kept_positions(self._reader)

    async def put(self, stream: str, name: str, ended: int, revision: int = 0) -> None:
        """Raises `Conflict` when somebody has put or removed it since that revision (0: there was none), `LogUnavailable`."""
        await self._append(place(stream, name), _encode(_Kept(ended)), expect=revision)

    async def advance(self, stream: str, name: str, ended: int, known: Position) -> None:
        """To there at least, unless it has been removed. Raises `LogUnavailable`."""
        position: Position | None = known
        while position is not None and position.ended < ended:
            try:
                return await self.put(stream, name, ended, position.revision)
            except Conflict:
                position = await self.of(stream, name)


def _position(record: Record) -> Position:
    return Position(_read(record.data).ended, record.seq, record.time)


async def kept_positions(reader: Reader) -> dict[tuple[str, str], Position]:
    return {
        (stream, name): _position(record)
        for record in await reader.lasts(f"{PREFIX}>")
        for stream, _, name in [record.subject.removeprefix(PREFIX).partition(".")]
    }


def place(stream: str, name: str) -> str:
    """Where it is in the log."""
    return f"{PREFIX}{stream}.{name}"
