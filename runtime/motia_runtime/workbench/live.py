"""The live channel: what happens, to the browsers that look, as server-sent events. It costs nothing while nobody looks.

Events are JSON with a `type`:

    hello    once: version of the spec that runs
    runs     runs that have ended: [{trace_id, span_id, step, outcome, started, duration, attempt, emits}]
    steps    every 2 seconds at most, when anything changed: how each step stands
    board    a save was looked at: its findings
    lost     the browser was too slow and has missed events: read anew
    bye      another version takes over: connect again

Read with `fetch`, not with `EventSource`: so it carries the header and the token that `site` asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from motia_runtime.http.guard import Receive, Send
from motia_runtime.http.problems import NOSNIFF, Header
from motia_runtime.ports import LogUnavailable
from motia_runtime.records import RunRecord
from motia_runtime.standings import standings
from motia_runtime.workbench.bench import Bench

POLL = 2.0  # seconds between looks at the steps' backlogs
KEEP_ALIVE = 15.0  # seconds without an event until a comment is sent
WAITING = 64  # events that may wait for a browser
RUNS_AT_ONCE = 500  # runs told in one event; more are counted
MOST = 64  # browsers
STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    NOSNIFF,
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

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


class Hub:
    """Of one version of an app. Lives from its first looker to its last, and again."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._lookers: set[_Looker] = set()
        self._polling: asyncio.Task[None] | None = None
        self._steps = b""
        self._closed = False
        bench.board.listeners.append(self._saved)

    def close(self) -> None:
        """Send everybody away: another version takes over, or the app stops."""
        self._closed = True
        if self._saved in self._bench.board.listeners:
            self._bench.board.listeners.remove(self._saved)
        self._tell({"type": "bye"})
        self._rest()

    # -- one browser

    async def serve(self, receive: Receive, send: Send) -> None:
        """Answer one request for the channel, until the browser goes or `close` is called."""
        looker = _Looker()
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        hello = {"type": "hello", "fingerprint": self._bench.project.fingerprint, "board": self._bench.board.plain()}
        await self._send(send, _encode(hello))
        if self._closed or len(self._lookers) >= MOST:
            await self._send(send, _encode({"type": "bye"}))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        self._enter(looker)
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await self._feed(looker, gone, send)
        finally:
            gone.cancel()
            self._leave(looker)

    async def _feed(self, looker: _Looker, gone: asyncio.Task[None], send: Send) -> None:
        while not gone.done():
            following = asyncio.create_task(looker.queue.get())
            await asyncio.wait({following, gone}, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                if not gone.done():
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
                continue
            await self._send(send, following.result())
            if looker.queue.empty():
                looker.lost = False
                if self._closed:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return

    async def _send(self, send: Send, event: bytes) -> None:
        await send({"type": "http.response.body", "body": b"data: %b\n\n" % event, "more_body": True})

    def _enter(self, looker: _Looker) -> None:
        self._lookers.add(looker)
        if self._polling is None:
            self._steps = b""
            self._bench.history.listeners.append(self._ran)
            self._polling = asyncio.create_task(self._poll())
            self._polling.add_done_callback(_tell)
        elif self._steps:
            looker.tell(self._steps)

    def _leave(self, looker: _Looker) -> None:
        self._lookers.discard(looker)
        if not self._lookers:
            self._rest()

    def _rest(self) -> None:
        """Nobody looks."""
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None
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

    async def _poll(self) -> None:
        while True:
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
        for standing in await standings(bench.log, bench.project):
            runs, failed = counts.get(standing.step, (0, 0))
            found.append({**msgspec.structs.asdict(standing), "runs": runs, "failed": failed})
        return found


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


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("the Workbench's live channel has stopped; reload its page", exc_info=problem)
