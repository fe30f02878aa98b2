"""Cancelling: what waits does not run, what runs is interrupted, what has committed stays."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.cancels import Cancels, Target, cancel
from motia_runtime.deadletters import DeadLetters
from motia_runtime.ports import LogUnavailable

SPEC = """
name: t
topics: {ask: {external: in}, next: {}, late: {}}
state: {free: {}}
steps:
  Work: {type: event, subscribes: [ask], emits: [next, late], uses: {state: [free]}, retry: {attempts: 3, delay: 10s}, EXTRA}
  Next: {type: event, subscribes: [next, late], uses: {state: [free]}}
  Http: {type: api, method: POST, path: /go, emits: [next], uses: {state: [free]}}
  Once: {type: api, method: POST, path: /once, emits: [next], uses: {state: [free]}, idempotency: {header: Idempotency-Key, window: 1h}}
"""
WORK = """
import asyncio, time

async def handler(data, ctx):
    began.append(ctx.trace_id)
    await ctx.state.free.set("work", data)
    await ctx.emit("next", data)
    try:
        await LINE
    except asyncio.CancelledError:
        interrupted.append(data)
        raise

began, interrupted = [], []
"""
NEXT = """
async def handler(data, ctx):
    await ctx.state.free.update("next", lambda n: [*(n or []), data])
"""
HTTP = """
import asyncio

async def handler(req, ctx):
    began.append(ctx.trace_id)
    await ctx.state.free.set("http", 1)
    await ctx.emit("next", "http")
    if gate:
        await asyncio.sleep(60)
    return {"status": 200, "body": {"trace": ctx.trace_id}}

began, gate = [], [1]
"""
SLEEP = "asyncio.sleep(60)"


def make(make_app, line=SLEEP, extra="timeout: 30s", work=WORK):
    return make_app(SPEC.replace("EXTRA", extra), work=work.replace("LINE", line), next=NEXT, http=HTTP, once=HTTP)


def module(app, step):
    return app._version.engine._runs, app._version


async def until(check):
    for _ in range(2_000):
        if check():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")


def running(app):
    return len(app._version.engine._runs.cancels._runs)


async def stop(app, trace="", step="", event=""):
    dropped = await cancel(app._log, Target(trace, step, event), app.clock.time())
    await asyncio.sleep(0)
    return dropped


async def outcomes(app, trace):
    return [(run.step, run.outcome) for run in await app.runs(trace)]


@pytest.mark.parametrize("isolated", ["async", "plain", "process"])
async def test_a_run_is_interrupted_and_leaves_nothing(make_app, isolated):
    plain = """
import time

def handler(data, ctx):
    ctx.state.free.set("work", data)
    ctx.emit("next", data)
    for _ in range(3_000):
        time.sleep(0.02)
"""
    extra = "timeout: 30s" + (", isolation: process" if isolated == "process" else "")
    work = WORK if isolated == "async" else plain
    async with make(make_app, extra=extra, work=work) as app:
        trace = await app.emit("ask", "a")
        await until(lambda: running(app) == 1)
        if isolated != "async":
            await asyncio.sleep(0.3)  # into the handler; before it would do as well
        await stop(app, trace)
        await app.settle()
        assert await outcomes(app, trace) == [("Work", "cancelled")]
        assert await app.state.get("free", "work") is None
        await app.advance(100)
        assert await outcomes(app, trace) == [("Work", "cancelled")]
        assert await app.events("next") == []
        assert await app.dead_letters() == []


async def test_the_thread_of_a_plain_function_is_interrupted(make_app, tmp_path):
    work = """
import time
from pathlib import Path

def handler(data, ctx):
    try:
        Path(data, "began").touch()
        while True:
            time.sleep(0.01)
    except BaseException as problem:
        Path(data, "ended").write_text(type(problem).__name__)
        raise
"""
    async with make(make_app, work=work) as app:
        trace = await app.emit("ask", str(tmp_path))
        await until((tmp_path / "began").exists)
        await stop(app, trace)
        await until(lambda: (tmp_path / "ended").exists() and (tmp_path / "ended").read_text() == "HandlerTimeout")
        await app.settle()
        assert await outcomes(app, trace) == [("Work", "cancelled")]


async def test_others_go_on(make_app):
    async with make(make_app, line='asyncio.sleep(60 if data == "a" else 0)') as app:
        trace = await app.emit("ask", "a")
        await until(lambda: running(app) == 1)
        await stop(app, trace)
        other = await app.emit("ask", "b")
        await app.settle()
        assert await outcomes(app, other) == [("Work", "ok"), ("Next", "ok")]
        assert await app.state.get("free", "next") == ["b"]


async def test_what_waits_for_a_place_or_comes_later_does_not_run(make_app):
    async with make(make_app, extra="timeout: 30s, concurrency: {limit: 1}", line="asyncio.sleep(0.05)") as app:
        first = await app.emit("ask", "first")
        await until(lambda: running(app) == 1)
        second = await app.emit("ask", "second")
        await asyncio.sleep(0.01)
        await stop(app, second)
        await app.settle()
        assert await outcomes(app, first) == [("Work", "ok"), ("Next", "ok")]
        assert await outcomes(app, second) == [("Work", "cancelled")]


async def test_a_retry_is_dropped_at_once_and_a_delayed_emit_never_comes(make_app):
    work = """
async def handler(data, ctx):
    await ctx.emit("late", data, delay=3600)
    await ctx.emit("late", data, delay=3600, key="k")
    await ctx.flush()
    raise ValueError
"""
    async with make(make_app, work=work) as app:
        trace = await app.emit("ask", "a")
        other = await app.emit("ask", "b")
        await app.settle()
        assert len(await app.delayed()) == 3
        dropped = await stop(app, trace)
        await app.settle()
        assert (dropped.emits, dropped.again) == (1, 1)  # the other one took the place of the one with the key
        assert await outcomes(app, trace) == [("Work", "retry"), ("Work", "cancelled")]
        await app.advance(4_000)
        assert await app.events("late") == ["b", "b"]
        assert (await outcomes(app, other))[-1] == ("Next", "ok")
        assert [letter.data for letter in await app.dead_letters()] == [b'"b"']


async def test_one_step_of_a_trace(make_app):
    async with make(make_app, line="asyncio.sleep(0)") as app:
        trace = await app.emit("ask", "a")
        await stop(app, trace, "Next")
        await app.settle()
        assert await outcomes(app, trace) == [("Work", "ok"), ("Next", "cancelled")]
        assert await app.state.get("free", "work") == "a"


async def test_one_event_for_one_step(make_app):
    async with make(make_app) as app:
        one, two = await app.emit("ask", "a"), await app.emit("ask", "b")
        await until(lambda: running(app) == 2)
        [event] = [r.seq for r in await app._log.scan("ev.ask", limit=9) if r.data == b'"a"']
        await stop(app, "", "Work", str(event))
        await until(lambda: running(app) == 1)
        assert await outcomes(app, one) == [("Work", "cancelled")]
        await stop(app, two)
        await app.settle()


async def test_a_run_that_commits_wins(make_app, monkeypatch):
    async with make(make_app, line="asyncio.sleep(0)") as app:
        append = app._log.append
        trace = ""

        async def slow(subject, data, **more):
            if subject.startswith("tx.Work"):
                await stop(app, trace)
                await asyncio.sleep(0.01)
            return await append(subject, data, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(slow(*args, **more)))
        trace = await app.emit("ask", "a")
        await app.settle()
        assert await app.state.get("free", "work") == "a"
        assert await outcomes(app, trace) == [("Work", "ok"), ("Next", "cancelled")]


async def test_what_was_flushed_stays_whole_and_nothing_after_it_comes(make_app, monkeypatch):
    work = """
async def handler(data, ctx):
    await ctx.state.free.set("one", data)
    await ctx.emit("next", "one")
    await ctx.flush()
    await ctx.state.free.set("two", data)
    await ctx.emit("next", "two")
"""
    async with make(make_app, work=work) as app:
        append = app._log.append
        trace = ""

        async def slow(subject, data, **more):
            if subject.startswith("st.free.one"):
                await stop(app, trace)
            return await append(subject, data, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(slow(*args, **more)))
        trace = await app.emit("ask", "a")
        await app.settle()
        assert await app.state.get("free", "one") == "a"
        assert await app.state.get("free", "two") is None
        assert await app.events("next") == ["one"]
        assert await outcomes(app, trace) == [("Work", "cancelled"), ("Next", "cancelled")]


async def test_an_unknown_outcome_is_completed_before_it_is_dropped(make_app, monkeypatch):
    """The plan is stored and the broker goes away; the event comes again after the cancel."""
    async with make(make_app, line="asyncio.sleep(0)") as app:
        append = app._log.append
        trace = ""
        broken = []

        async def lost(subject, data, **more):
            if subject.startswith("st.free.work") and not broken:
                broken.append(subject)
                await stop(app, trace)
                raise LogUnavailable("for the test")
            return await append(subject, data, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(lost(*args, **more)))
        trace = await app.emit("ask", "a")
        await app.settle()
        await app.advance(60)
        assert broken
        assert await app.state.get("free", "work") == "a"
        assert await app.events("next") == ["a"]
        assert await outcomes(app, trace) == [("Work", "recovered"), ("Next", "cancelled")]


async def test_an_early_commit_of_unknown_outcome_is_completed_too(make_app, monkeypatch):
    work = """
async def handler(data, ctx):
    await ctx.emit("next", "one")
    await ctx.flush()
    await ctx.emit("next", "two")
"""
    async with make(make_app, work=work) as app:
        append = app._log.append
        trace = ""
        broken = []

        async def lost(subject, data, **more):
            if subject == "ev.next" and not broken:
                broken.append(subject)
                await stop(app, trace)
                raise LogUnavailable("for the test")
            return await append(subject, data, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(lost(*args, **more)))
        trace = await app.emit("ask", "a")
        await app.settle()
        await app.advance(60)
        assert broken
        assert await app.events("next") == ["one"]
        assert await outcomes(app, trace) == [("Work", "cancelled"), ("Next", "cancelled")]


@pytest.mark.parametrize("effect", ["pass", 'await ctx.emit("next", data)'])
async def test_a_handler_that_will_not_stop_commits_nothing(make_app, effect):
    work = f"""
import asyncio

async def handler(data, ctx):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    await asyncio.sleep(0.02)
    {effect}
"""
    async with make(make_app, work=work) as app:
        trace = await app.emit("ask", "a")
        await until(lambda: running(app) == 1)
        await asyncio.sleep(0.01)
        await stop(app, trace)
        await app.settle()
        assert await outcomes(app, trace) == [("Work", "cancelled")]
        assert await app.events("next") == []


@pytest.mark.parametrize("path", ["/go", "/once"])
async def test_a_request_is_answered_503_and_changes_nothing(make_app, path):
    async with make(make_app) as app:
        trace = "ab" * 16
        headers = {"traceparent": f"00-{trace}-{'cd' * 8}-01", "idempotency-key": "k"}
        request = asyncio.create_task(app.request("POST", path, headers=headers))
        await until(lambda: running(app) == 1)
        await stop(app, trace)
        answer = await request
        assert (answer.status, answer.json()["detail"]) == (503, "The run was cancelled.")
        await app.settle()
        assert await app.state.get("free", "http") is None
        assert await app.events("next") == []
        assert [run.outcome for run in await app.runs(trace)] == ["cancelled"]
        assert [run.status for run in await app.runs(trace)] == [503]


async def test_an_answer_that_was_given_stays(make_app):
    async with make_app(
        SPEC.replace("EXTRA", "timeout: 30s"), work=WORK.replace("LINE", SLEEP), next=NEXT, http=HTTP,
        once=HTTP.replace("[], [1]", "[], []"),
    ) as app:  # fmt: skip
        trace = "ab" * 16
        headers = {"traceparent": f"00-{trace}-{'cd' * 8}-01", "idempotency-key": "k"}
        first = await app.request("POST", "/once", headers=headers)
        await stop(app, trace)
        again = await app.request("POST", "/once", headers=headers)
        assert (first.status, again.status, again.body) == (200, 200, first.body)
        assert again.headers["idempotency-replayed"] == "true"


async def test_a_line_goes_on_when_its_first_is_cancelled(make_app):
    work = """
async def handler(data, ctx):
    if data == "bad":
        raise ValueError
    await ctx.state.free.set("work", data)
"""
    extra = "orderBy: data"
    spec_work = work.replace('if data == "bad"', 'if data["bad"]').replace('"work", data', '"work", data["n"]')
    async with make(make_app, extra="orderBy: data.key", work=spec_work) as app:
        assert extra
        bad = await app.emit("ask", {"key": 1, "bad": True, "n": 1})
        good = await app.emit("ask", {"key": 1, "bad": False, "n": 2})
        await app.settle()
        assert await app.state.get("free", "work") is None
        await stop(app, bad)
        await app.settle()
        assert await app.state.get("free", "work") == 2
        assert await outcomes(app, bad) == [("Work", "retry"), ("Work", "cancelled")]
        assert await outcomes(app, good) == [("Work", "ok")]


async def test_a_cron_run_is_interrupted_and_not_tried_again(make_app):
    spec = """
    name: t
    state: {free: {}}
    steps:
      Tick: {type: cron, cron: "* * * * *", uses: {state: [free]}, timeout: 30s, retry: {attempts: 3, delay: 1s}}
    """
    tick = """
import asyncio

async def handler(ctx):
    await ctx.state.free.set("tick", 1)
    await asyncio.sleep(60)
"""
    async with make_app(spec, start=1_700_000_005.0, tick=tick) as app:
        await app.clock.advance(60)
        await until(lambda: running(app) == 1)
        [attempt] = app._version.engine._runs.cancels._runs
        await stop(app, attempt.trace_id)
        await app.settle()
        assert await outcomes(app, attempt.trace_id) == [("Tick", "cancelled")]
        await app.clock.advance(20)
        await app.settle()
        assert await app.state.get("free", "tick") is None
        assert running(app) == 0


async def test_letters_of_it_are_not_redriven_into_nothing(make_app):
    async with make(
        make_app, line="asyncio.sleep(0)", work="async def handler(data, ctx):\n    raise ValueError\n"
    ) as app:
        trace = await app.emit("ask", "a")
        await app.advance(100)
        [letter] = await app.dead_letters()
        await stop(app, trace)
        with pytest.raises(LookupError, match="was cancelled"):
            await DeadLetters(app._log).redrive(letter)
        assert await app.dead_letters() == [letter]


async def test_an_engine_that_starts_later_knows_of_it(make_app):
    async with make(make_app) as app:
        trace = await app.emit("ask", "a")
        await until(lambda: running(app) == 1)
        await stop(app, trace)
        later = Cancels(app._log, {})
        await later.start()
        assert later.hits(trace, "Work", "1")
        assert not later.hits("0" * 32, "Work", "1")
        await later.stop()
        await app.settle()
