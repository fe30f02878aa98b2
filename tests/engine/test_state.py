"""State: seen by the run that writes it, safe under concurrency, all keys of a run or none."""

from __future__ import annotations

import asyncio

SPEC = """
name: t
topics: {a: {external: in}}
state:
  counts: {schema: {type: object, required: [n], properties: {n: {type: integer, minimum: 0}}}, history: 3}
  free: {}
  brief: {ttl: 5s}
steps:
  Work: {type: event, subscribes: [a]}
  Call: {type: api, method: POST, path: /call}
"""
CALL = """
async def handler(request, ctx):
    return {"ok": True}
"""
INCREMENT = """
import asyncio

async def handler(data, ctx):
    old = await ctx.state.free.get(data["key"]) or 0
    await asyncio.sleep(0.001)
    await ctx.state.free.set(data["key"], old + 1)
"""


async def test_twenty_concurrent_increments_make_twenty(make_app):
    async with make_app(SPEC, work=INCREMENT, call=CALL) as app:
        for _ in range(20):
            await app.emit("a", {"key": "k"})
        await app.settle()
        assert await app.state.get("free", "k") == 20


async def test_api_runs_start_again_on_a_conflict(make_app):
    call = """
    import asyncio

    async def handler(request, ctx):
        n = await ctx.state.free.update("k", lambda old: (old or 0) + 1)
        await asyncio.sleep(0.001)
        return {"n": n}
    """
    async with make_app(SPEC, work=INCREMENT, call=call) as app:
        answers = await asyncio.gather(*(app.request("POST", "/call") for _ in range(20)))
        assert sorted(a.json()["n"] for a in answers) == list(range(1, 21))
        assert await app.state.get("free", "k") == 20


async def test_a_run_sees_its_own_writes_and_nobody_else_does_before_the_commit(make_app):
    work = """
    import asyncio
    seen = {}
    go = asyncio.Event()

    async def handler(data, ctx):
        state = ctx.state.free
        await state.set("x", 1)
        await state.set("y", 2)
        assert await state.get("x") == 1
        assert await state.items() == {"old": 0, "x": 1, "y": 2}
        assert await state.delete("x") is True
        assert await state.delete("x") is False
        assert await state.get("x") is None
        assert await ctx.state.get_group("free") == [0, 2]
        seen["inside"] = True
        await go.wait()
    """
    import sys

    async with make_app(SPEC, work=work, call=CALL) as app:
        await app.state.set("free", "old", 0)
        await app.emit("a", {})
        async with asyncio.timeout(5):
            while not sys.modules["steps.work"].seen:
                await asyncio.sleep(0.001)
        assert await app.state.items("free") == {"old": 0}
        sys.modules["steps.work"].go.set()
        await app.settle()
        assert await app.state.items("free") == {"old": 0, "y": 2}


async def test_keys_of_one_run_change_together_or_not_at_all(make_app):
    work = """
    import asyncio

    async def handler(data, ctx):
        left = await ctx.state.free.get("left") or 0
        right = await ctx.state.free.get("right") or 0
        await asyncio.sleep(0.001)
        await ctx.state.free.set("left", left + 1)
        await ctx.state.free.set("right", right - 1)
    """
    async with make_app(SPEC, work=work, call=CALL) as app:
        for _ in range(20):
            await app.emit("a", {})
        await app.settle()
        assert await app.state.items("free") == {"left": 20, "right": -20}


async def test_values_that_do_not_fit_their_group_fail_the_run_and_are_not_written(make_app):
    work = """
    async def handler(data, ctx):
        await ctx.state.free.set("before", 1)
        await ctx.state.counts.set("k", data)
    """
    async with make_app(
        SPEC.replace("subscribes: [a]", "subscribes: [a], retry: {attempts: 1}"), work=work, call=CALL
    ) as app:
        await app.emit("a", {"n": -1})
        await app.settle()
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "ValidationFailed"
        assert "/n" in letter.story.error.message
        assert await app.state.items("free") == {}
        await app.emit("a", {"n": 1})
        await app.settle()
        assert (await app.state.get("counts", "k"))["n"] == 1


async def test_history_keeps_as_many_revisions_as_the_group_says(make_app):
    work = """
    async def handler(data, ctx):
        if data["n"] == 9:
            await ctx.state.free.set("history", [v["n"] for v in await ctx.state.counts.history("k")])
        else:
            await ctx.state.counts.set("k", data)
    """
    async with make_app(SPEC, work=work, call=CALL) as app:
        for n in (1, 2, 3, 4, 5, 9):
            await app.emit("a", {"n": n})
            await app.settle()
        assert await app.state.get("free", "history") == [3, 4, 5]


async def test_values_with_a_ttl_vanish(make_app):
    work = """
    async def handler(data, ctx):
        await ctx.state.brief.set("k", 1)
        await ctx.state.free.set("k", 1, ttl=2)
    """
    async with make_app(SPEC, work=work, call=CALL) as app:
        await app.emit("a", {})
        await app.advance(1)
        assert (await app.state.get("brief", "k"), await app.state.get("free", "k")) == (1, 1)
        await app.advance(2)
        assert (await app.state.get("brief", "k"), await app.state.get("free", "k")) == (1, None)
        await app.advance(5)
        assert await app.state.get("brief", "k") is None


async def test_odd_keys_round_trip_and_bad_ones_are_refused(make_app):
    work = """
    from motia_runtime.handler import InvalidKey

    async def handler(data, ctx):
        refused = []
        for key in data["keys"]:
            try:
                await ctx.state.free.set(key, key)
            except InvalidKey:
                refused.append(key)
        await ctx.state.counts.set("refused", {"n": len(refused)})
    """
    keys = ["a.b", "a..b", ".", ">", "*", "a b", "订单😀", "1", "01", "=", "=2E", "a\r\nb", "$KV.x", "A", "a"]
    async with make_app(SPEC, work=work, call=CALL) as app:
        await app.emit("a", {"keys": [*keys, "", "x" * 513]})
        await app.settle()
        assert await app.state.items("free") == {k: k for k in sorted(keys)}
        assert (await app.state.get("counts", "refused"))["n"] == 2


async def test_a_key_whose_ttl_is_over_can_be_written_again_by_the_same_engine(make_app):
    spec = """
    name: t
    topics: {a: {external: in}}
    state: {short: {ttl: 60s}}
    steps:
      Work: {type: event, subscribes: [a], retry: {attempts: 1}}
    """
    work = """
    async def handler(data, ctx):
        await ctx.state.short.update("k", lambda n: (n or 0) + 1)
    """
    async with make_app(spec, work=work) as app:
        for _ in range(3):
            await app.emit("a", None)
            await app.settle()
            assert await app.state.get("short", "k") == 1
            await app.advance(120)
            assert await app.state.get("short", "k") is None
        assert await app.dead_letters() == []
