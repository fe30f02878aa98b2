"""Runs that were beaten to a key of state go on one after the other."""

from __future__ import annotations

import asyncio

from motia_runtime.runs import Attempt
from motia_runtime.turns import Turns

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
