"""Requests with a key, attacked at every step of claim, plan, state, answer and emits; the client repeats a request until it is answered.

As `test_commit_model`: two engines on one log and a clock that the test turns; each call of a first run goes wrong in each way, and the same requests then go to the
other engine. The oracle: each key's effects are true once, and whoever was answered was told the same.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_generator import generate
from motia_runtime import runs as runs_module
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.commit import Commits
from motia_runtime.controls import idempotency
from motia_runtime.engine import Engine
from motia_runtime.handler import Request
from motia_runtime.http.answers import Finisher
from motia_runtime.http.problems import Refused
from motia_runtime.memory import MemoryLog
from motia_runtime.memory.parts import DEDUPE_WINDOW
from motia_runtime.ports import LogUnavailable
from motia_runtime.runner import Answer
from motia_runtime.sweep import Sweeper
from motia_runtime.trace import new_trace
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import KINDS, FaultyLog
from support.waiting import quiet

pytestmark = pytest.mark.long  # minutes: every call, six faults, two silences

SPEC = """
name: model
topics: {b: {external: out}}
state: {counts: {}, copies: {}}
steps:
  Post: {type: api, method: POST, path: /post, emits: [b], timeout: 60s, idempotency: {window: 1d}}
"""
SCENARIOS = {
    "state and an emit": """
        async def handler(request, ctx):
            n = (await ctx.state.counts.get("n") or 0) + 1
            await ctx.state.counts.set("n", n)
            await ctx.state.copies.set("n", n)
            await ctx.emit("b", request.headers["idempotency-key"])
            return {"n": n, "try": ctx.new_id()}
        """,
    "an emit": """
        async def handler(request, ctx):
            await ctx.emit("b", request.headers["idempotency-key"])
            return {"try": ctx.new_id()}
        """,
    "only an answer": """
        async def handler(request, ctx):
            return {"try": ctx.new_id()}
        """,
}
SILENCES = (0.0, 3600.0)


class Model:
    """One scenario, made ready once. `keys`: requests at once. `stood`: seconds that an engine stands still after the other has answered."""

    def __init__(self, folder: Path, handler: str, *, keys: int = 2, stood: float = 240.0) -> None:
        self.keys = keys
        self.stood = stood
        (folder / "steps").mkdir()
        (folder / "motia.yaml").write_text(SPEC)
        (folder / "steps" / "post.py").write_text(textwrap.dedent(handler))
        self.handler = handler
        self.project = compile_project(folder, environ={}).require()
        self.bound = bind(self.project)
        self.types = load_types(self.project, generate)

    async def run(self, kind: str, at: int, silence: float) -> Outcome:
        async def settle() -> None:
            await quiet(100)

        clock = VirtualClock(settle=settle)
        log = MemoryLog(clock)
        first, second = FaultyLog(log, kind, at), FaultyLog(log)
        engines = [Engine(self.project, self.bound, self.types, faulty, clock) for faulty in (first, second)]
        told: dict[str, list[bytes]] = {f"k{n}": [] for n in range(self.keys)}
        tasks = []
        try:
            await engines[0].start()
            tasks = [asyncio.create_task(self._post(engines[0], clock, key, told)) for key in told]
            await clock.advance(1)
            first_time = len(first.trail)
            await clock.advance(silence)
            await engines[1].start()
            again = [asyncio.create_task(self._post(engines[1], clock, key, told)) for key in told]
            tasks += again
            await clock.advance(60)
            assert all(task.done() for task in again), f"{kind} {at}: not answered within a minute"
            if kind.startswith("pause"):
                await clock.advance(self.stood)
                first.wake()
                await clock.advance(60)
            await clock.advance(200)
            tasks += (late := [asyncio.create_task(self._post(engines[1], clock, key, told)) for key in told])
            await clock.advance(1)
            assert all(task.done() for task in late)
            return Outcome(self, log, list(first.trail[:first_time]), first.happened, told)
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

    async def _post(self, engine: Engine, clock: VirtualClock, key: str, told: dict[str, list[bytes]]) -> None:
        """Until it is answered."""
        step: Any = self.project.steps["Post"]
        while True:
            request: Any = Request({}, {}, {}, {"idempotency-key": key}, b"{}", "POST", "/post")
            try:
                answer: Answer = await engine.runners["Post"].run_api(
                    step, request, new_trace(), Finisher(step, {}).finish
                )
            except (LogUnavailable, Refused):
                await clock.sleep_until(clock.time() + 1)
                continue
            told[key].append(answer.body)
            return


class Outcome:
    def __init__(
        self, model: Model, log: MemoryLog, trail: list[str], happened: bool, told: dict[str, list[bytes]]
    ) -> None:
        self.trail = trail
        self.happened = happened
        self._told = told
        self._model = model
        parts: Any = log._parts
        self._emitted = Counter(msgspec.json.decode(r.data) for r in parts["ev"].records.values())
        self._state = {s: int(parts["st"].records[seqs[-1]].data) for s, seqs in parts["st"].subjects.items()}

    def faults(self) -> Iterator[str]:
        for key, bodies in self._told.items():
            if len(set(bodies)) != 1:
                yield f"{key} was told {bodies}"
        if "emit" in self._model.handler and self._emitted != dict.fromkeys(self._told, 1):
            yield f"emitted {dict(self._emitted)}"
        if "counts" in self._model.handler and self._state != dict.fromkeys(
            ("st.counts.n", "st.copies.n"), self._model.keys
        ):
            yield f"state {self._state}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(runs_module, "conflict_pause", lambda _: 0.0)
    monkeypatch.setattr(idempotency, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(idempotency, "LONGEST_LOOK", 0.0)
    caplog.set_level("CRITICAL")


async def _attack(model: Model, *, stop: bool = False, kinds: tuple[str, ...] = KINDS) -> list[str]:
    clean = await model.run("", -1, 0.0)
    found = [f"without a fault: {fault}" for fault in clean.faults()]
    assert len(clean.trail) >= 2 * model.keys
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


@pytest.mark.parametrize("name", SCENARIOS)
async def test_effects_are_true_once_and_the_answer_is_the_same_whatever_goes_wrong(tmp_path: Path, name: str) -> None:
    assert await _attack(Model(tmp_path, SCENARIOS[name])) == []


LONG = DEDUPE_WINDOW + 100.0


@pytest.mark.parametrize("name", SCENARIOS)
async def test_an_engine_that_stood_still_until_plans_and_ids_were_gone_does_no_harm(tmp_path: Path, name: str) -> None:
    model = Model(tmp_path, SCENARIOS[name], keys=1, stood=LONG)
    assert await _attack(model, kinds=("pause before", "pause after")) == []


def _no_plan_is_looked_for(patch: pytest.MonkeyPatch) -> None:
    async def redo(self: Commits, claim: Any, *parts: str) -> bool:
        record = await self._log.last(claim.subject)
        claim.last = record.seq if record else 0
        return False

    patch.setattr(Commits, "redo", redo)


def _nobody_adopts(patch: pytest.MonkeyPatch) -> None:
    async def complete(self: Sweeper, engine: str, since: int) -> None:
        return

    patch.setattr(Sweeper, "_complete", complete)


def _answers_without_plan(patch: pytest.MonkeyPatch) -> None:
    """The answer is written after the commit, not with it."""

    async def mark(self: Commits, planned: Any) -> None:
        return

    patch.setattr(Commits, "_mark", mark)


MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str, float]] = {
    "no plan is looked for": (_no_plan_is_looked_for, "state and an emit", "die after", 0.0),
    "nobody adopts": (_nobody_adopts, "state and an emit", "die after", 0.0),
    "no marks": (_answers_without_plan, "state and an emit", "die after", 0.0),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_the_attack_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutate, scenario, kind, stood = MUTANTS[name]
    mutate(monkeypatch)
    model = Model(tmp_path, SCENARIOS[scenario], keys=1 if stood else 2, stood=stood)
    try:
        found = await _attack(model, stop=True, kinds=(kind,))
    except AssertionError as never:
        found = [str(never)]
    assert found
