"""Event steps: who gets what, what the record of a run tells, and what a plain function can do."""

from __future__ import annotations

SPEC = """
name: t
topics:
  a: {}
  b: {}
state:
  seen: {}
steps:
  Begin: {type: api, method: POST, path: /begin, emits: [a]}
  First: {type: event, subscribes: [a], emits: [b]}
  Second: {type: event, subscribes: [a, b]}
"""

BEGIN = """
async def handler(request, ctx):
    await ctx.emit("a", request.body)
    return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
FIRST = """
async def handler(data, ctx):
    ctx.logger.info("passing on", n=data["n"])
    await ctx.emit({"topic": "b", "data": {"n": data["n"]}})
"""
SECOND = """
async def handler(data, ctx):
    await ctx.state.set("seen", f"{ctx.topic}-{data['n']}", {"attempt": ctx.attempt, "step": ctx.step, "type": ctx.trigger.type})
"""
SECOND_PLAIN = """
import threading

def handler(data, ctx):
    assert threading.current_thread() is not threading.main_thread()
    assert ctx.state.seen.get("nothing") is None
    ctx.state.seen.set(f"{ctx.topic}-{data['n']}", {"attempt": ctx.attempt, "step": ctx.step, "type": ctx.trigger.type})
    assert ctx.state.get("seen", f"{ctx.topic}-{data['n']}")["step"] == "Second"
"""


async def _three_through(app):
    answers = [await app.request("POST", "/begin", json={"n": n}) for n in range(3)]
    assert [a.status for a in answers] == [202, 202, 202]
    await app.settle()
    seen = await app.state.items("seen")
    assert sorted(seen) == ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"]
    assert all(v == {"attempt": 1, "step": "Second", "type": "event"} for v in seen.values())
    return answers


async def test_each_subscriber_gets_each_event_of_each_of_its_topics(make_app):
    async with make_app(SPEC, begin=BEGIN, first=FIRST, second=SECOND) as app:
        await _three_through(app)


async def test_plain_functions_run_in_threads_with_a_blocking_context(make_app):
    async with make_app(SPEC, begin=BEGIN, first=FIRST, second=SECOND_PLAIN) as app:
        await _three_through(app)


async def test_a_trace_is_one_tree_over_http_and_events(make_app):
    async with make_app(SPEC, begin=BEGIN, first=FIRST, second=SECOND) as app:
        answers = await _three_through(app)
        runs = await app.runs(answers[0].json()["trace"])
        spans = {r.span_id: r for r in runs}
        assert sorted(r.step for r in runs) == ["Begin", "First", "Second", "Second"]
        begin = next(r for r in runs if r.step == "Begin")
        first = next(r for r in runs if r.step == "First")
        assert begin.parent_id not in spans
        assert begin.status == 202
        assert first.parent_id == begin.span_id
        assert sorted(spans[r.parent_id].step for r in runs if r.step == "Second") == ["Begin", "First"]
        assert [e.topic for e in first.emits] == ["b"]
        assert [(line.message, line.fields) for line in first.logs] == [("passing on", {"n": 0})]
        assert all(r.outcome == "ok" for r in runs)


async def test_a_caller_trace_is_continued_and_a_bad_one_ignored(make_app):
    async with make_app(SPEC, begin=BEGIN, first=FIRST, second=SECOND) as app:
        good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = await app.request("POST", "/begin", json={"n": 1}, headers={"traceparent": good})
        assert answer.json()["trace"] == "0af7651916cd43dd8448eb211c80319c"
        for bad in ("00-zz", good.upper(), "00-" + "0" * 32 + "-b7ad6b7169203331-01"):
            answer = await app.request("POST", "/begin", json={"n": 1}, headers={"traceparent": bad})
            assert answer.json()["trace"] not in bad


async def test_delayed_emits_and_delayed_steps_wait_for_the_clock(make_app):
    spec = """
    name: t
    topics: {now: {}, later: {}}
    state: {seen: {}}
    steps:
      Begin: {type: api, method: POST, path: /begin, emits: [now, later]}
      Slow: {type: event, subscribes: [now], delay: 30s}
      Quick: {type: event, subscribes: [later]}
    """
    begin = """
    async def handler(request, ctx):
        await ctx.emit("now", 1)
        await ctx.emit("later", 2, delay=10)
    """
    mark = """
    async def handler(data, ctx):
        await ctx.state.seen.set(ctx.step, data)
    """
    async with make_app(spec, begin=begin, slow=mark, quick=mark) as app:
        await app.request("POST", "/begin")
        await app.advance(9)
        assert await app.state.items("seen") == {}
        await app.advance(2)
        assert await app.state.items("seen") == {"Quick": 2}
        await app.advance(18)
        assert "Slow" not in await app.state.items("seen")
        await app.advance(2)
        assert await app.state.items("seen") == {"Quick": 2, "Slow": 1}


async def test_concurrency_limit_bounds_runs_at_once(make_app):
    spec = """
    name: t
    topics: {a: {external: in}}
    steps:
      Work: {type: event, subscribes: [a], concurrency: {limit: 3}}
    """
    work = """
    import asyncio
    now = most = total = 0

    async def handler(data, ctx):
        global now, most, total
        now += 1; most = max(most, now); total += 1
        await asyncio.sleep(0.005)
        now -= 1
    """
    async with make_app(spec, work=work) as app:
        for n in range(20):
            await app.emit("a", n)
        await app.settle()
        import sys

        module = sys.modules["steps.work"]
        assert (module.total, module.most) == (20, 3)
