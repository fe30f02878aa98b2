"""Runs that were beaten to a key of state go on one after the other."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.commit import Claim, Commits
from motia_runtime.runs import Attempt
from motia_runtime.state import StateStore, Value
from motia_runtime.turns import AT_ONCE, Gate, Turns

SPEC = """
name: turns
topics: {a: {external: in}}
state: {sums: {}}
steps:
  Add: {type: event, subscribes: [a]}
"""
ADD = """
import asyncio


async def handler(data, ctx):
    for key in data["keys"]:
        await ctx.state.sums.update(key, lambda old: (old or 0) + 1)
        await asyncio.sleep(0)
"""


async def test_first_come_first_served() -> None:
    turns, order = Turns(), []

    async def run(name: str, keys: set[str]) -> None:
        turn = await turns.take(keys)
        order.append(name)
        await asyncio.sleep(0)
        turns.give(turn)

    async with asyncio.timeout(5):
        await asyncio.gather(
            run("1", {"a"}), run("2", {"b", "a"}), run("3", {"a", "b"}), run("4", {"b"}), run("5", {"c"})
        )
    assert sorted(order) == ["1", "2", "3", "4", "5"]
    assert order.index("1") < order.index("2") < order.index("3")
    assert not any(turns.taken(key) for key in "abc")


async def test_who_is_cancelled_while_waiting_holds_nobody_up() -> None:
    turns = Turns()
    first = await turns.take({"a", "b"})
    waiting = [asyncio.create_task(turns.take({key, "c"})) for key in ("a", "b", "a")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    turns.give(first)
    waiting[1].cancel()  # its turn has come, and it does not know yet
    async with asyncio.timeout(5):
        last = await waiting[2]
    assert set(last) == {"a", "c"}
    turns.give(last)
    assert not any(turns.taken(key) for key in "abc")


async def test_hundreds_of_writers_of_two_keys_need_few_tries(make_app, monkeypatch) -> None:
    events, conflicts = 200, 0
    begin_again = Attempt.begin_again

    async def counted(attempt: Attempt, number: int) -> None:
        nonlocal conflicts
        conflicts += 1
        await begin_again(attempt, number)

    monkeypatch.setattr(Attempt, "begin_again", counted)
    async with make_app(SPEC, add=ADD) as app:
        for number in range(events):
            await app.emit("a", {"keys": ["x", "y"] if number % 2 else ["y"]})
        await app.settle()
        assert await app.state.items("sums") == {"x": events // 2, "y": events}
    assert conflicts <= 3 * events


async def test_who_has_its_turn_is_told_what_the_one_before_wrote(make_app, monkeypatch) -> None:
    handed = 0
    take = Commits.handed

    def counted(commits: Commits, claim: Claim, subject: str) -> Value | None:
        nonlocal handed
        value = take(commits, claim, subject)
        handed += value is not None
        return value

    monkeypatch.setattr(Commits, "handed", counted)
    async with make_app(SPEC, add=ADD) as app:
        for _ in range(50):
            await app.emit("a", {"keys": ["x"]})
        await app.settle()
        assert await app.state.items("sums") == {"x": 50}
    assert handed >= 40  # all but the first few


TAKE = """
import asyncio

from motia_runtime.handler import NonRetryable

async def handler(data, ctx):
    def take(left):
        if left == 0:
            raise NonRetryable("sold out")
        return left - 1

    try:
        await ctx.state.sums.update("left", take)
    except NonRetryable:
        if not data["keeps"]:
            raise
    await asyncio.sleep(0)
"""


@pytest.mark.parametrize("keeps", [False, True], ids=["fails", "leaves it alone"])
async def test_nobody_goes_by_what_it_was_told_when_that_is_no_longer_true(make_app, monkeypatch, keeps: bool) -> None:
    handed = Commits.handed
    told, refills = asyncio.Event(), 0

    def overtaken(commits: Commits, claim: Claim, subject: str) -> Value | None:
        value = handed(commits, claim, subject)
        if value is not None and value.data == b"0":
            told.set()
        return value

    read = StateStore.read

    async def refilled(store: StateStore, group: str, key: str) -> Value:
        nonlocal refills
        if told.is_set() and not refills:  # by somebody elsewhere, before anybody looks again
            refills += 1
            await store.set(group, key, 5)
        return await read(store, group, key)

    monkeypatch.setattr(Commits, "handed", overtaken)
    monkeypatch.setattr(StateStore, "read", refilled)
    async with make_app(SPEC.replace("Add:", "Take:"), take=TAKE) as app:
        await app.state.set("sums", "left", 20)
        await asyncio.gather(*[app.emit("a", {"keeps": keeps}) for _ in range(24)])
        await app.settle()
        assert refills == 1
        assert await app.state.get("sums", "left") == 20 + 5 - 24
        assert await app.dead_letters() == []


SWALLOW = """
import asyncio

async def handler(data, ctx):
    try:
        await ctx.state.sums.update("x", lambda old: (old or 0) + 1)
    except Exception:
        pass  # as people do
    await asyncio.sleep(0)
"""


async def test_a_run_that_is_beaten_comes_to_nothing_even_if_it_hides_that(make_app) -> None:
    async with make_app(SPEC, add=SWALLOW) as app:
        # more than run at once, so that some begin when others are in line
        for _ in range(300):
            await app.emit("a", {})
        await app.settle()
        assert await app.state.items("sums") == {"x": 300}


async def test_the_gate_holds_back_only_while_somebody_has_a_turn() -> None:
    turns = Turns()
    gate = Gate(turns)
    async with asyncio.timeout(5):
        for _ in range(AT_ONCE + 10):
            await gate.enter()
        turn = await turns.take({"a"})
        waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
            gate.leave()
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        gate.leave()
        waiting[1].cancel()  # it has been let in, and does not know yet
        for _ in range(3):
            await asyncio.sleep(0)
        assert waiting[2].done()
        last = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        assert not last.done()
        turns.give(turn)
        gate.leave()
        await last
        for _ in range(AT_ONCE):
            gate.leave()
    assert gate._inside == 0


async def test_who_has_its_turn_waits_behind_few_commits_of_others(make_app, monkeypatch) -> None:
    """While a key is fought over, whatever else the app has to do."""
    spec = SPEC.replace("steps:", "steps:\n  Other: {type: event, subscribes: [b]}").replace(
        "a: {", "b: {external: in}, a: {"
    )
    other = """
async def handler(data, ctx):
    await ctx.state.sums.set(str(data["n"]), 1)
"""
    under_way = most = 0
    async with make_app(spec, add=ADD, other=other) as app:
        append, turns = app._log.append, app._version.engine._commits._turns

        async def slow(subject, data, **more):
            nonlocal under_way, most
            counts = subject.startswith("tx.Other")
            under_way += counts
            if turns.any:
                most = max(most, under_way)
            for _ in range(100 if subject.startswith(("tx.", "st.")) else 0):
                await asyncio.sleep(0)
            try:
                return await append(subject, data, **more)
            finally:
                under_way -= counts

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(slow(*args, **more)))
        for _ in range(20):
            await app.emit("a", {"keys": ["hot"]})
        while not turns.any:
            await asyncio.sleep(0)
        await asyncio.gather(*(app.emit("b", {"n": number}) for number in range(300)))
        await app.settle()
        assert await app.state.items("sums") == {"hot": 20} | {str(number): 1 for number in range(300)}
    assert 0 < most <= AT_ONCE
