"""What has happened, for the Workbench: the index of records, opened when somebody first looks and kept up with from then on."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from motia_runtime.observe.index import TraceIndex, open_index
from motia_runtime.observe.view import Filter
from motia_runtime.ports import Clock, Log, LogUnavailable
from motia_runtime.records import RunRecord

PATIENCE = 3.0  # seconds that the first question waits for the index to be made; the others see how far it is
AGAIN = 2.0  # seconds until it is tried again
WINDOW = 60.0  # seconds that are counted
FAILED = frozenset({"failed", "dead", "retry"})
Seen = Callable[[Sequence[RunRecord]], None]

_log = logging.getLogger("motia.workbench")


class Minute:
    """Runs of the last minute, by step."""

    def __init__(self) -> None:
        self._runs: collections.deque[tuple[float, str, bool]] = collections.deque()

    def add(self, ended: float, step: str, outcome: str) -> None:
        self._runs.append((ended, step, outcome in FAILED))

    def counts(self, now: float) -> dict[str, tuple[int, int]]:
        """Runs and failures by step."""
        while self._runs and self._runs[0][0] < now - WINDOW:
            self._runs.popleft()
        found: dict[str, tuple[int, int]] = {}
        for ended, step, failed in self._runs:
            if ended >= now - WINDOW:
                runs, failures = found.get(step, (0, 0))
                found[step] = (runs + 1, failures + failed)
        return found


class History:
    """Of one app, over all its versions. Opened by the first `index`, closed with the app."""

    def __init__(self, log: Log, clock: Clock, folder: Path, name: str) -> None:
        self._log = log
        self._clock = clock
        self._folder = folder
        self._name = name
        self._stack = contextlib.AsyncExitStack()
        self._opening: asyncio.Task[TraceIndex] | None = None
        self._caught_up: asyncio.Task[None] | None = None
        self.minute = Minute()
        self.listeners: list[Seen] = []

    async def index(self) -> TraceIndex:
        """The index, complete but for what is written just now; after `PATIENCE` as far as it is. Raises `LogUnavailable`."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open())
        index = await asyncio.shield(self._opening)
        if self._caught_up is None:
            self._caught_up = asyncio.create_task(self._catch_up(index))
        await asyncio.wait([self._caught_up], timeout=PATIENCE)
        return index

    async def close(self) -> None:
        """Twice is harmless."""
        for task in (self._caught_up, self._opening):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._stack.aclose()

    async def _open(self) -> TraceIndex:
        try:
            return await self._stack.enter_async_context(open_index(self._log, self._folder, name=self._name))
        except (OSError, sqlite3.Error) as problem:
            _log.warning("no index can be kept in %s (%s); it is made anew with each start", self._folder, problem)
            return await self._stack.enter_async_context(open_index(self._log, None, name=self._name))

    async def _catch_up(self, index: TraceIndex) -> None:
        while True:
            try:
                await index.catch_up()
                break
            except LogUnavailable as problem:
                _log.debug("the index is brought up to date later: %s", problem)
                await asyncio.sleep(AGAIN)
        recent = await index.runs(Filter(since=self._clock.time() - WINDOW), limit=1_000)
        for run in reversed(recent.items):
            self.minute.add(run.started + run.duration, run.step, run.outcome)
        index.listen(self._ran)
        index.follow()

    def _ran(self, runs: Sequence[RunRecord]) -> None:
        for run in runs:
            self.minute.add(run.started + run.duration, run.step, run.outcome)
        for listener in list(self.listeners):
            listener(runs)
