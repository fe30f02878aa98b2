"""State and stream triggers: a run for each change, once, with the value before; ordered, tried again, buried and redriven like any event."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from motia_runtime.changes import change_workers
from motia_runtime.naming import change_durable, durable
from motia_runtime.testing import AppUnderTest

SPEC = """
name: t
topics: {a: {external: in}, seen: {external: out}}
state:
  orders: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}
  short: {ttl: 60s}
streams:
  board: {}
steps:
  Put: {type: event, subscribes: [a], uses: {state: [orders, short], streams: [board]}}
  Watch: {type: event, subscribes: [{state: orders}, {state: short}], emits: [seen], retry: {attempts: 2, delay: 1s, jitter: false}}
  Follow: {type: event, subscribes: [{stream: board}]}
"""
PUT = """
async def handler(data, ctx):
    for kind, *rest in data:
        if kind == "set":
            group, key, value = rest
            await ctx.state[group].set(key, value)
        elif kind == "del":
            await ctx.state[rest[0]].delete(rest[1])
        elif kind == "flush":
            await ctx.flush()
        elif kind == "item":
            await ctx.streams.board.set(*rest)
        else:
            await ctx.streams.board.delete(*rest)
"""
WATCH = """
changes = []
failures = 0

def plain(value):
    return None if value is None else value["n"] if not isinstance(value, (int, str)) else value

async def handler(change, ctx):
    global failures
    if failures:
        failures -= 1
        raise RuntimeError("not this time")
    changes.append((change.group, change.key, plain(change.value), plain(change.previous)))
    await ctx.emit("seen", [change.key, plain(change["value"]), ctx.trigger.topic, ctx.trigger.event_id])
"""
FOLLOW = """
changes = []

async def handler(change, ctx):
    changes.append((change.stream, change.group, change.id, change.value, change.previous))
"""


def _of(module: str) -> list[Any]:
    found: list[Any] = sys.modules[f"steps.{module}"].changes
    return found


def _app(make_app: Any, spec: str = SPEC, watch: str = WATCH) -> Any:
    return make_app(spec, put=PUT, watch=watch, follow=FOLLOW)


async def _put(app: AppUnderTest, *steps: list[Any]) -> str:
    trace = await app.emit("a", list(steps))
    await app.settle()
    return trace


async def test_each_change_of_a_key_is_a_run_with_the_value_before(make_app):
    async with _app(make_app) as app:
        await _put(app, ["set", "orders", "o1", {"n": 1}])
        await _put(app, ["set", "orders", "o1", {"n": 2}], ["set", "orders", "o.2", {"n": 7}])
        await _put(app, ["del", "orders", "o1"])
        await _put(app, ["set", "orders", "o1", {"n": 3}])
        assert sorted(_of("watch")[1:3]) == [("orders", "o.2", 7, None), ("orders", "o1", 2, 1)]
        assert _of("watch")[0] == ("orders", "o1", 1, None)
        assert _of("watch")[3:] == [("orders", "o1", None, 2), ("orders", "o1", 3, None)]
        assert [event[2] for event in await app.events("seen")] == ["state:orders"] * 5


async def test_items_of_streams_as_well(make_app):
    async with _app(make_app) as app:
        await _put(app, ["item", "room", "i1", {"n": 1}])
        await _put(app, ["item", "room", "i1", {"n": 2}])
        await _put(app, ["drop", "room", "i1"])
        assert _of("follow") == [
            ("board", "room", "i1", {"n": 1}, None),
            ("board", "room", "i1", {"n": 2}, {"n": 1}),
            ("board", "room", "i1", None, {"n": 2}),
        ]
        assert _of("watch") == []


async def test_the_end_of_a_ttl_is_a_change(make_app):
    async with _app(make_app) as app:
        await _put(app, ["set", "short", "k", "x"])
        await app.advance(59)
        assert _of("watch") == [("short", "k", "x", None)]
        await app.advance(120)
        assert _of("watch") == [("short", "k", "x", None), ("short", "k", None, None)], "a TTL leaves no value before"


async def test_what_people_change_counts_and_records_of_our_own_do_not(make_app):
    spec = SPEC + "  Once: {type: event, subscribes: [a], dedupe: {key: data.x, window: 1h}, handler: steps/put.py}\n"
    async with _app(make_app, spec) as app:
        await app.state.set("orders", "o1", {"n": 5})
        await app.settle()
        assert _of("watch") == [("orders", "o1", 5, None)]
        await _put(app)
        assert len(_of("watch")) == 1
        assert _of("follow") == []


async def test_the_run_hangs_in_the_trace_of_the_one_that_wrote(make_app):
    async with _app(make_app) as app:
        for steps in (
            [["set", "orders", "o1", {"n": 1}]],
            [["set", "orders", "o1", {"n": 2}], ["set", "orders", "o2", {"n": 2}]],
            [["del", "orders", "o1"]],
        ):
            trace = await _put(app, *steps)
            first, *others = await app.runs(trace)
            assert [run.step for run in others] == ["Watch"] * len(steps)
            assert {run.parent_id for run in others} == {first.span_id}


async def test_a_failed_run_is_tried_again_with_its_own_change_and_redriven(make_app):
    async with _app(make_app) as app:
        await _put(app)
        vars(sys.modules["steps.watch"])["failures"] = 1
        await _put(app, ["set", "orders", "o1", {"n": 1}])
        await _put(app, ["set", "orders", "o1", {"n": 2}])
        await app.advance(5)
        assert _of("watch") == [("orders", "o1", 2, 1), ("orders", "o1", 1, None)]
        vars(sys.modules["steps.watch"])["failures"] = 2
        await _put(app, ["set", "orders", "o1", {"n": 3}])
        await app.advance(5)
        [letter] = await app.dead_letters("Watch")
        assert (letter.story.topic, letter.story.event_id[:3], letter.story.attempts) == ("state:orders", "st-", 2)
        await _put(app, ["set", "orders", "o1", {"n": 4}])
        await app.redrive(letter)
        await app.settle()
        assert _of("watch")[2:] == [("orders", "o1", 4, 3), ("orders", "o1", 3, 2)]


async def test_controls_take_their_keys_from_the_change(make_app):
    spec = SPEC.replace("emits: [seen], retry", "emits: [seen], dedupe: {key: data.key, window: 1h}, delay: 10s, retry")
    async with _app(make_app, spec) as app:
        await _put(app, ["set", "orders", "o1", {"n": 1}], ["set", "orders", "o2", {"n": 1}])
        await _put(app, ["set", "orders", "o1", {"n": 2}])
        await app.advance(9)
        assert _of("watch") == []
        await app.advance(2)
        assert sorted(_of("watch")) == [("orders", "o1", 1, None), ("orders", "o2", 1, None)]


async def test_the_runs_of_a_key_can_be_ordered(make_app):
    spec = SPEC.replace("emits: [seen], retry", "emits: [seen], orderBy: data.key, retry")
    watch = WATCH.replace("async def handler", "import asyncio\n\nasync def handler").replace(
        "    changes.append",
        "    await asyncio.sleep(0.02 if change.value and change.value.n % 2 else 0)\n    changes.append",
    )
    async with _app(make_app, spec, watch) as app:
        for n in range(12):
            await app.state.set("orders", "o1", {"n": n})
            await _turns()
        await app.settle()
        values = [n for _, _, n, _ in _of("watch")]
        assert values == sorted(values)
        assert values[-1] == 11


async def _turns() -> None:
    import asyncio

    for _ in range(30):
        await asyncio.sleep(0)


async def test_of_changes_in_a_moment_the_last_is_never_missing_and_none_is_told_wrongly(make_app):
    async with _app(make_app) as app:
        steps: list[list[Any]] = []
        for n in range(50):
            steps += [["set", "orders", "o1", {"n": n}], ["flush"]]
        await _put(app, *steps)
        told = sorted(_of("watch"), key=lambda change: change[2])
        assert told[-1] == ("orders", "o1", 49, 48)
        assert all(previous == n - 1 for _, _, n, previous in told if n), told


async def test_a_value_that_is_no_json_is_a_dead_letter(make_app):
    async with _app(make_app) as app:
        await app._log.append("st.orders.o1", b"{not json")
        await app._log.append("st.orders.o2", b'{"n": "text"}')
        await app.settle()
        letters = await app.dead_letters("Watch")
        assert {letter.story.event_id for letter in letters} == {"st-1", "st-2"}
        assert b"{not json" in {letter.data for letter in letters}
        assert {letter.story.error.type for letter in letters} == {"ValidationFailed"}
        await app.state.set("orders", "o1", {"n": 1})
        await app.settle()
        assert _of("watch") == [("orders", "o1", 1, None)], "what was there before is no value of the group"


async def test_a_change_is_handed_over_once_however_often_it_comes(make_app):
    """As after a crash between handing over and ack, and long after, when the broker has forgotten the id."""
    async with _app(make_app) as app:
        await _put(app, ["set", "orders", "o1", {"n": 1}])
        [record] = await app._log.history("st.orders.o1")
        engine = app._version.engine
        [worker] = change_workers(app._version.project.steps["Watch"], (3, 1), engine._runs)
        for silence in (0, 3600):
            await app.advance(silence)

            class Again:
                delivered = 2
                ended = ""

                def __init__(self):
                    self.record = record

                def ack(self):
                    self.ended = "ack"

                def nak(self, delay):
                    self.ended = "nak"

            again: Any = Again()
            await worker._handle(again)
            await app.settle()
            assert again.ended == "ack"
            assert len(_of("watch")) == 1


async def test_a_large_change_loses_what_was_before_rather_than_itself(make_app):
    watch = """
changes = []

async def handler(change, ctx):
    changes.append((len(change.value), change.previous and len(change.previous)))
"""
    spec = SPEC.replace("{schema: {type: object, required: [n], properties: {n: {type: integer}}}}", "{}")
    async with _app(make_app, spec, watch) as app:
        for size in (600_000, 600_001, 10):
            await app.state.set("orders", "o1", "x" * size)
            await app.settle()
        assert _of("watch") == [(600_000, None), (600_001, None), (10, 600_001)]


@pytest.mark.parametrize("name", ["A", "A_", "_", "A_s", "A.st", "_st", "x" * 300])
def test_no_two_consumers_have_one_name(name: str) -> None:
    names = [durable(n) for n in (name, name + "_st", name + "st", name + "_rt", name + ".st", name + "_")]
    mine = {change_durable(name, "st"), change_durable(name, "rt")}
    assert len(mine) == 2
    assert not mine & set(names)
