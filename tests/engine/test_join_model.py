"""`join`, attacked: whatever goes wrong at any call of an engine, a set has one run, and no event is in two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motia_runtime.commit import Commits
from support.attack import Attack, Outcome
from support.faulty import KINDS

pytestmark = pytest.mark.long  # minutes: every call, six faults, two silences

SPEC = """
name: t
topics: {a: {external: in}, b: {external: in}, done: {external: out}}
state: {count: {}}
steps:
  Both: {type: event, subscribes: [a, b], join: {by: data.key}, emits: [done], uses: {state: [count]}}
"""
BOTH = """
async def handler(events, ctx):
    await ctx.state.count.update("n", lambda n: (n or 0) + 1)
    await ctx.emit("done", [events["a"]["key"], events["a"]["n"], events["b"]["n"]])
"""
TIMED = SPEC.replace("data.key}", "data.key, timeout: 20s}")


async def _pairs(send: Any, clock: Any) -> None:
    for key in "xy":
        await send("a", {"key": key, "n": 1})
        await send("b", {"key": key, "n": 2})


async def _twice(send: Any, clock: Any) -> None:
    for n in (1, 2):
        await send("a", {"key": "x", "n": n})
        await send("b", {"key": "x", "n": n})
        await clock.advance(1)


async def _halves(send: Any, clock: Any) -> None:
    for key in "xy":
        await send("a", {"key": key, "n": 1})
    await clock.advance(30)


def _paired(outcome: Outcome) -> list[str]:
    done = sorted(outcome.events["done"])
    found = [] if done == [["x", 1, 2], ["y", 1, 2]] else [f"runs: {done}"]
    return found + _counted(outcome) + [f"letter: {letter.story.error}" for letter in outcome.letters]


def _used_once(outcome: Outcome) -> list[str]:
    """Which events meet is chance when a crash keeps some of them waiting."""
    done = outcome.events["done"]
    found = [] if done else ["no run"]
    for place in (1, 2):
        found += [f"used twice: {done}" for times in Counter(each[place] for each in done).values() if times > 1]
    return found + _counted(outcome)


def _counted(outcome: Outcome) -> list[str]:
    record = outcome.log._parts["st"].last("st.count.n")
    n = int(record.data) if record else 0
    return [] if n == len(outcome.events["done"]) else [f"{n} counted, {len(outcome.events['done'])} emitted"]


def _late(outcome: Outcome) -> list[str]:
    letters = sorted((letter.story.error.type, letter.data) for letter in outcome.letters)
    wanted = [("JoinTimeout", b'{"a":{"key":"%s","n":1}}' % key) for key in (b"x", b"y")]
    return [] if letters == wanted and not outcome.events["done"] else [f"letters: {letters}"]


ATTACKS = {
    "pairs": (SPEC, _pairs, _paired),
    "two sets": (SPEC, _twice, _used_once),
    "deadlines": (TIMED, _halves, _late),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_set_has_one_end_whatever_goes_wrong(name: str, kind: str, tmp_path: Path) -> None:
    spec, feed, faults = ATTACKS[name]
    attack = Attack(tmp_path, spec, both=BOTH)
    plain = await attack.run(feed)
    assert faults(plain) == []
    assert len(plain.trail) > 15
    found = []
    for silence in (0.0, 3600.0) if kind not in ("reply lost", "refused") else (0.0,):
        for at in range(len(plain.trail)):
            outcome = await attack.run(feed, kind, at, silence)
            if problem := faults(outcome):
                found.append(f"{kind} at {at} ({plain.trail[at]}), then {silence:g} s of silence: {problem}")
    assert found == []


async def test_the_attack_would_catch_a_join_that_does_not_look_for_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_redo(*_: Any) -> bool:
        return False

    async def commit_anew(self: Commits, claim: Any, part: str, effects: Any, blind: Any) -> bool:
        claim.subject = f"{claim.subject}.{id(claim)}"  # as if no plan were ever found
        return await real(self, claim, part, effects, blind)

    real = Commits.commit
    attack = Attack(tmp_path, SPEC, both=BOTH)
    trail = (await attack.run(_twice)).trail
    monkeypatch.setattr(Commits, "redo", no_redo)
    monkeypatch.setattr(Commits, "commit", commit_anew)
    assert any([_used_once(await attack.run(_twice, "die before", at, 3600.0)) for at in range(len(trail))])
