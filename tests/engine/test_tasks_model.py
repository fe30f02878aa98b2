"""Tasks attacked at every step of opening, completing and expiring.

As `test_commit_model`: two engines on one log and a clock that the test turns; each call of the first one goes wrong in each way, while two people give different
answers, through the one and then through the other. The oracle: a task ends once, with one event, which is what its record says; who was told that their answer counts,
was told the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_generator import generate
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.commit import Commits
from motia_runtime.engine import Engine
from motia_runtime.memory import MemoryLog
from motia_runtime.memory.parts import DEDUPE_WINDOW
from motia_runtime.ports import LogUnavailable
from motia_runtime.publish import publish
from motia_runtime.tasks import Task, TaskEnded, Tasks
from motia_runtime.types import load_types
from motia_spec import compile_project
from support import faulty
from support.faulty import KINDS, FaultyLog
from support.waiting import quiet

pytestmark = pytest.mark.long  # minutes: every call, six faults, two silences

TIMEOUT = 600.0
SPEC = """
name: model
topics: {ask: {external: in}, done: {external: out}, late: {external: out}}
steps:
  Ask: {type: noop, subscribes: [ask], emits: [done], manual: {timeout: 10m, onTimeout: {topic: late, data: "late {data}"}}}
"""
PEOPLE = ("Ann", "Bob")
SILENCES = (0.0, 2 * DEDUPE_WINDOW)
LONG = DEDUPE_WINDOW + 100.0


class Model:
    """`answered`: by people, through the first engine; else the task expires there. `stood`: seconds that an engine stands still at the end."""

    def __init__(self, folder: Path, *, answered: bool, stood: float = 240.0) -> None:
        self.people = PEOPLE if answered else ()
        self.stood = stood
        if stood > DEDUPE_WINDOW:
            self.people = self.people[:1]  # at the first engine: see `_attack`
        (folder / "motia.yaml").write_text(SPEC)
        self.project = compile_project(folder, environ={}).require()
        self.types = load_types(self.project, generate)

    async def run(self, kind: str, at: int, silence: float) -> Outcome:
        clock = VirtualClock(settle=_settle)
        log = MemoryLog(clock)
        first, second = FaultyLog(log, kind, at), FaultyLog(log)
        engines = [Engine(self.project, bind(self.project), self.types, faulty, clock) for faulty in (first, second)]
        told: list[Task] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            await engines[0].start()
            await publish(log, self.project, self.types, "ask", "x")
            await clock.advance(1)
            if self.people:
                tasks += [asyncio.create_task(_answer(engines[0], clock, who, told)) for who in self.people]
                await clock.advance(1)
            else:
                await clock.advance(TIMEOUT)
            first_time = len(first.trail)
            await clock.advance(silence)
            await engines[1].start()
            await clock.advance(60)
            again = [asyncio.create_task(_answer(engines[1], clock, who, told)) for who in PEOPLE]
            tasks += again
            await clock.advance(60)
            assert all(task.done() for task in again), f"{kind} {at}: not answered within a minute"
            if kind.startswith("pause"):
                await clock.advance(self.stood)
                first.wake()
                await clock.advance(60)
            await clock.advance(TIMEOUT)
            return Outcome(log, list(first.trail[:first_time]), first.happened, told)
        finally:
            for faulty in (first, second):
                faulty.dead = True
            stops = [asyncio.create_task(engine.stop(0)) for engine in engines]
            await asyncio.wait(stops, timeout=0.02)
            current = asyncio.current_task()
            rest = [task for task in asyncio.all_tasks() if task is not current]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for engine in engines:
                engine._executor.close()
            log.close()


async def _settle() -> None:
    await quiet(40)


async def _answer(engine: Engine, clock: VirtualClock, who: str, told: list[Task]) -> None:
    """Until they know."""
    while True:
        try:
            (task,) = [_task(record.data) for record in await engine._runs.services.log.lasts("rt.=h.>")]
            with contextlib.suppress(TaskEnded):
                told.append(await engine.tasks.complete("Ask", task.id, who, by=who))
            return
        except (LogUnavailable, ValueError):  # ValueError: it is not open yet
            await clock.sleep_until(clock.time() + 1)


_task = msgspec.json.Decoder(Task).decode


class Outcome:
    def __init__(self, log: MemoryLog, trail: list[str], happened: bool, told: list[Task]) -> None:
        self.trail = trail
        self.happened = happened
        self._told = told
        parts: Any = log._parts
        self._events = [
            (r.subject, msgspec.json.decode(r.data))
            for r in parts["ev"].records.values()
            if r.subject in ("ev.done", "ev.late")
        ]
        self._tasks = [_task(r.data) for r in parts["rt"].records.values() if r.subject.startswith("rt.=h.")]

    def faults(self) -> Iterator[str]:
        if len(self._events) != 1:
            yield f"emitted {self._events}"
        if len(self._tasks) != 1 or (ended := self._tasks[0].ended) is None:
            yield f"left {self._tasks}"
            return
        if self._events != [(f"ev.{ended.topic}", msgspec.json.decode(ended.data))]:
            yield f"the record says {ended}, the events {self._events}"
        for task in self._told:
            if task.ended != ended:
                yield f"{task} was told that it counts, and {ended} does"


async def _attack(model: Model, *, stop: bool = False, kinds: tuple[str, ...] = KINDS) -> list[str]:
    clean = await model.run("", -1, 0.0)
    found = [f"without a fault: {fault}" for fault in clean.faults()]
    assert len(clean.trail) >= 8
    for at, call in enumerate(clean.trail):
        if model.stood > DEDUPE_WINDOW and call.startswith("append ev."):
            continue  # an emit that stands still so long between the look at the lease and the wire, no broker can tell from a new one
        for kind in kinds:
            for silence in SILENCES:
                outcome = await model.run(kind, at, silence)
                assert outcome.happened, f"{kind} at {at} ({call}) never happened"
                found += [f"{kind} {at} ({call}), {silence:g} s: {fault}" for fault in outcome.faults()]
                if found and stop:
                    return found
    return found


@pytest.fixture(autouse=True)
def unheard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "expires"])
async def test_a_task_ends_once_whatever_goes_wrong(tmp_path: Path, answered: bool) -> None:
    assert await _attack(Model(tmp_path, answered=answered)) == []


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "expires"])
async def test_an_engine_that_stood_still_until_the_plan_was_gone_ends_nothing(tmp_path: Path, answered: bool) -> None:
    model = Model(tmp_path, answered=answered, stood=LONG)
    assert await _attack(model, kinds=("pause before", "pause after")) == []


def _late_plans_count(patch: pytest.MonkeyPatch) -> None:
    async def is_late(self: Commits, planned: Any, record: Any) -> bool:
        return False

    patch.setattr(Commits, "_is_late", is_late)
    patch.setattr(Commits, "_check_lease", lambda self, claim: None)
    patch.setattr(faulty, "STILL", math.inf)  # and no broker cuts off who stands still


def _the_record_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    last = Tasks._last

    async def looked(self: Tasks, step: str, id: str) -> tuple[Task | None, int]:
        task, seq = await last(self, step, id)
        return (None if task is None else msgspec.structs.replace(task, ended=None)), seq

    patch.setattr(Tasks, "_last", looked)


@pytest.mark.parametrize("mutant", [_late_plans_count, _the_record_is_not_looked_at])
async def test_the_attack_finds_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    model = Model(tmp_path, answered=True, stood=LONG)
    mutant(monkeypatch)
    assert await _attack(model, stop=True, kinds=("die after", "pause before", "pause after")) != []
