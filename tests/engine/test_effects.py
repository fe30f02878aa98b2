"""Effects: all when the handler returns, none when it fails, nothing twice when a run is repeated."""

from __future__ import annotations

import pytest

SPEC = """
name: t
topics: {a: {external: in}, b: {external: out, schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
state: {free: {}}
steps:
  Work: {type: event, subscribes: [a], emits: [b], retry: {attempts: 1}}
"""


async def _failure(make_app, work, data=None):
    async with make_app(SPEC, work=work) as app:
        await app.emit("a", data)
        await app.settle()
        [letter] = await app.dead_letters()
        assert await app.events("b") == []
        assert await app.state.items("free") == {}
        return letter.story.error


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ('await ctx.emit("nope", {"n": 1})', "InvalidTopic", "this step does not emit 'nope' (it declares: b)"),
        ('await ctx.emit("b", {"n": "x"})', "ValidationFailed", "/n"),
        ('await ctx.emit("b", {})', "ValidationFailed", "n"),
        ('await ctx.emit("b", {"n": 1}, delay=-1)', "ValueError", "delay"),
        ('await ctx.emit("b", {"n": 1, "x": "x" * 2_000_000})', "TooLarge", "2,0"),
        ('await ctx.state.set("free", "k", "x" * 2_000_000)', "TooLarge", "2,0"),
        ('[await ctx.emit("b", {"n": n}) for n in range(10_000)]', "TooManyEffects", "1,000 effects"),
        ('ctx.secrets["NOPE"]', "KeyError", "not a secret of this app"),
        ("ctx.streams.nope", "KeyError", "no stream 'nope'"),
        ("raise SystemExit(3)", "HandlerExited", "sys.exit(3)"),
    ],
)
async def test_what_is_refused_fails_the_run_and_leaves_nothing(make_app, line, error, words):
    work = f"""
    async def handler(data, ctx):
        await ctx.emit("b", {{"n": 0}})
        await ctx.state.free.set("k", 1)
        {line}
    """
    found = await _failure(make_app, work)
    assert found.type == error
    assert words in found.message


async def test_flush_commits_early_and_a_repeated_run_repeats_nothing(make_app):
    work = """
    async def handler(data, ctx):
        await ctx.emit("b", {"n": 1})
        await ctx.state.free.set("k", (await ctx.state.free.get("k") or 0) + 1)
        await ctx.flush()
        if ctx.attempt < 3:
            raise RuntimeError("later")
        await ctx.emit("b", {"n": 2})
    """
    spec = SPEC.replace("attempts: 1", "attempts: 3, delay: 1s")
    async with make_app(spec, work=work) as app:
        await app.emit("a", None)
        await app.advance(60)
        assert await app.events("b") == [{"n": 1}, {"n": 2}]
        assert await app.state.get("free", "k") == 1


async def test_a_redelivered_event_doubles_nothing(make_app):
    """The broker hands the same record out again, as after a crash between commit and ack."""
    work = """
    async def handler(data, ctx):
        await ctx.emit("b", {"n": 1})
        await ctx.state.free.update("k", lambda old: (old or 0) + 1)
    """
    async with make_app(SPEC, work=work) as app:
        await app.emit("a", None)
        await app.settle()
        [record] = await app._log.scan("ev.a", limit=1)
        worker = app._version.engine._workers[-1]

        class Again:
            delivered = 2
            ended = None

            def __init__(self):
                self.record = record

            def ack(self):
                self.ended = "ack"

            def nak(self, delay):
                self.ended = "nak"

            def term(self, reason):
                self.ended = "term"

            def touch(self): ...

        again = Again()
        worker._deliver(again)
        await app.settle()
        assert again.ended == "ack"
        assert await app.events("b") == [{"n": 1}]
        assert await app.state.get("free", "k") == 1
