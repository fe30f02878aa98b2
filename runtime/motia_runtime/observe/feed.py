"""Records of runs in the order in which they were written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec

from motia_runtime.ports import Log, LogUnavailable
from motia_runtime.records import SUBJECT, RunRecord, read_record

PAGE = 64  # entries of the log read at a time
GATHER = 0.1  # seconds between looks while records come: many runs, one look
RETRY = 1.0  # seconds before the broker is asked again that could not be reached

_log = logging.getLogger("motia.observe")


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record and where it stands."""

    seq: int  # of the entry of the log
    line: int  # in that entry, from 0
    time: float  # when it was written, by the broker's clock
    record: RunRecord


class Feed:
    """Reads on from where it stands. `after`: seq of the last entry that is known already."""

    def __init__(self, log: Log, *, after: int = 0) -> None:
        self._log = log
        self.after = after

    async def more(self) -> list[Stored]:
        """What has been written since, at most a few megabytes; empty at the end. Raises `LogUnavailable`."""
        while True:
            entries = await self._log.since(SUBJECT, after=self.after, limit=PAGE)
            if not entries:
                return []
            self.after = entries[-1].seq
            found = await asyncio.to_thread(_read, [(entry.seq, entry.time, entry.data) for entry in entries])
            if found:
                return found

    async def follow(self) -> AsyncIterator[list[Stored]]:
        """What has been written since, then whatever comes, for ever. An outage of the broker is waited out."""
        bell = asyncio.Event()
        stop = self._log.watch(SUBJECT, lambda _: bell.set())
        try:
            while True:
                bell.clear()
                try:
                    while found := await self.more():
                        yield found
                except LogUnavailable as problem:
                    _log.warning("records of runs can't be read (%s); trying again", problem)
                    await asyncio.sleep(RETRY)
                    continue
                await bell.wait()
                await asyncio.sleep(GATHER)
        finally:
            stop()


def lines_of(data: bytes) -> list[bytes]:
    """The records of one entry."""
    return [line for line in data.split(b"\n") if line]


def _read(entries: list[tuple[int, float, bytes]]) -> list[Stored]:
    found = []
    for seq, time, data in entries:
        for number, line in enumerate(lines_of(data)):
            try:
                found.append(Stored(seq, number, time, read_record(line)))
            except msgspec.DecodeError as problem:  # written by another version, or by hand
                _log.warning("a record of entry %s can't be read: %s", seq, problem)
    return found
