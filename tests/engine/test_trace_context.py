"""`ctx.traceparent`, `ctx.tracestate`, and the way of a `tracestate` through an app."""

from __future__ import annotations

import os

import pytest

from motia_runtime import trace
from motia_runtime.trace import LONGEST_STATE, parse, state_of

SPAN = "b7ad6b7169203331"
SPEC = """
name: t
topics: {told: {external: in}, passed: {}, later: {}, other: {external: in}}
state: {seen: {}, joined: {}}
policies: {retry: {once: {attempts: 1}, twice: {attempts: 2, delay: 1s, jitter: false}}}
steps:
  Ask: {type: api, method: POST, path: /ask, emits: [passed]}
  Take: {type: event, subscribes: [told], emits: [passed, later], retry: twice, isolation: ISOLATION, timeout: 20s}
  Passed: {type: event, subscribes: [passed]}
  Later: {type: event, subscribes: [later], retry: once}
  Changed: {type: event, subscribes: [{state: seen}]}
  Joined: {type: event, subscribes: [told, other], join: {by: data.id, timeout: 1h}}
  Batched: {type: event, subscribes: [told, other], batch: {size: 2, wait: 1s}}
"""
ASK = """
async def handler(request, ctx):
    await ctx.emit("passed", {})
    return {"status": 200, "body": [ctx.traceparent, ctx.tracestate]}
"""
TAKE = """
async def handler(data, ctx):
    if ctx.attempt == 1:
        raise RuntimeError("once more")
    await ctx.state.seen.set(ctx.trace_id, [ctx.traceparent, ctx.tracestate])
    await ctx.emit("passed", {})
    await ctx.emit("later", {}, delay=5)
"""
LATER = """
async def handler(data, ctx):
    raise RuntimeError("a dead letter, again and again")
"""
NOTHING = "async def handler(data, ctx): pass"
FILES = {"take": TAKE, "ask": ASK, "later": LATER} | dict.fromkeys(("passed", "changed", "joined", "batched"), NOTHING)


@pytest.mark.parametrize("isolation", ["none", "process"])
async def test_a_run_knows_the_headers_of_its_own_calls_and_its_state_goes_all_the_way(make_app, isolation):
    async with make_app(SPEC.replace("ISOLATION", isolation), **FILES) as app:
        traces = {f"{number:032x}": f"vendor={number},x@y=z" for number in (1, 2)}
        for trace, state in traces.items():
            await app.publish(
                "told", b'{"id": 1}', headers={"traceparent": f"00-{trace}-{SPAN}-01", "tracestate": state}
            )
        await app.settle()
        await app.advance(10)
        letters = await app.dead_letters()
        assert sorted(letter.story.tracestate for letter in letters) == sorted(traces.values())
        for letter in letters:
            await app.redrive(letter)
        await app.settle()
        await app.publish("other", b'{"id": 1}', headers={"traceparent": f"00-{9:032x}-{SPAN}-01", "tracestate": "z=9"})
        await app.settle()
        await app.advance(2)
        for trace, state in traces.items():
            runs = await app.runs(trace)
            assert [run.step for run in runs].count("Later") == 2
            assert {"Passed", "Changed", "Take"} <= {run.step for run in runs}
            assert {run.tracestate for run in runs} == {state}
            taken = next(run for run in runs if run.step == "Take" and run.outcome == "ok")
            assert await app.state.get("seen", trace) == [f"00-{trace}-{taken.span_id}-01", state]
        others = await app.runs(f"{9:032x}")
        assert {run.tracestate for run in others} == {"z=9"}
        assert "Joined" in {run.step for run in others}


async def test_an_api_step_takes_both_headers_and_a_state_alone_counts_for_nothing(make_app):
    async with make_app(SPEC.replace("ISOLATION", "none"), **FILES) as app:
        trace = f"{5:032x}"
        headers = {"traceparent": f"00-{trace}-{SPAN}-01", "tracestate": "a=1, b=2"}
        [parent, state] = (await app.request("POST", "/ask", json={}, headers=headers)).json()
        await app.settle()
        [asked, passed] = await app.runs(trace)
        assert (parent, state) == (f"00-{trace}-{asked.span_id}-01", "a=1,b=2")
        assert passed.tracestate == state
        for wrong in ({"tracestate": "a=1"}, {"traceparent": "00-zz", "tracestate": "a=1"}):
            assert (await app.request("POST", "/ask", json={}, headers=wrong)).json()[1] == ""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1 ,\tb= 2,,", "a=1,b= 2"),
        ("1a-_*/@sys=x", "1a-_*/@sys=x"),
        ("x=" + "y" * (LONGEST_STATE // 2 - 2), "x=" + "y" * (LONGEST_STATE // 2 - 2)),
        ("A=1", ""),
        ("a=1,a=2", ""),
        ("a=1,b", ""),
        ("a=1=2", ""),
        ("a=ä", ""),
        ("a=1\r\nx-evil: 1", ""),
        ("1a=x", ""),
        ("a=" + "y" * 257, ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        ("a=1," * LONGEST_STATE, ""),
    ],
)
def test_a_state_is_carried_when_the_standard_allows_it(given, kept):
    assert state_of(given) == kept
    context = parse(f"00-{1:032x}-{SPAN}-01", given)
    assert context is not None
    assert context.tracestate == kept


@pytest.mark.parametrize("size", [16, 32])
def test_no_id_is_all_zeros(size, monkeypatch):
    ids = trace._Ids(size)
    random = os.urandom
    monkeypatch.setattr(os, "urandom", lambda n: bytes(size) + random(n - size))  # two of them
    given = {ids.new() for _ in range(3 * trace.AT_ONCE - 6)}
    assert len(given) == 3 * trace.AT_ONCE - 6
    assert {(len(each), set(each) <= set("0123456789abcdef"), int(each, 16) > 0) for each in given} == {
        (size, True, True)
    }
