"""`orderBy`: each key in the order of its emits, one at a time, over any number of engines; other keys go on."""

from __future__ import annotations

import asyncio
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_generator import generate
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.engine import Engine
from motia_runtime.memory import MemoryLog
from motia_runtime.publish import publish
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import FaultyLog
from support.waiting import quiet

SPEC = """
name: order
topics:
  a: {external: in, schema: {type: object, properties: {key: {type: string}, n: {type: integer}}, required: [n]}}
  done: {external: out}
steps:
  Work:
    type: event
    subscribes: [a]
    emits: [done]
    retry: {attempts: 3, delay: 10s, backoff: fixed, jitter: false}
    orderBy: ORDER
"""
WORK = """
import asyncio

at_work = set()

async def handler(data, ctx):
    assert data.key not in at_work, "two of one key at once"
    at_work.add(data.key)
    try:
        for _ in range(data.n % 5):
            await asyncio.sleep(0)
    finally:
        at_work.discard(data.key)
    if data.key == "bad" and data.n == 1 and ctx.attempt < FAILS:
        raise RuntimeError("not yet")
    await ctx.emit("done", {"key": data.key, "n": data.n})
"""


def _write(folder: Path, order: str = "data.key", fails: int = 0) -> None:
    (folder / "steps").mkdir(exist_ok=True)
    (folder / "motia.yaml").write_text(SPEC.replace("ORDER", order))
    (folder / "steps" / "work.py").write_text(textwrap.dedent(WORK).replace("FAILS", str(fails)))


def _by_key(done: list[Any]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for one in done:
        found[one["key"]].append(one["n"])
    return dict(found)


async def test_each_key_is_handled_in_the_order_of_its_emits(make_app, tmp_path):
    async with make_app(SPEC.replace("ORDER", "data.key"), work=WORK.replace("FAILS", "0")) as app:
        for n in range(30):
            for key in "abc":
                await app.emit("a", {"key": key, "n": n})
        await app.settle()
        assert _by_key(await app.events("done")) == {key: list(range(30)) for key in "abc"}


async def test_a_failing_event_holds_up_its_own_key_only(make_app):
    async with make_app(SPEC.replace("ORDER", "data.key"), work=WORK.replace("FAILS", "3")) as app:
        for n in range(4):
            for key in ("bad", "good"):
                await app.emit("a", {"key": key, "n": n})
        await app.settle()
        assert _by_key(await app.events("done")) == {"bad": [0], "good": [0, 1, 2, 3]}
        await app.advance(11)
        assert _by_key(await app.events("done"))["bad"] == [0]
        await app.advance(11)
        assert _by_key(await app.events("done"))["bad"] == [0, 1, 2, 3]
        assert await app.dead_letters() == []


async def test_after_its_last_attempt_it_is_a_dead_letter_and_its_key_goes_on(make_app):
    async with make_app(SPEC.replace("ORDER", "data.key"), work=WORK.replace("FAILS", "9")) as app:
        for n in range(4):
            await app.emit("a", {"key": "bad", "n": n})
        await app.advance(30)
        assert _by_key(await app.events("done"))["bad"] == [0, 2, 3]
        [letter] = await app.dead_letters()
        assert letter.story.attempts == 3


async def test_with_skip_a_failing_event_is_a_dead_letter_at_once(make_app):
    spec = SPEC.replace("ORDER", "{key: data.key, onFailure: skip}")
    async with make_app(spec, work=WORK.replace("FAILS", "9")) as app:
        for n in range(4):
            await app.emit("a", {"key": "bad", "n": n})
        await app.settle()
        assert _by_key(await app.events("done"))["bad"] == [0, 2, 3]
        [letter] = await app.dead_letters()
        assert letter.story.attempts == 1


async def test_events_without_the_key_wait_for_nobody(make_app):
    async with make_app(SPEC.replace("ORDER", "data.key"), work=WORK.replace("data.key", "data.n")) as app:
        for n in range(5):
            await app.emit("a", {"n": n})
        await app.settle()
        assert sorted(one["n"] for one in await app.events("done")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("how", ["stops", "dies", "pauses"])
async def test_another_engine_goes_on_where_the_leading_one_ends(tmp_path: Path, how: str) -> None:
    """Two engines on one log; the first, which leads, is taken away in the middle."""
    _write(tmp_path)
    project = compile_project(tmp_path, environ={}).require()
    bound, types = bind(project), load_types(project, generate)

    async def settle() -> None:
        await quiet(60)

    clock = VirtualClock(settle=settle)
    log = MemoryLog(clock)
    first, second = FaultyLog(log, {"dies": "die after", "pauses": "pause after"}.get(how, ""), 40), FaultyLog(log)
    engines = [Engine(project, bound, types, faulty, clock) for faulty in (first, second)]
    try:
        for engine in engines:
            await engine.start()
        for n in range(20):
            for key in "abc":
                await publish(log, project, types, "a", {"key": key, "n": n})
        for _ in range(5):
            await asyncio.sleep(0)
        if how == "stops":
            stopping = asyncio.create_task(engines[0].stop(5))
            await clock.advance(1)
            await stopping
        await clock.advance(60)
        if how == "pauses":
            assert first.happened
            first.wake()
        await clock.advance(60)
        parts: Any = log._parts
        done = [msgspec.json.decode(r.data) for r in parts["ev"].records.values() if r.subject == "ev.done"]
        assert _by_key(done) == {key: list(range(20)) for key in "abc"}
    finally:
        for faulty in (first, second):
            faulty.dead = True
        for task in [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
            task.cancel()
        log.close()


class LossyLog(FaultyLog):
    """Loses deliveries on their way, as a connection does that breaks. More comes while it is asked how many are in flight."""

    def __init__(self, log: MemoryLog, lost: range) -> None:
        super().__init__(log)
        self.lost = lost
        self.gone: list[int] = []
        self.more: list[dict[str, Any]] = []
        self.send: Any = None

    async def consume(self, name: str, subjects: Any, deliver: Any, **options: Any) -> Any:
        def lossy(delivery: Any) -> None:
            if delivery.nth in self.lost:
                self.gone.append(delivery.record.seq)
                consumer.resume(1)  # its request ended with the connection
            else:
                deliver(delivery)

        consumer = await super().consume(name, subjects, lossy, **options)
        return consumer

    async def backlog(self, name: str) -> Any:
        backlog = await super().backlog(name)
        for _ in range(len(self.lost) + 2):
            if self.more:
                await self.send(self.more.pop(0))
        await quiet(40)
        return backlog


async def test_what_is_lost_on_its_way_keeps_its_place(tmp_path: Path) -> None:
    _write(tmp_path)
    project = compile_project(tmp_path, environ={}).require()
    bound, types = bind(project), load_types(project, generate)

    async def settle() -> None:
        await quiet(60)

    clock = VirtualClock(settle=settle)
    log = MemoryLog(clock)
    lossy = LossyLog(log, range(10, 17))

    async def send(data: dict[str, Any]) -> None:
        await publish(log, project, types, "a", data)

    lossy.send = send
    engine = Engine(project, bound, types, lossy, clock)
    try:
        await engine.start()
        for n in range(10):
            for key in "abc":
                await send({"key": key, "n": n})
        lossy.more = [{"key": key, "n": n} for n in range(10, 30) for key in "abc"]
        await clock.advance(60)
        assert len(lossy.gone) == 7
        for data in lossy.more:
            await send(data)
        await clock.advance(60)
        parts: Any = log._parts
        done = [msgspec.json.decode(r.data) for r in parts["ev"].records.values() if r.subject == "ev.done"]
        assert _by_key(done) == {key: list(range(30)) for key in "abc"}
    finally:
        lossy.dead = True
        for task in [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
            task.cancel()
        log.close()
