"""What happened, found again: `TraceIndex` follows the records of runs, keeps an index of them, and answers from it.

    async with open_index(log, folder) as index:       # folder: of the app's files, `.motia`; None keeps nothing
        await index.catch_up()
        page = await index.traces(Filter(outcomes=("dead", "failed"), text="card declined"), limit=50)
        tree = await index.trace(page.items[0].trace_id)

`follow` keeps it up to date and tells of what comes. The records themselves stay in the log: the index knows where each stands. So it can be
thrown away at any time and is made anew, some ten thousand runs a second.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec

from motia_runtime.observe.feed import Feed, Stored, lines_of
from motia_runtime.observe.queries import MOST, Queries
from motia_runtime.observe.store import LEVELS, Store
from motia_runtime.observe.view import Filter, LogEntry, Page, RunSummary, TraceSummary, TraceTree, summary_of, tree_of
from motia_runtime.ports import Log
from motia_runtime.records import SUBJECT, RunRecord, read_record
from motia_spec.model import Project

T = TypeVar("T")
Listener = Callable[[Sequence[RunRecord]], None]

FOLDER = "index"  # in the folder of the app's files
READ_AT_ONCE = 16  # entries of the log, half a MiB each at most
GARBAGE = 100_000  # runs whose words lead nowhere, when there are more of them than others, before all is made anew

_log = logging.getLogger("motia.observe")


@asynccontextmanager
async def open_index(log: Log, folder: Path | None, *, name: str = "") -> AsyncIterator[TraceIndex]:
    """The index of one log for as long as the block lasts. In `folder` it is kept for the next time, under a name made from `name`, which says of which
    broker and app it is; several processes may share it."""
    temporary = None
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="motia-index-")
        path = Path(temporary.name) / "index.sqlite"
    else:
        path = folder / FOLDER / f"{sha256(name.encode()).hexdigest()[:12]}.sqlite"
    index = TraceIndex(log, path)
    try:
        try:
            await index.open()
        except (OSError, sqlite3.Error) as problem:
            if folder is None:
                raise
            _log.warning("%s can't be used (%s); the index is made anew this time", path, problem)
            async with open_index(log, None) as unkept:
                yield unkept
            return
        yield index
    finally:
        await index.close()
        if temporary is not None:
            await asyncio.to_thread(temporary.cleanup)


def steps_of(project: Project, flow: str) -> tuple[str, ...]:
    """The steps of a flow, for `Filter.steps`. KeyError when there is no such flow."""
    return project.flows[flow].steps


class TraceIndex:
    """See the module. Made by `open_index`. Methods raise `LogUnavailable` where they read the log, and `queries.BadCursor`; lists are newest
    first, at most 1,000 a page."""

    def __init__(self, log: Log, path: Path) -> None:
        self._log = log
        self._path = path
        # one connection writes, another reads: a search does not wait for what is being added
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="motia-index-writer")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="motia-index-reader")
        self._store: Store | None = None
        self._reader: Store | None = None
        self._queries: Queries | None = None
        self._feed = Feed(log)
        self._adding = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._following: asyncio.Task[None] | None = None
        self._forgotten = 0

    async def open(self) -> None:
        self._store = await self._write(Store, self._path)
        self._reader = await self._read(Store, self._path)
        self._queries = Queries(self._reader)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        for store, run in ((self._reader, self._read), (self._store, self._write)):
            if store is not None:
                await run(store.close)
        self._writing.shutdown()
        self._reading.shutdown()

    @property
    def position(self) -> int:
        """Seq of the newest entry of the log that it knows."""
        return self._feed.after

    # -- asking

    async def traces(self, wanted: Filter = Filter(), *, limit: int = 50, after: str = "") -> Page[TraceSummary]:  # noqa: B008  # frozen
        """Traces that fit, by their start. `after`: the `next` of the page before."""
        return await self._ask(lambda q: q.traces(wanted, limit=min(limit, MOST), after=after))

    async def runs(self, wanted: Filter = Filter(), *, limit: int = 50, after: str = "") -> Page[RunSummary]:  # noqa: B008  # frozen
        """Run attempts that fit, by their start."""
        return await self._ask(lambda q: q.runs(wanted, limit=min(limit, MOST), after=after))

    async def logs(
        self,
        wanted: Filter = Filter(),  # noqa: B008  # frozen
        *,
        level: str = "",
        limit: int = 100,
        after: str = "",
        newer_than: int = 0,
    ) -> Page[LogEntry]:
        """Lines that runs have logged, and the errors that they ended with. `wanted` is of the runs, but its times are the lines' own, and the line itself
        must have its words. `level`: this one or a worse one. `newer_than`: id of a line; only those that the index heard of later."""
        if level and level not in LEVELS:
            raise ValueError(f"{level!r} is no level (there are: {', '.join(LEVELS)})")
        return await self._ask(
            lambda q: q.logs(wanted, limit=min(limit, MOST), after=after, level=level, newer_than=newer_than)
        )

    async def newest_line(self) -> int:
        """Id of the newest line of `logs`, whoever logged it, for `newer_than`."""
        return await self._ask(lambda q: q.newest_line())

    async def trace(self, trace_id: str) -> TraceTree | None:
        """A trace in full. None when nothing of it is kept."""
        runs = await self._records(await self._ask(lambda q: q.places(trace_id)))
        return TraceTree(summary_of(runs), tree_of(runs)) if runs else None

    async def run(self, trace_id: str, span_id: str) -> list[RunRecord]:
        """The attempts of one span, ordered by start: one, but for a run that began again. Empty when nothing of it is kept."""
        runs = await self._records(await self._ask(lambda q: q.places(trace_id, span_id)))
        return sorted(runs, key=lambda run: run.started)

    async def beginning_with(self, start: str, *, limit: int = 10) -> list[str]:
        """The ids of traces that begin with these hex digits."""
        return await self._ask(lambda q: q.beginning_with(start, limit=limit))

    # -- keeping up

    async def catch_up(self) -> int:
        """Take in all that has been written so far. Gives how many runs were new to this index."""
        count = 0
        async with self._adding:
            await self._check()
            while found := await self._feed.more():
                await self._take(found)
                count += len(found)
        return count

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with the records that come, once they can be found, until the function is called that this gives. Something must
        `follow`."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def follow(self) -> None:
        """From now on keep up with the log, in the background, until closed."""
        if self._following is None:
            self._following = asyncio.create_task(self._keep_up())

    async def rebuild(self) -> int:
        """Throw away what there is and read the whole log again. Gives how many runs it has."""
        async with self._adding:
            await self._clear()
        return await self.catch_up()

    async def _keep_up(self) -> None:
        async with self._adding:
            await self._check()
        async for found in self._feed.follow():
            async with self._adding:
                await self._take(found)

    async def _take(self, found: list[Stored]) -> None:
        store = self._of(self._store)
        rest = found
        while rest and not await self._write(store.add, rest):  # another process was faster with some of it
            position, _ = await self._write(store.position)
            rest = [stored for stored in rest if stored.seq > position]
        records = [stored.record for stored in found]
        for listener in list(self._listeners):
            try:
                listener(records)
            except Exception:
                _log.exception("somebody who listens to records failed")

    async def _check(self) -> None:
        """Go on from where the index stands, if it is of this log; begin anew when it is not, and when it holds too much that the log has dropped."""
        store = self._of(self._store)
        position, time = await self._write(store.position)
        if position:
            there = await self._log.get("run", position)
            first = await self._log.since(SUBJECT, after=0, limit=1)
            newest = await self._log.newest("run")
            if position > newest or (there is not None and abs(there.time - time) > 0.001):
                await self._clear()
                position = 0
            elif first:
                self._forgotten += await self._write(store.forget, first[0].seq)
                if self._forgotten > GARBAGE:
                    await self._clear()
                    position = 0
        self._feed.after = position

    async def _clear(self) -> None:
        self._forgotten = 0
        self._feed.after = 0
        await self._write(self._of(self._store).clear)

    # -- reading records

    async def _records(self, places: list[tuple[int, int]]) -> list[RunRecord]:
        wanted: dict[int, list[int]] = {}
        for seq, line in places:
            wanted.setdefault(seq, []).append(line)
        found: list[RunRecord] = []
        seqs = list(wanted)
        for start in range(0, len(seqs), READ_AT_ONCE):
            some = seqs[start : start + READ_AT_ONCE]
            for seq, entry in zip(some, await asyncio.gather(*(self._log.get("run", s) for s in some)), strict=True):
                if entry is None:
                    continue  # dropped by now
                lines = lines_of(entry.data)
                for number in wanted[seq]:
                    try:
                        found.append(read_record(lines[number]))
                    except (msgspec.DecodeError, IndexError):
                        _log.warning("record %s of entry %s is not what the index says", number, seq)
        return found

    # -- threads

    async def _ask(self, question: Callable[[Queries], T]) -> T:
        return await self._read(question, self._of(self._queries))

    async def _read(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, *args)

    async def _write(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, work, *args)

    def _of(self, part: T | None) -> T:
        assert part is not None, "open() comes first"
        return part


DAMAGED = sqlite3.DatabaseError  # what methods raise when somebody has written over the file; open it anew
