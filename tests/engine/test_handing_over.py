"""Changes of state, attacked: whatever goes wrong at any call of an engine, each key's last change has its run once, and none has two."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motia_runtime import changes as changes_module
from support.attack import Attack, Outcome
from support.faulty import KINDS

SPEC = """
name: t
topics: {a: {external: in}, b: {external: out}}
state: {s: {}}
steps:
  Put: {type: event, subscribes: [a], uses: {state: [s]}}
  Watch: {type: event, subscribes: [{state: s}], emits: [b]}
"""
PUT = """
async def handler(data, ctx):
    for key, value in data.items():
        await ctx.state.s.set(key, value)
"""
WATCH = """
async def handler(change, ctx):
    await ctx.emit("b", [change.key, change.value, change.previous])
"""


async def _feed(send: Any, clock: Any) -> None:
    for n in (1, 2):
        await send("a", {"x": n, "y": -n})
        await clock.advance(1)


async def _faults(outcome: Outcome) -> list[str]:
    told = Counter(tuple(each) for each in outcome.events["b"])
    found = [f"told twice: {change}" for change, times in told.items() if times > 1]
    for key in "xy":
        # which of the two events came last is chance, where a crash keeps one of them waiting
        before, last = [json.loads(record.data) for record in (await outcome.log.history(f"st.s.{key}"))[-2:]]
        if (key, last, before) not in told:
            found.append(f"not told: {(key, last, before)}")
    handed = Counter(record.headers["Motia-Event"] for record in await outcome.log.scan("retry.Watch", limit=1_000))
    found += [f"handed over twice: {event}" for event, times in handed.items() if times > 1]
    return found + [f"letter: {letter.story.error}" for letter in outcome.letters]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_last_change_has_one_run_whatever_goes_wrong(kind: str, tmp_path: Path) -> None:
    attack = Attack(tmp_path, SPEC, put=PUT, watch=WATCH)
    plain = await attack.run(_feed)
    assert await _faults(plain) == []
    assert len(plain.events["b"]) == 4
    assert [call for call in plain.trail if call.startswith("append retry.")]
    for silence in (0.0, 3600.0):
        for at in range(len(plain.trail)):
            outcome = await attack.run(_feed, kind, at, silence)
            assert outcome.happened
            assert await _faults(outcome) == [], f"{kind} at {at} ({plain.trail[at]}), then {silence:g} s of silence"


async def test_the_attack_would_catch_a_hand_over_that_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking for what was handed over before, an hour of silence after a crash doubles it."""

    class Nothing:
        async def has(self, *_: Any) -> bool:
            return False

    attack = Attack(tmp_path, SPEC, put=PUT, watch=WATCH)
    trail = (await attack.run(_feed)).trail
    at = next(number for number, call in enumerate(trail) if call.startswith("append retry."))
    assert await _faults(await attack.run(_feed, "die after", at, 3600.0)) == []
    monkeypatch.setattr(changes_module.ChangeWorker, "_handed_over", lambda *_: Nothing().has())
    assert await _faults(await attack.run(_feed, "die after", at, 3600.0))
