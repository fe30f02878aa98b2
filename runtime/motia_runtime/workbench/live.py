"""The live channel: what happens, to the browsers that look, over a WebSocket. It costs nothing while nobody looks.

Messages are JSON with a `type`:

    hello    once: version of the spec that runs
    runs     runs that have ended: [{trace_id, span_id, step, outcome, started, duration, attempt, emits}]
    running  twice a second when anything changed: runs under way in this process for a while, with how many lines they have logged
    steps    every 2 seconds at most, when anything changed: how each step stands, with its dead letters
    clients  every 2 seconds at most, when anything changed: how many follow streams, by group
    board    a save was looked at: its findings
    lost     the browser was too slow and has missed events: read anew

The socket is closed with 1012 when another version takes over or the app stops, with 1013 when too many look: connect again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from motia_runtime.http.guard import Receive, Send
from motia_runtime.naming import dead_subject
from motia_runtime.ports import Log, LogUnavailable
from motia_runtime.records import RunRecord
from motia_runtime.standings import standings
from motia_runtime.workbench.audience import audience
from motia_runtime.workbench.bench import Bench
from motia_spec.model import Project

POLL = 2.0  # seconds between looks at the steps' backlogs
GLANCE = 0.5  # seconds between looks at what runs
WAITING = 64  # events that may wait for a browser
RUNS_AT_ONCE = 500  # runs told in one event; more are counted
MOST = 64  # browsers
RESTART, FULL = 1012, 1013  # close codes

_log = logging.getLogger("motia.workbench")
_encode = msgspec.json.Encoder().encode


class _Looker:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self.lost = False

    def tell(self, event: bytes) -> None:
        if self.lost:
            return
        if self.queue.qsize() >= WAITING - 1:
            self.lost = True
            event = _encode({"type": "lost"})
        self.queue.put_nowait(event)

    def end(self) -> None:
        """Nothing follows. Who has missed events has enough to read before it sees that."""
        if not self.lost:
            self.queue.put_nowait(b"")


class Hub:
    """Of one version of an app. Lives from its first looker to its last, and again."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._lookers: set[_Looker] = set()
        self._polling: list[asyncio.Task[None]] = []
        self._running = b""
        self._steps = b""
        self._clients = b""
        self._closed = False
        bench.board.listeners.append(self._saved)

    def close(self) -> None:
        """Send everybody away: another version takes over, or the app stops."""
        self._closed = True
        if self._saved in self._bench.board.listeners:
            self._bench.board.listeners.remove(self._saved)
        for looker in self._lookers:
            looker.end()
        self._rest()

    # -- one browser

    async def serve(self, receive: Receive, send: Send) -> None:
        """Tell one browser, whose WebSocket is open, until it goes or `close` is called."""
        looker = _Looker()
        hello = {"type": "hello", "fingerprint": self._bench.project.fingerprint, "board": self._bench.board.plain()}
        await send({"type": "websocket.send", "text": _encode(hello).decode()})
        if self._closed or len(self._lookers) >= MOST:
            await send({"type": "websocket.close", "code": RESTART if self._closed else FULL})
            return
        self._enter(looker)
        feeding = asyncio.create_task(self._feed(looker, send))
        feeding.add_done_callback(_tell)
        try:
            while (await receive())["type"] != "websocket.disconnect":
                pass  # there is nothing that a browser could say
        finally:
            feeding.cancel()
            self._leave(looker)

    async def _feed(self, looker: _Looker, send: Send) -> None:
        while event := await looker.queue.get():
            await send({"type": "websocket.send", "text": event.decode()})
            if looker.queue.empty():
                looker.lost = False
                if self._closed:
                    break
        await send({"type": "websocket.close", "code": RESTART})

    def _enter(self, looker: _Looker) -> None:
        self._lookers.add(looker)
        if not self._polling:
            self._steps = self._clients = self._running = b""
            self._bench.history.listeners.append(self._ran)
            self._polling = [asyncio.create_task(self._poll()), asyncio.create_task(self._glance())]
            for task in self._polling:
                task.add_done_callback(_tell)
        else:
            for known in (self._steps, self._clients, self._running):
                if known:
                    looker.tell(known)

    def _leave(self, looker: _Looker) -> None:
        self._lookers.discard(looker)
        if not self._lookers:
            self._rest()

    def _rest(self) -> None:
        """Nobody looks."""
        if self._polling:
            for task in self._polling:
                task.cancel()
            self._polling = []
            self._bench.history.listeners.remove(self._ran)

    # -- what happens

    def _tell(self, event: dict[str, Any]) -> None:
        if self._lookers:
            self._tell_all(_encode(event))

    def _tell_all(self, event: bytes) -> None:
        for looker in self._lookers:
            looker.tell(event)

    def _ran(self, runs: Sequence[RunRecord]) -> None:
        shown = [run_line(run) for run in runs[-RUNS_AT_ONCE:]]
        self._tell({"type": "runs", "runs": shown, "more": len(runs) - len(shown)})

    def _saved(self) -> None:
        self._tell({"type": "board", "board": self._bench.board.plain()})

    async def _glance(self) -> None:
        known: object = [0]
        while True:
            told = self._bench.running.told(time.perf_counter(), time.time())
            runs = told["runs"]
            what = [told["more"], *((run["span_id"], run["attempt"], run["lines"]) for run in runs)]
            if what != known:
                known = what
                self._running = _encode({"type": "running", **told})
                self._tell_all(self._running)
            await asyncio.sleep(GLANCE)

    async def _poll(self) -> None:
        while True:
            clients = _encode({"type": "clients", **audience(self._bench.live)})
            if clients != self._clients:
                self._clients = clients
                self._tell_all(clients)
            with contextlib.suppress(LogUnavailable):
                await self._bench.history.index()  # from now on it follows
                event = _encode({"type": "steps", "steps": await self.steps()})
                if event != self._steps:
                    self._steps = event
                    self._tell_all(event)
            await asyncio.sleep(POLL)

    async def steps(self) -> list[dict[str, Any]]:
        """How each step stands, and its runs of the last minute, as the spec orders them. Raises `LogUnavailable`."""
        bench = self._bench
        counts = bench.history.minute.counts(bench.clock.time())
        found = []
        for standing in await stand(bench.log, bench.project):
            runs, failed = counts.get(standing["step"], (0, 0))
            found.append({**standing, "runs": runs, "failed": failed})
        return found


async def stand(log: Log, project: Project) -> list[dict[str, Any]]:
    """How each step stands, and how many dead letters it has. Raises `LogUnavailable`."""
    letters = await log.counts("dlq.>")  # told by the broker: no letter is read
    return [
        {**msgspec.structs.asdict(each), "dead": letters.get(dead_subject(each.step), 0)}
        for each in await standings(log, project, oldest=True)
    ]


def run_line(run: RunRecord) -> dict[str, Any]:
    """A run in a list."""
    return {
        "trace_id": run.trace_id,
        "span_id": run.span_id,
        "step": run.step,
        "outcome": run.outcome,
        "started": run.started,
        "duration": run.duration,
        "attempt": run.attempt,
        "error": None if run.error is None else f"{run.error.type}: {run.error.message}"[:300],
        "emits": sorted({emit.topic for emit in run.emits}),
    }


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("the Workbench's live channel has stopped; reload its page", exc_info=problem)
