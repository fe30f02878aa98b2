"""`concurrency`: so many runs at once over all engines, or so many for each key; whatever waits leaves the others alone."""

from __future__ import annotations

import asyncio
import random
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motia_generator import generate
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.controls.slots import EXPIRES, TURN, Slots
from motia_runtime.engine import Engine
from motia_runtime.memory import MemoryLog
from motia_runtime.publish import publish
from motia_runtime.state import is_deleted
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import FaultyLog

SPEC = """
name: limits
topics:
  a: {external: in, schema: {type: object, properties: {key: {type: string}, n: {type: integer}, urgency: {type: number}}, required: [n]}}
  done: {external: out}
steps:
  Open: {type: api, method: POST, path: /open}
  Work: {type: event, subscribes: [a], emits: [done], CONTROLS}
"""
WORK = """
import asyncio
from collections import Counter

gate = asyncio.Event()
at_once = Counter()
most = Counter()

async def handler(data, ctx):
    for key in ("all", data.get("key")):
        at_once[key] += 1
        most[key] = max(most[key], at_once[key])
    try:
        if data.get("key") == "hot":
            await gate.wait()
        for _ in range(5):
            await asyncio.sleep(0)
    finally:
        for key in ("all", data.get("key")):
            at_once[key] -= 1
    await ctx.emit("done", {"key": data.get("key"), "n": data.n, "most": dict((k or "", n) for k, n in most.items())})
"""
OPEN = """
from steps.work import gate

async def handler(request, ctx):
    gate.set()
"""


def _spec(controls: str) -> str:
    return SPEC.replace("CONTROLS", controls)


def _most(done: list[Any]) -> Counter[str]:
    """The most runs at once, by key and over "all"."""
    found: Counter[str] = Counter()
    for one in done:
        found |= Counter(one["most"])
    return found


async def test_no_more_than_the_limit_run_at_once(make_app):
    async with make_app(_spec("concurrency: {limit: 3}"), work=WORK, open=OPEN) as app:
        for n in range(50):
            await app.emit("a", {"n": n})
        await app.settle()
        done = await app.events("done")
        assert sorted(one["n"] for one in done) == list(range(50))
        assert _most(done)["all"] == 3


async def test_a_limit_for_each_key(make_app):
    async with make_app(_spec("concurrency: {limit: 2, key: data.key}"), work=WORK, open=OPEN) as app:
        for n in range(30):
            for key in "abc":
                await app.emit("a", {"n": n, "key": key})
        await app.settle()
        done = await app.events("done")
        assert len(done) == 90
        most = _most(done)
        assert most["a"] == most["b"] == most["c"] == 2
        assert most["all"] == 6


async def test_what_waits_behind_one_key_leaves_the_others_alone(make_app):
    async with make_app(_spec("concurrency: {limit: 1, key: data.key}"), work=WORK, open=OPEN) as app:
        for n in range(1_000):
            await app.emit("a", {"n": n, "key": "hot"})
        for n in range(300):
            await app.emit("a", {"n": n, "key": f"k{n}"})
        while len(await app.events("done")) < 300:
            await asyncio.sleep(0)
        assert all(one["key"] != "hot" for one in await app.events("done"))
        assert (await app.request("POST", "/open")).status == 204
        await app.settle()
        done = await app.events("done")
        most = _most(done)
        assert len(done) == 1_300
        assert most["hot"] == 1
        assert most["all"] <= 128, "the bound of the process holds beside that of the keys"


async def test_events_without_the_key_are_not_counted(make_app):
    async with make_app(_spec("concurrency: {limit: 1, key: data.key}"), work=WORK, open=OPEN) as app:
        for n in range(10):
            await app.emit("a", {"n": n})
        await app.settle()
        assert _most(await app.events("done"))["all"] == 10


async def test_the_more_urgent_one_of_a_key_goes_first(make_app):
    spec = _spec("concurrency: {limit: 1, key: data.key}, priority: data.urgency")
    async with make_app(spec, work=WORK, open=OPEN) as app:
        for n, urgency in enumerate([0, 1, 5, 3]):
            await app.emit("a", {"n": n, "key": "hot", "urgency": urgency})
        for _ in range(50):
            await asyncio.sleep(0)
        assert (await app.request("POST", "/open")).status == 204
        await app.settle()
        assert [one["n"] for one in await app.events("done")] == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("controls", "most"),
    [
        ("orderBy: data.key, concurrency: {limit: 2}", 2),
        ("orderBy: data.n, concurrency: {limit: 1, key: data.key}", 3),
    ],
)
async def test_together_with_order(make_app, controls, most):
    async with make_app(_spec(controls), work=WORK, open=OPEN) as app:
        for n in range(20):
            for key in "abc":
                await app.emit("a", {"n": n, "key": key})
        await app.settle()
        done = await app.events("done")
        assert len(done) == 60
        found = _most(done)
        assert found["all"] == most
        assert found["a"] == 1


@pytest.mark.parametrize("how", ["", "die after", "pause after"])
@pytest.mark.parametrize("controls", ["concurrency: {limit: 2}", "concurrency: {limit: 1, key: data.key}"])
async def test_over_two_engines(tmp_path: Path, how: str, controls: str) -> None:
    """One of them may go in the middle: what it holds is free again when it expires."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "motia.yaml").write_text(_spec(controls))
    for name, source in (("work", WORK), ("open", OPEN)):
        (tmp_path / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
    project = compile_project(tmp_path, environ={}).require()
    bound, types = bind(project), load_types(project, generate)
    clock = VirtualClock()
    log = MemoryLog(clock)
    first, second = FaultyLog(log, how, 60), FaultyLog(log)
    engines = [Engine(project, bound, types, faulty, clock) for faulty in (first, second)]
    handler: Any = bound["Work"].handler.function
    most = handler.__globals__["most"]
    most.clear()
    try:
        for engine in engines:
            await engine.start()
        for n in range(100):
            await publish(log, project, types, "a", {"key": "ab"[n % 2], "n": n})
        await clock.advance(60)
        if how == "pause after":
            assert first.happened
            first.wake()
        await clock.advance(60)
        done = await log.scan("ev.done", limit=1_000)
        assert len(done) == 100
        assert most["all"] == 2
        assert all(is_deleted(record) for record in await log.lasts("rt.=c.Work.>"))
    finally:
        first.dead = how == "die after"
        first.wake()
        for engine in engines:
            stopping = asyncio.create_task(engine.stop(0))
            await asyncio.wait({stopping}, timeout=0.2)
            stopping.cancel()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        log.close()


# -- slots alone


async def test_slots_are_never_more_than_the_limit_and_go_round():
    clock, at_once, most, served = VirtualClock(), 0, 0, Counter[int]()
    log = MemoryLog(clock)
    engines = [Slots("Work", 3, log, clock) for _ in range(3)]
    chance = random.Random(1)  # a test's dice

    async def run(number: int) -> None:
        nonlocal at_once, most
        slots = engines[number]
        for _ in range(40):
            slot = await slots.take_now("k") or await slots.take("k")
            at_once += 1
            most = max(most, at_once)
            await clock.sleep_until(clock.time() + chance.choice([0.0, 0.1, 1.0, 4.0]))
            at_once -= 1
            served[number] += 1
            slots.give(slot)
            if chance.random() < 0.2:
                await clock.sleep_until(clock.time() + 1)

    tasks = [asyncio.create_task(run(n % 3)) for n in range(12)]
    await clock.advance(60)
    assert min(served[n] for n in range(3)) > 5, f"one of them gets next to nothing: {served}"
    await clock.advance(1_000)
    assert all(task.done() for task in tasks)
    assert most == 3
    for slots in engines:
        await slots.stop()
    assert await log.lasts("rt.=c.>") == []
    log.close()


async def test_a_slot_in_use_for_long_is_let_go_when_another_engine_waits():
    clock = VirtualClock()
    log = MemoryLog(clock)
    one, two = Slots("Work", 1, log, clock), Slots("Work", 1, log, clock)

    async def work() -> None:
        while True:
            slot = await one.take("k")
            await clock.sleep_until(clock.time() + 0.5)
            one.give(slot)

    busy = [asyncio.create_task(work()) for _ in range(4)]
    await clock.advance(1)
    waiting = asyncio.create_task(two.take("k"))
    await clock.advance(TURN - 2)
    assert not waiting.done()
    await clock.advance(3)
    assert waiting.done()
    for task in busy:
        task.cancel()
    await asyncio.wait(busy)
    two.give(await waiting)
    await asyncio.gather(one.stop(), two.stop())
    log.close()


async def test_a_slot_that_could_not_be_renewed_is_handed_to_nobody():
    clock = VirtualClock()
    log = MemoryLog(clock)
    cut_off = FaultyLog(log, "pause before", 1)  # its first renewal
    one, two = Slots("Work", 1, cut_off, clock), Slots("Work", 1, log, clock)
    slot = await one.take("k")
    waiting = [asyncio.create_task(slots.take("k")) for slots in (one, two)]
    await clock.advance(EXPIRES - 1)
    assert not any(task.done() for task in waiting)
    one.give(slot)
    await clock.advance(0.5)
    assert not any(task.done() for task in waiting)
    await clock.advance(1)
    assert waiting[1].done()
    assert not waiting[0].done()
    cut_off.wake()
    await clock.advance(10)
    assert not waiting[0].done()
    two.give(waiting[1].result())
    await clock.advance(1)
    one.give(await waiting[0])
    await asyncio.gather(one.stop(), two.stop())
    log.close()
