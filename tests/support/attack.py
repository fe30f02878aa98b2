"""An app under attack: two engines on one log in memory, one of which dies, or worse, at a given call. Then the other goes on, and all becomes quiet."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from motia_generator import generate
from motia_runtime import runs
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.controls import join
from motia_runtime.deadletters import DeadLetter
from motia_runtime.engine import Engine
from motia_runtime.memory import MemoryLog
from motia_runtime.publish import publish
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import FaultyLog
from support.waiting import quiet

BUSY, IDLE = 100, 4  # turns of the event loop at each moment, while there is work and while nobody does any


class Outcome(msgspec.Struct, frozen=True):
    trail: list[str]  # calls of the first engine until it was to be quiet
    happened: bool
    events: dict[str, list[Any]]  # data by topic, oldest first
    letters: list[DeadLetter]
    log: MemoryLog


class Attack:
    """One app, made ready once. `handlers`: source by module of `steps`."""

    def __init__(self, folder: Path, spec: str, **handlers: str) -> None:
        (folder / "steps").mkdir(parents=True, exist_ok=True)
        (folder / "motia.yaml").write_text(textwrap.dedent(spec))
        for name, source in handlers.items():
            (folder / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
        self.project = compile_project(folder, environ={}).require()
        self._bound = bind(self.project)
        self._types = load_types(self.project, generate)

    # who conflicted begins again in the next turn of the loop, so that the calls come in the same order each time
    @patch.object(runs, "conflict_pause", lambda _: 0.0)
    @patch.object(join, "conflict_pause", lambda _: 0.0)
    async def run(
        self,
        feed: Callable[[Callable[[str, Any], Awaitable[Any]], VirtualClock], Awaitable[None]],
        kind: str = "",
        at: int = -1,
        silence: float = 0.0,
    ) -> Outcome:
        """`feed(publish, clock)` makes the load, with the first engine alone; it may turn the clock."""
        turns = BUSY

        async def settle() -> None:
            await quiet(turns)

        clock = VirtualClock(settle=settle)
        log = MemoryLog(clock)
        first, second = FaultyLog(log, kind, at), FaultyLog(log)
        engines = [Engine(self.project, self._bound, self._types, each, clock) for each in (first, second)]

        async def send(topic: str, data: Any) -> None:
            await publish(log, self.project, self._types, topic, data)

        try:
            await engines[0].start()
            await feed(send, clock)
            await clock.advance(8)
            trail = list(first.trail)
            turns = IDLE
            await clock.advance(silence)
            turns = BUSY
            await engines[1].start()
            await clock.advance(60)
            if kind.startswith("pause"):
                first.wake()
                await clock.advance(30)
            await clock.advance(400)
            letters = await engines[1].letters.list()
            return Outcome(trail, first.happened, await self._events(log), letters, log)
        finally:
            for faulty in (first, second):
                faulty.dead = True
            for engine in engines:
                await _end(engine)
            log.close()

    async def _events(self, log: MemoryLog) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for topic in self.project.topics:
            records = await log.scan(f"ev.{topic}", limit=100_000)
            found[topic] = [msgspec.json.decode(record.data) for record in reversed(records)]
        return found


async def _end(engine: Engine) -> None:
    """Take down an engine whose log is dead: nothing of it answers any more."""
    stop = asyncio.create_task(engine.stop(0))
    await asyncio.sleep(0)
    done, _ = await asyncio.wait({stop}, timeout=0.02)
    if not done:
        stop.cancel()
        await asyncio.wait({stop})
    current = asyncio.current_task()
    rest = [task for task in asyncio.all_tasks() if task is not current]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
