"""`priority`: of the events that wait in an engine the higher number goes first, equal ones in their order."""

from __future__ import annotations

import pytest

SPEC = """
name: urgent
topics:
  a: {external: in, schema: {type: object, properties: {n: {type: integer}, urgency: SCHEMA}, required: [n]}}
  done: {external: out}
steps:
  Open: {type: api, method: POST, path: /open}
  Work:
    type: event
    subscribes: [a]
    emits: [done]
    priority: data.urgency
    concurrency: {limit: 1}
    retry: {attempts: 2, delay: 5s, jitter: false}
"""
WORK = """
import asyncio

gate = asyncio.Event()

async def handler(data, ctx):
    if data.n == 0:
        await gate.wait()
    if data.n == FAILS and ctx.attempt == 1:
        raise RuntimeError("not yet")
    await ctx.emit("done", data.n)
"""
OPEN = """
from steps.work import gate

async def handler(request, ctx):
    gate.set()
"""


def _spec(schema: str = "{type: number}") -> str:
    return SPEC.replace("SCHEMA", schema)


async def _handled(app, *urgencies: float | None) -> list[int]:
    """The order in which events are handled that wait together behind number 0."""
    await app.emit("a", {"n": 0})
    for n, urgency in enumerate(urgencies, start=1):
        await app.emit("a", {"n": n} if urgency is None else {"n": n, "urgency": urgency})
    assert (await app.request("POST", "/open")).status == 204
    await app.settle()
    return (await app.events("done"))[1:]


async def test_the_higher_goes_first_and_equal_ones_keep_their_order(make_app):
    async with make_app(_spec(), work=WORK.replace("FAILS", "-1"), open=OPEN) as app:
        assert await _handled(app, 1, 5, 1, 5.5, -2, 5) == [4, 2, 6, 1, 3, 5]


async def test_without_a_number_it_counts_as_0(make_app):
    async with make_app(_spec("{}"), work=WORK.replace("FAILS", "-1"), open=OPEN) as app:
        found = await _handled(app, None, 1, "9", True, -1)  # type: ignore[arg-type]  # no numbers
        assert found == [2, 1, 3, 4, 5]


async def test_the_default_of_the_schema_counts(make_app):
    async with make_app(_spec("{type: number, default: 3}"), work=WORK.replace("FAILS", "-1"), open=OPEN) as app:
        assert await _handled(app, 2, None, 4) == [3, 2, 1]


async def test_a_failed_one_makes_room_until_its_next_attempt(make_app):
    async with make_app(_spec(), work=WORK.replace("FAILS", "2"), open=OPEN) as app:
        assert await _handled(app, 1, 9) == [1]
        await app.advance(6)
        assert (await app.events("done"))[1:] == [1, 2]


@pytest.mark.parametrize("count", [1_100])
async def test_it_looks_a_thousand_events_ahead(make_app, count):
    async with make_app(_spec(), work=WORK.replace("FAILS", "-1"), open=OPEN) as app:
        found = await _handled(app, *range(1, count + 1))
        assert found[:2] == [1_000, 1_001]  # when the first one ends, one more comes
        assert sorted(found) == list(range(1, count + 1))
