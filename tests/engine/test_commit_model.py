"""The commit protocol, attacked at every step: a crash before and after it, a lost answer, a refusal, a pause with another engine going on meanwhile.

Two engines stand on one log and run the real code on a clock that the test turns. A first run without a fault tells which calls the protocol makes; then each of
them goes wrong in each way, followed by a short silence or by an hour, in which the broker forgets its dedupe ids. The oracle counts effects: each event's come true
once, all of them or none. Mutants of the protocol must be caught, or the attack proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_generator import generate
from motia_runtime import runs as runs_module
from motia_runtime.batch import BatchWorker
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.commit import Commits
from motia_runtime.engine import Engine
from motia_runtime.handler import Request
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import state_names
from motia_runtime.plans import read_plan
from motia_runtime.ports import LogUnavailable
from motia_runtime.publish import publish
from motia_runtime.runner import Answer
from motia_runtime.sweep import Sweeper
from motia_runtime.trace import new_trace
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import KINDS, FaultyLog
from support.waiting import quiet

EVENTS = 2
BUSY, IDLE = 150, 4  # turns of the event loop at each moment, at most: while there is work, and while nobody does any
SPEC = """
name: model
topics: {a: {external: in}, b: {external: out}, c: {external: out}}
state: {counts: {}, seen: {}, copies: {}}
steps:
  Work: {type: event, subscribes: [a], emits: [b, c], retry: {attempts: 3, delay: 5s, jitter: false}}
  Post: {type: api, method: POST, path: /post, emits: [b, c]}
"""
POST = """
async def handler(request, ctx):
    n = (await ctx.state.counts.get("n") or 0) + 1
    await ctx.state.counts.set("n", n)
    await ctx.state.copies.set("n", n)
    await ctx.emit("b", {"of": request.headers["x-id"], "n": n})
    return {"status": 201}
"""
# Each must make, for every event: one b, the counter one higher. `ctx.new_id()` makes each try differ from the others.
SCENARIOS = {
    "reads, writes, emits": """
        async def handler(data, ctx):
            n = (await ctx.state.counts.get("n") or 0) + 1
            await ctx.state.counts.set("n", n)
            await ctx.emit("b", {"of": data, "n": n, "try": ctx.new_id()})
        """,
    "would branch on its own write": """
        async def handler(data, ctx):
            if await ctx.state.seen.get(data):
                return
            await ctx.state.seen.set(data, ctx.new_id())
            await ctx.state.counts.update("n", lambda n: (n or 0) + 1)
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
        """,
    "several keys and emits, one of them later": """
        async def handler(data, ctx):
            n = (await ctx.state.counts.get("n") or 0) + 1
            await ctx.state.counts.set("n", n)
            await ctx.state.copies.set("n", n)
            await ctx.emit("c", {"of": data}, delay=40)
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
        """,
    "a write that nobody has read": """
        async def handler(data, ctx):
            await ctx.state.seen.set("newest", data)
            await ctx.state.counts.update("n", lambda n: (n or 0) + 1)
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
        """,
    "emits only": """
        async def handler(data, ctx):
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
            await ctx.emit("c", {"of": data, "try": ctx.new_id()})
        """,
    "commits early": """
        async def handler(data, ctx):
            await ctx.emit("c", {"of": data, "try": ctx.new_id()})
            await ctx.flush()
            await ctx.state.counts.update("n", lambda n: (n or 0) + 1)
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
        """,
    "fails at first": """
        async def handler(data, ctx):
            await ctx.state.counts.update("n", lambda n: (n or 0) + 1)
            await ctx.emit("b", {"of": data, "try": ctx.new_id()})
            if ctx.attempt == 1:
                raise RuntimeError("not yet")
        """,
    "fails for good": """
        async def handler(data, ctx):
            await ctx.emit("b", {"of": data})
            raise RuntimeError("never")
        """,
}
LISTS = """
    async def handler(events, ctx):
        n = (await ctx.state.counts.get("n") or 0) + len(events)
        await ctx.state.counts.set("n", n)
        await ctx.state.copies.set("n", n)
        for event in events:
            await ctx.emit("b", {"of": event, "n": n, "try": ctx.new_id()})
"""


class Model:
    """One scenario, made ready once: a project, its handlers, its types. `lists`: runs of two events, and of three in the second engine."""

    def __init__(self, folder: Path, work: str, *, lists: bool = False) -> None:
        self.events = EVENTS + lists
        folder.mkdir(exist_ok=True)
        (folder / "steps").mkdir(exist_ok=True)
        (folder / "motia.yaml").write_text(
            SPEC.replace("emits: [b, c], retry", "emits: [b, c], batch: {size: 2}, retry") if lists else SPEC
        )
        (folder / "steps" / "work.py").write_text(textwrap.dedent(work))
        (folder / "steps" / "post.py").write_text(POST)
        self.project = compile_project(folder, environ={}).require()
        self.bound = bind(self.project)
        self.types = load_types(self.project, generate)
        self.work = work

    def engine(self, log: FaultyLog, clock: VirtualClock) -> Engine:
        return Engine(self.project, self.bound, self.types, log, clock)

    def engines(self, first: FaultyLog, second: FaultyLog, clock: VirtualClock) -> list[Engine]:
        engines = [self.engine(first, clock), self.engine(second, clock)]
        for worker in engines[1]._workers:
            if isinstance(worker, BatchWorker):
                worker._size = 3
        return engines

    async def run(self, kind: str, at: int, silence: float, *, api: bool = False) -> Outcome:
        """Everything once, with one fault in the first engine; then an engine without faults, until all is quiet."""
        turns = BUSY

        async def settle() -> None:
            await quiet(turns)

        clock = VirtualClock(settle=settle)
        log = MemoryLog(clock)
        first, second = FaultyLog(log, kind, at), FaultyLog(log)
        engines = self.engines(first, second, clock)
        answered: set[str] = set()
        calls: list[asyncio.Task[None]] = []
        try:
            await engines[0].start()
            if api:
                calls = [asyncio.create_task(self._post(engines[0], str(n), answered)) for n in range(EVENTS)]
            else:
                for number in range(self.events):
                    await publish(log, self.project, self.types, "a", f"e{number}")
            await clock.advance(8)
            first_time = len(first.trail)
            turns = IDLE
            if silence and not kind.startswith("pause"):
                await clock.advance(silence)
            turns = BUSY
            await engines[1].start()
            await clock.advance(60)
            if kind.startswith("pause"):
                turns = IDLE
                await clock.advance(silence)  # the plans of what the other has done go, and so do the ids at the broker
                turns = BUSY
                first.wake()
                await clock.advance(30)
            await clock.advance(400)
            return Outcome(
                self, log, list(first.trail[:first_time]), first.happened, answered, await self._letters(engines[1])
            )
        finally:
            for task in calls:
                task.cancel() if not task.done() else task.result()
            for faulty in (first, second):
                faulty.dead = True
            for engine in engines:
                await _end(engine)
            log.close()

    async def _post(self, engine: Engine, name: str, answered: set[str]) -> None:
        request: Request = Request(
            body=None,
            path_params={},
            query_params={},
            headers={"x-id": name},
            raw_body=b"",
            method="POST",
            path="/post",
        )
        step: Any = self.project.steps["Post"]
        with contextlib.suppress(LogUnavailable):
            await engine.calls.run_api(step, request, new_trace(), lambda _: Answer(201, (), b""))
            answered.add(name)

    async def _letters(self, engine: Engine) -> int:
        return len(await engine.letters.list())


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


class Outcome:
    """What is in the log at the end."""

    def __init__(
        self, model: Model, log: MemoryLog, trail: list[str], happened: bool, answered: set[str], letters: int
    ) -> None:
        self.model = model
        self.trail = trail
        self.happened = happened
        self.answered = answered
        self.letters = letters
        parts: Any = log._parts
        records = list(parts["ev"].records.values())
        self.emitted = {
            t: Counter(msgspec.json.decode(r.data)["of"] for r in records if r.subject == f"ev.{t}") for t in "bc"
        }
        self.state = {
            state_names(subject): msgspec.json.decode(parts["st"].records[seqs[-1]].data)
            for subject, seqs in parts["st"].subjects.items()
        }

    def faults(self) -> Iterator[str]:
        """What is wrong, in words; nothing when each event's effects are true once."""
        each = {f"e{n}": 1 for n in range(self.model.events)}
        if "for good" in self.name:
            if self.letters != EVENTS:
                yield f"{self.letters} dead letters"
            each = {}
        elif self.letters:
            yield f"{self.letters} dead letters"
        if dict(self.emitted["b"]) != each:
            yield f"b: {dict(self.emitted['b'])}"
        if '"c"' in self.model.work and dict(self.emitted["c"]) != each:
            yield f"c: {dict(self.emitted['c'])}"
        if "counts" in self.model.work and self.state.get(("counts", "n"), 0) != sum(each.values()):
            yield f"counted {self.state.get(('counts', 'n'))}"
        if "copies" in self.model.work and self.state.get(("copies", "n")) != self.state.get(("counts", "n")):
            yield f"torn: {self.state}"

    def api_faults(self) -> Iterator[str]:
        """For requests: those that were answered count once, the others once or not at all; nothing is torn."""
        done = self.emitted["b"]
        if any(done[name] != 1 for name in self.answered) or any(count > 1 for count in done.values()):
            yield f"answered {sorted(self.answered)}, emitted {dict(done)}"
        for group in ("counts", "copies"):
            if self.state.get((group, "n"), 0) != sum(done.values()):
                yield f"torn: {group} {self.state.get((group, 'n'))}, emitted {dict(done)}"

    @property
    def name(self) -> str:
        return next((name for name, work in SCENARIOS.items() if work == self.model.work), "")


HOUR = 3600.0
SILENCES = (0.0, HOUR)


async def _attack(model: Model, *, api: bool = False, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Every fault at every call, and what came of it."""
    clean = await model.run("", -1, 0.0, api=api)
    check: Callable[[Outcome], Iterator[str]] = Outcome.api_faults if api else Outcome.faults
    found = [f"without a fault: {fault}" for fault in check(clean)]
    assert len(clean.trail) >= EVENTS
    for at, call in enumerate(clean.trail):
        for kind in kinds:
            for silence in SILENCES if kind.startswith(("die", "pause")) else (0.0,):
                outcome = await model.run(kind, at, silence, api=api)
                assert outcome.happened, f"{kind} at {at} ({call}) never happened"
                found += [f"{kind} {at} ({call}), {silence:g} s: {fault}" for fault in check(outcome)]
    return found


@pytest.fixture(autouse=True)
def steady_order(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A run that conflicted begins again in the next turn of the loop, so that the calls of two runs come in the same order."""
    monkeypatch.setattr(runs_module, "conflict_pause", lambda _: 0.0)
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_effects_of_each_event_are_true_once_whatever_goes_wrong(tmp_path: Path, name: str) -> None:
    assert await _attack(Model(tmp_path, SCENARIOS[name])) == []


async def test_effects_of_lists_are_true_once_for_each_event_whatever_lists_come_next(tmp_path: Path) -> None:
    assert await _attack(Model(tmp_path, LISTS, lists=True)) == []


async def test_a_request_that_was_answered_is_complete_and_no_other_is_torn(tmp_path: Path) -> None:
    assert await _attack(Model(tmp_path, SCENARIOS["emits only"]), api=True) == []


# -- what the attack must find


async def _found(model: Model, *kinds: str, silences: tuple[float, ...] = SILENCES) -> bool:
    clean = await model.run("", -1, 0.0)
    for at in range(len(clean.trail)):
        for kind in kinds:
            for silence in silences:
                if list((await model.run(kind, at, silence)).faults()):
                    return True
    return False


def _without_plans(patch: pytest.MonkeyPatch) -> None:
    """Effects as they come, with ids: state, then emits. What there was before plans."""

    async def commit(self: Commits, claim: Any, part: str, effects: Any, blind: Any) -> bool:
        effects.id = claim.run_id + part
        if effects.writes:
            await self._write(effects)
        await self._emit(effects, range(len(effects.emits)))
        return True

    patch.setattr(Commits, "commit", commit)


def _run_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks for the plan before running."""

    async def redo(self: Commits, claim: Any, *parts: str) -> bool:
        record = await self._log.last(claim.subject)
        claim.last = record.seq if record else 0
        return False

    patch.setattr(Commits, "redo", redo)


def _no_evidence(patch: pytest.MonkeyPatch) -> None:
    async def was_written(self: Commits, planned: Any, record: Any) -> bool:
        return False

    patch.setattr(Commits, "_was_written", was_written)


def _emits_again(patch: pytest.MonkeyPatch) -> None:
    async def left(self: Commits, planned: Any, record: Any) -> tuple[list[int], list[str]]:
        return list(range(len(planned.emits))), planned.cancels

    patch.setattr(Commits, "_left", left)


def _emits_before_state(patch: pytest.MonkeyPatch) -> None:
    write, emit = Commits._write, Commits._emit

    async def write_after(self: Commits, planned: Any) -> None:
        await emit(self, planned, range(len(planned.emits)))
        await write(self, planned)

    patch.setattr(Commits, "_write", write_after)


def _purges_at_once(patch: pytest.MonkeyPatch) -> None:
    """Before those who may still ask for a plan have asked."""
    start = Engine.start

    async def purge(self: Sweeper) -> bool:
        await self._log.purge("tx.>", through=await self._log.newest("tx"))
        return True

    async def purge_and_start(self: Engine) -> None:
        await self._sweeper.round()
        await start(self)

    patch.setattr(Sweeper, "round", purge)
    patch.setattr(Engine, "start", purge_and_start)


def _pointers_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    """Of the events of a list only the first one's plan is found."""
    finish = Commits.finish

    async def finish_own(self: Commits, record: Any) -> bool:
        return not read_plan(record).at and await finish(self, record)

    patch.setattr(Commits, "finish", finish_own)


def _pointers_are_stored_after(patch: pytest.MonkeyPatch) -> None:
    """The plan of a list, and then where it is, one by one."""

    async def one_by_one(self: FaultyLog, entries: Any) -> None:
        if entries[0].subject.startswith("tx."):
            for e in entries:
                await self.append(e.subject, e.data, expect=e.expect)
        else:
            await self._do("append_all", lambda: self._log.append_all(entries))

    patch.setattr(FaultyLog, "append_all", one_by_one)


def _no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Commits, "_check_lease", lambda self, claim: None)


MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, tuple[str, ...]]] = {
    "no plans": (_without_plans, "would branch on its own write", ("die after",)),
    "runs again": (_run_again, "emits only", ("die after",)),
    "no evidence": (_no_evidence, "reads, writes, emits", ("die after",)),
    "emits again": (_emits_again, "emits only", ("die after",)),
    "emits before state": (_emits_before_state, "reads, writes, emits", ("die before", "die after")),
    "overlooks pointers": (_pointers_are_overlooked, LISTS, ("die after",)),
    "stores pointers later": (_pointers_are_stored_after, LISTS, ("die after",)),
    "no lease": (_no_lease, "reads, writes, emits", ("pause before", "pause after")),
    "purges at once": (_purges_at_once, "reads, writes, emits", ("die after",)),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_the_attack_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutate, scenario, kinds = MUTANTS[name]
    mutate(monkeypatch)
    lists = scenario == LISTS
    assert await _found(Model(tmp_path, LISTS if lists else SCENARIOS[scenario], lists=lists), *kinds)
