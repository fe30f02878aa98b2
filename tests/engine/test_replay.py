"""Stored events published anew: which ones, as what, and once for each command."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from motia_runtime.context import new_id
from motia_runtime.replay import begun, event, of_topic, of_trace, replay
from support.faulty import FaultyLog

SPEC = """
name: t
topics: {ask: {external: in}, next: {}, late: {}}
state: {free: {}}
steps:
  Go: {type: api, method: POST, path: /go, emits: [ask]}
  Work: {type: event, subscribes: [ask], emits: [next, late], uses: {state: [free]}}
  Next: {type: event, subscribes: [next, late], uses: {state: [free]}, retry: {attempts: 2, delay: 1s}}
  Count: {type: event, subscribes: [ask], uses: {state: [free]}}
"""
GO = """
async def handler(req, ctx):
    await ctx.emit("ask", "one")
    await ctx.emit("ask", "two")
"""
WORK = """
async def handler(data, ctx):
    await ctx.emit("next", data)
    await ctx.flush()
    await ctx.emit("late", data, delay=60)
"""
NEXT = """
async def handler(data, ctx):
    if ctx.attempt == 1 and data == "fails":
        raise ValueError
    await ctx.state.free.update(f"next {ctx.topic}", lambda n: [*(n or []), data])
"""
COUNT = """
async def handler(data, ctx):
    await ctx.state.free.update("count", lambda n: [*(n or []), data])
"""
HOUR = 3_600.0


def make(make_app):
    return make_app(SPEC, go=GO, work=WORK, next=NEXT, count=COUNT)


async def steps(app, trace):
    return sorted((run.step, run.outcome) for run in await app.runs(trace))


async def test_of_a_trace_the_events_that_began_it(make_app):
    async with make(make_app) as app:
        trace = await app.emit("ask", "a")
        await app.emit("ask", "other")
        await app.advance(100)
        before = await steps(app, trace)
        assert before == [("Count", "ok"), ("Next", "ok"), ("Next", "ok"), ("Work", "ok")]
        found = await of_trace(app._log, trace)
        assert found.begun_by is None
        assert [(each.topic, each.data, each.trace_id) for each in found.events] == [("ask", b'"a"', trace)]
        [done] = await replay(app._log, found.events, new_id())
        assert done.trace_id not in (None, trace)
        await app.advance(100)
        assert await steps(app, done.trace_id) == before
        assert await steps(app, trace) == before
        runs = {run.step: run.replay_of for run in await app.runs(done.trace_id) if run.step != "Next"}
        assert runs == {"Work": trace, "Count": trace}
        assert {run.replay_of for run in await app.runs(trace)} == {""}
        assert sorted(await app.state.get("free", "count")) == ["a", "a", "other"]


async def test_also_when_the_records_of_its_runs_are_lost(make_app):
    async with make(make_app) as app:
        trace = await app.emit("ask", "a")
        await app.settle()
        await app.runs(trace)  # written by now
        for record in await app._log.scan("run.records", limit=100):
            await app._log.delete("run", record.seq)
        await app.advance(100)
        [first] = (await of_trace(app._log, trace)).events
        assert (first.topic, first.data) == ("ask", b'"a"')


async def test_of_a_request_what_it_has_emitted(make_app):
    async with make(make_app) as app:
        answer = await app.request("POST", "/go")
        trace = answer.headers["x-trace-id"]
        await app.advance(100)
        await app.runs(trace)
        found = await of_trace(app._log, trace)
        assert found.begun_by is not None
        assert (found.begun_by.step, found.begun_by.path) == ("Go", "/go")
        assert [each.data for each in found.events] == [b'"one"', b'"two"']
        done = await replay(app._log, found.events, new_id())
        await app.advance(100)
        assert len({each.trace_id for each in done} | {trace}) == 3
        assert await app.state.get("free", "count") == ["one", "two", "one", "two"]


async def test_for_one_step_alone(make_app):
    async with make(make_app) as app:
        trace = await app.emit("ask", "fails")
        await app.advance(100)
        assert await app.state.get("free", "next next") == ["fails"]
        found = await of_trace(app._log, trace, ["late", "next"])
        assert [each.topic for each in found.events] == ["next", "late"]
        done = await replay(app._log, found.events[:1], new_id(), step="Next")
        await app.advance(100)
        runs = await app.runs(done[0].trace_id)
        assert [(run.step, run.outcome, run.attempt, run.replay_of) for run in runs] == [
            ("Next", "retry", 1, trace),
            ("Next", "ok", 2, trace),
        ]
        assert await app.state.get("free", "next next") == ["fails", "fails"]
        assert len(await app.events("next")) == 1


async def test_of_a_topic_those_of_a_span_in_their_order(make_app):
    async with make(make_app) as app:
        start = app.clock.time()
        for number in range(5):
            await app.emit("ask", number)
            await app.advance(HOUR)
        found = await of_topic(app._log, "ask", start + HOUR, start + 4 * HOUR)
        assert [each.data for each in found] == [b"1", b"2", b"3"]
        assert [each.data for each in await of_topic(app._log, "ask", None, start + HOUR)] == [b"0"]
        await replay(app._log, found, new_id())
        await app.settle()
        assert (await app.events("ask"))[5:] == [1, 2, 3]
        assert (await event(app._log, found[0].id)) == found[0]
        assert await event(app._log, 10_000) is None


@pytest.mark.parametrize("step", [None, "Count"])
@pytest.mark.parametrize("kind", ["die before", "die after"])
@pytest.mark.parametrize("at", [0, 1, 57, 149])
async def test_each_once_when_the_command_is_killed_and_given_again(make_app, monkeypatch, kind, at, step):
    async with make(make_app) as app:
        for number in range(150):
            await app.emit("ask", number)
        await app.advance(100)
        found = await of_topic(app._log, "ask", None, app.clock.time())
        replay_id = new_id()
        began = app.clock.time()
        monkeypatch.setattr("motia_runtime.replay.begun", lambda _: began)
        log = FaultyLog(app._log, kind, at)
        command = asyncio.create_task(replay(log, found, replay_id, step=step))
        while not log.happened:
            await asyncio.sleep(0)
        command.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await command
        await app.advance(HOUR)  # no id is known any more
        done = await replay(app._log, found, replay_id, again=True, step=step)
        assert [each.event for each in done] == [each.id for each in found]
        assert sum(each.trace_id is None for each in done) >= at
        await app.advance(100)
        assert sorted(await app.state.get("free", "count")) == sorted([*range(150)] * 2)
        assert [each.trace_id for each in await replay(app._log, found, replay_id, again=True, step=step)] == [
            None
        ] * 150
        own = await of_topic(app._log, "ask", None, app.clock.time(), replay_id=replay_id)
        assert own == found


def test_an_id_tells_when_the_replay_began(monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_123_456_789)
    assert begun(new_id()) == 1_700_000_000.123
    for wrong in ("", "7", "0197a3c2-0000-4000-8000-000000000000", new_id().upper() + "x"):
        with pytest.raises(ValueError, match="no id of a replay"):
            begun(wrong)
