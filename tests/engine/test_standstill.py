"""An engine stands still with events in its buffer, for so long that others have handled them and nobody remembers."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from motia_generator import generate
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.engine import Engine
from motia_runtime.events import CONCURRENCY, PREFETCH
from motia_runtime.memory import MemoryLog
from motia_runtime.publish import publish
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import FaultyLog
from support.process import write_project
from support.waiting import quiet

SPEC = """
name: still
topics: {a: {}, done: {}}
steps:
  Work: {type: event, subscribes: [a], emits: [done]}
"""
WORK = f"""
import asyncio

gate = asyncio.Event()
begun = 0

async def handler(data, ctx):
    global begun
    begun += 1
    if 1 < begun <= {CONCURRENCY}:
        await gate.wait()
    await ctx.emit("done", data)
"""
EVENTS = CONCURRENCY + PREFETCH


async def test_what_waited_through_it_is_not_run_again(tmp_path: Path) -> None:
    project = compile_project(write_project(tmp_path, SPEC, work=WORK), environ={}).require()
    bound, types = bind(project), load_types(project, generate)

    async def settle() -> None:
        await quiet(60)

    clock = VirtualClock(settle=settle)
    log = MemoryLog(clock)
    first, second = FaultyLog(log, "pause before", 0), FaultyLog(log)
    engines = [Engine(project, bound, types, faulty, clock) for faulty in (first, second)]
    try:
        await engines[0].start()
        for n in range(EVENTS):
            await publish(log, project, types, "a", n)
        await settle()
        assert first.happened
        await engines[1].start()
        await clock.advance(3600)
        first.wake()
        await clock.advance(1)
        handler: Any = bound["Work"].handler.function
        handler.__globals__["gate"].set()
        await clock.advance(60)
        parts: Any = log._parts
        done = Counter(msgspec.json.decode(r.data) for r in parts["ev"].records.values() if r.subject == "ev.done")
        assert done == dict.fromkeys(range(EVENTS), 1)
    finally:
        for faulty in (first, second):
            faulty.dead = True
        for task in [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
            task.cancel()
        log.close()
