"""What has happened: traces, runs as they end, log lines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import msgspec

from motia_runtime.cli.errors import Failure
from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http, NotThere, Unreachable
from motia_runtime.cli.reach.way import Way
from motia_runtime.observe.feed import Feed
from motia_runtime.observe.index import TraceIndex, open_index
from motia_runtime.observe.matching import fits
from motia_runtime.observe.view import Filter, LogEntry, TraceSummary
from motia_runtime.records import RunRecord

MOST = 1_000  # lines asked for at a time
LOOK = 0.5  # seconds between looks for what is new, over HTTP
AGAIN = 2.0  # seconds until an app that has gone is tried again, while somebody follows

T = TypeVar("T")


class History(Protocol):
    async def traces(self, wanted: Filter, limit: int) -> list[TraceSummary]:
        """Newest first."""
        ...

    async def beginning_with(self, start: str, limit: int) -> list[str]:
        """The ids of traces that begin so."""
        ...

    async def runs(self, trace_id: str) -> list[RunRecord]:
        """Of one trace, ordered by start; empty when nothing of it is kept."""
        ...

    def tail(self, wanted: Filter) -> AsyncIterator[list[RunRecord]]:
        """Runs that end from now on, for ever."""
        ...

    def lines(self, wanted: Filter, level: str, limit: int, *, follow: bool) -> AsyncIterator[list[LogEntry]]:
        """First the newest that are there, then, to follow, what comes; oldest first."""
        ...


def history_of(way: Way) -> History:
    return HttpHistory(way) if isinstance(way, Http) else BrokerHistory(way)


async def whole_id(history: History, start: str) -> str:
    """The trace id that begins so. Failure when none does, or several do."""
    if len(start) == 32:
        return start
    found = await history.beginning_with(start, 6)
    if len(found) > 1:
        raise Failure(f"several traces begin with {start}: {', '.join(found[:5])}")
    if not found:
        raise no_trace(start)
    return found[0]


def no_trace(start: str) -> Failure:
    return Failure(f"no trace {start} is kept; `motia trace ls` lists them")


class BrokerHistory:
    def __init__(self, way: Broker) -> None:
        self._way = way

    async def traces(self, wanted: Filter, limit: int) -> list[TraceSummary]:
        async with self._index() as index:
            return (await index.traces(wanted, limit=limit)).items

    async def beginning_with(self, start: str, limit: int) -> list[str]:
        async with self._index() as index:
            return await index.beginning_with(start, limit=limit)

    async def runs(self, trace_id: str) -> list[RunRecord]:
        async with self._index() as index:
            found = await index.trace(trace_id)
        return [] if found is None else found.runs()

    async def tail(self, wanted: Filter) -> AsyncIterator[list[RunRecord]]:
        log = self._way.log
        async for found in Feed(log, after=await log.newest("run")).follow():
            yield [stored.record for stored in found if fits(stored.record, wanted)]

    async def lines(self, wanted: Filter, level: str, limit: int, *, follow: bool) -> AsyncIterator[list[LogEntry]]:
        async with self._index() as index:
            newest = await index.newest_line()
            page = await index.logs(wanted, level=level, limit=max(limit, 1))
            yield page.items[:limit][::-1]
            if not follow:
                return
            heard = asyncio.Event()
            index.listen(lambda _: heard.set())
            index.follow()
            while True:
                await heard.wait()
                heard.clear()
                after, fresh = "", []
                while True:  # all pages, for there may be many
                    page = await index.logs(wanted, level=level, limit=MOST, newer_than=newest, after=after)
                    fresh += page.items
                    after = page.next
                    if not after:
                        break
                newest = max([newest, *(entry.id for entry in fresh)])
                yield fresh[::-1]

    @asynccontextmanager
    async def _index(self) -> AsyncIterator[TraceIndex]:
        """The index of the app's runs, up to date."""
        from motia_runtime.broker import broker_url

        project = self._way.project
        name = f"{broker_url(project, os.environ)} {project.nats.prefix}"
        async with open_index(self._way.log, project.root / ".motia", name=name) as index:
            await index.catch_up()
            yield index


class _Traces(msgspec.Struct):
    traces: list[TraceSummary]


class _Trace(msgspec.Struct):
    runs: list[RunRecord]


class _Records(msgspec.Struct):
    records: list[RunRecord]
    next: int


class _Lines(msgspec.Struct):
    lines: list[LogEntry]
    next: str
    newest: int


class HttpHistory:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def traces(self, wanted: Filter, limit: int) -> list[TraceSummary]:
        return (await self._way.get(_Traces, "traces", **_query(wanted), limit=limit)).traces

    async def beginning_with(self, start: str, limit: int) -> list[str]:
        return [each.trace_id for each in await self.traces(Filter(trace=start), limit)]

    async def runs(self, trace_id: str) -> list[RunRecord]:
        try:
            found = await self._way.get(_Trace, "traces", trace_id)
        except NotThere:
            return []
        # the app knows of runs that are under way in the process that has answered; records are of those that have ended, anywhere
        return [run for run in found.runs if run.outcome != "running"]

    async def tail(self, wanted: Filter) -> AsyncIterator[list[RunRecord]]:
        query = _query(wanted)
        after = (await self._way.get(_Records, "records")).next
        while True:
            page = await _patiently(lambda after=after: self._way.get(_Records, "records", **query, after=after))  # type: ignore[misc]  # the default binds it
            if page.records:
                yield page.records
            if page.next == after:
                await asyncio.sleep(LOOK)
            after = page.next

    async def lines(self, wanted: Filter, level: str, limit: int, *, follow: bool) -> AsyncIterator[list[LogEntry]]:
        query = {**_query(wanted), "level": level or None}
        first = await self._way.get(_Lines, "logs", **query, limit=max(limit, 1))
        newest = first.newest
        yield first.lines[:limit][::-1]
        while follow:
            fresh: list[LogEntry] = []
            after = ""
            while True:  # all pages, for there may be many
                asked = {**query, "limit": MOST, "newer": newest, "after": after or None}
                page = await _patiently(lambda asked=asked: self._way.get(_Lines, "logs", **asked))  # type: ignore[misc]
                fresh += page.lines
                after = page.next
                if not after:
                    break
            # an app whose index was made anew counts from the beginning
            newest = max([newest, *(entry.id for entry in fresh)]) if page.newest >= newest else page.newest
            yield fresh[::-1]
            await asyncio.sleep(LOOK)


def _query(wanted: Filter) -> dict[str, Any]:
    return {
        "trace": wanted.trace or None,
        "step": ",".join(wanted.steps) or None,
        "outcome": ",".join(wanted.outcomes) or None,
        "since": wanted.since,
        "until": wanted.until,
        "longer": wanted.longer,
        "text": wanted.text or None,
    }


async def _patiently(question: Callable[[], Any]) -> Any:
    """Who follows does so over a restart of the app."""
    told = False
    while True:
        try:
            return await question()
        except Unreachable as problem:
            from motia_runtime.cli.console import say

            if not told:
                say(f"{problem}; waiting for it")
                told = True
            await asyncio.sleep(AGAIN)
