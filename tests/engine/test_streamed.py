"""Streamed answers through the engine: when their effects come true, what a failure leaves, and what the record says."""

from __future__ import annotations

import asyncio
import sys

import pytest

from motia_runtime.bind import HandlerError
from motia_runtime.cancels import Target, cancel
from motia_runtime.handler import ServerSentEvent
from motia_runtime.http.streamed import encode_event
from motia_runtime.ports import LogUnavailable

SPEC = """
name: t
topics: {a: {external: out}}
state: {seen: {}}
steps:
  Call:
    type: api
    method: [GET, HEAD]
    path: /call
    timeout: 400ms
    emits: [a]
    middleware: [MIDDLEWARE]
  Typed:
    type: api
    method: GET
    path: /typed
    responses: {200: {type: object, required: [n], properties: {n: {type: integer}}}}
  Other: {type: api, method: POST, path: /other}
"""
HEAD = """
import asyncio
import time
from motia_runtime.handler import Problem, Response, ServerSentEvent as Event
"""
EFFECTS = ('await ctx.emit("a", 1)', 'await ctx.state.seen.set("k", 1)')
OTHER = "async def handler(request, ctx):\n    await ctx.state.seen.set('k', 'other')\n"


def handler(*lines: str, word: str = "async def") -> str:
    return HEAD + f"\n{word} handler(request, ctx):\n" + "\n".join("    " + line for line in lines) + "\n"


def make(make_app, *lines: str, middleware: str = "", typed: str = "yield 'x'", word: str = "async def", **more: str):
    spec = SPEC.replace("middleware: [MIDDLEWARE]", "middleware: [steps/around.py]" if middleware else "")
    files = {"around": middleware} if middleware else {}
    return make_app(spec, call=handler(*lines, word=word), typed=handler(typed), other=OTHER, **files, **more)


async def nothing_happened(app) -> bool:
    return await app.events("a") == [] and await app.state.items("seen") == {}


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ((*EFFECTS, "yield 'one '", "await asyncio.sleep(0)", "yield b'two'"), "async def"),
        (("ctx.emit('a', 1)", "ctx.state.seen.set('k', 1)", "yield 'one '", "yield b'two'"), "def"),
        (("async def pieces():", *("    " + e for e in EFFECTS), "    yield 'one '", "    yield b'two'", "return Response(pieces())"), "async def"),
        (("def pieces():", "    ctx.emit('a', 1)", "    ctx.state.seen.set('k', 1)", "    yield 'one '", "    yield b'two'", "return pieces()"), "def"),
    ],
)  # fmt: skip
async def test_a_complete_answer_means_that_its_effects_are_stored(make_app, lines, word):
    async with make(make_app, *lines, word=word) as app:
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.text, answer.complete) == (200, "one two", True)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert await app.events("a") == [1]
        assert await app.state.items("seen") == {"k": 1}
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert (run.outcome, run.status, run.streamed) == ("ok", 200, len("one two"))


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        ("raise RuntimeError('secret')", "failed", "RuntimeError"),
        ("raise Problem(409, 'too late')", "ok", None),
        ("raise SystemExit(1)", "failed", "HandlerExited"),
        ("await asyncio.sleep(60)", "failed", "HandlerTimeout"),
        ("yield {'a': 1}; yield object()", "failed", "TypeError"),
        ("yield Event('x')", "failed", "TypeError"),
        ("yield Response(status=500)", "failed", "ValueError"),
        ("yield '\\ud800'", "failed", "UnicodeEncodeError"),
        ("await ctx.emit('b', 1)", "failed", "InvalidTopic"),
    ],
)
async def test_what_fails_after_its_first_piece_breaks_off_and_changes_nothing(make_app, line, outcome, error):
    async with make(make_app, *EFFECTS, "yield 'begun'", line) as app:
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.text, answer.complete) == (200, "begun", False)
        assert await nothing_happened(app)
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert (run.outcome, run.status, run.streamed) == (outcome, 200, len("begun"))
        assert (run.error and run.error.type) == error


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("raise RuntimeError('secret')", 500),
        ("raise Problem(404, 'no such thing')", 404),
        ("await asyncio.sleep(60)", 504),
        ("yield {'a': 1}", 500),
        ("yield Response('with a body')", 500),
        ("yield Response(status=204)", 500),
        ("yield Response(headers={'a b': '1'})", 500),
    ],
)
async def test_what_fails_before_its_first_piece_is_answered_as_ever(make_app, line, status):
    async with make(make_app, *EFFECTS, line, "yield 'never'") as app:
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.complete) == (status, True)
        assert answer.headers["content-type"] == "application/problem+json"
        assert await nothing_happened(app)
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert (run.streamed, run.status if status < 500 else None) == (None, status if status < 500 else None)


async def test_a_handler_that_catches_its_end_does_not_go_on(make_app):
    stubborn = (
        "n = 0",
        "while True:",
        "    try:",
        "        n += 1",
        "        yield f'{n}'",
        "        await asyncio.sleep(60)",
    )
    async with make(make_app, *EFFECTS, *stubborn, "    except asyncio.CancelledError:", "        pass") as app:
        answer = await app.request("GET", "/call")
        assert (answer.complete, answer.text[:1]) == (False, "1")
        assert await nothing_happened(app)
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert run.error.type == "HandlerTimeout"


async def test_a_plain_generator_is_interrupted_at_its_timeout(make_app):
    lines = ("ctx.emit('a', 1)", "yield 'begun'", "while True:", "    time.sleep(0.01)")
    async with make(make_app, *lines, word="def") as app:
        answer = await app.request("GET", "/call")
        assert (answer.text, answer.complete) == ("begun", False)
        assert await nothing_happened(app)


async def test_what_was_flushed_stays(make_app):
    async with make(make_app, EFFECTS[0], "await ctx.flush()", "yield 'a'", EFFECTS[1], "raise RuntimeError") as app:
        answer = await app.request("GET", "/call")
        assert not answer.complete
        assert await app.events("a") == [1]
        assert await app.state.items("seen") == {}


async def test_a_broker_that_is_away_at_the_end_leaves_no_end(make_app, monkeypatch):
    async with make(make_app, *EFFECTS, "yield 'all'") as app:

        async def away(*args, **kwargs):
            raise LogUnavailable("no connection")

        monkeypatch.setattr(app._log, "append", away)
        monkeypatch.setattr(app._log, "append_all", away)
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.text, answer.complete) == (200, "all", False)


def gates(app) -> tuple[asyncio.Event, asyncio.Event]:
    """Events in the handler's module: set when it has come to its gate; to be set for it to go on."""
    module = sys.modules["steps.call"]
    module.there, module.go = asyncio.Event(), asyncio.Event()
    return module.there, module.go


@pytest.mark.parametrize(
    ("first", "flush", "whole"), [("pass", "await ctx.flush()", True), ("yield 'before '", "pass", False)]
)
async def test_a_conflict_begins_again_only_before_the_first_piece(make_app, first, flush, whole):
    lines = (
        "found = await ctx.state.seen.get('k')",
        first,
        "there.set()",
        "await go.wait()",
        "await ctx.state.seen.set('k', [found])",
        flush,
        "yield 'after'",
    )
    async with make(make_app, *lines) as app:
        there, go = gates(app)
        asked = asyncio.create_task(app.request("GET", "/call"))
        await there.wait()
        await app.request("POST", "/other")
        go.set()
        answer = await asked
        assert answer.complete is whole
        assert answer.text == ("after" if whole else "before after")
        assert await app.state.items("seen") == {"k": ["other"] if whole else "other"}


async def test_an_engine_that_stops_waits_for_no_stream_without_an_end(make_app):
    lines = ("there.set()", "while True:", "    yield 'x'", "    await asyncio.sleep(0.01)")
    async with make(make_app, *EFFECTS, *lines) as app:
        there, _ = gates(app)
        asked = asyncio.create_task(app.request("GET", "/call"))
        await there.wait()
        await app._version.engine.stop(grace=60, streams=0.0)
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await nothing_happened(app)


async def test_a_cancelled_one_breaks_off(make_app):
    async with make(make_app, *EFFECTS, "yield ctx.trace_id", "there.set()", "await go.wait()") as app:
        there, _ = gates(app)
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        asked = asyncio.create_task(app.request("GET", "/call", headers=headers))
        await there.wait()
        await cancel(app._log, Target(trace, "Call"), app.clock.time())
        answer = await asked
        assert (answer.text, answer.complete) == (trace, False)
        assert await nothing_happened(app)
        [run] = await app.runs(trace)
        assert run.outcome == "cancelled"


@pytest.mark.parametrize(
    ("first", "status", "headers"),
    [
        ("yield b'x'", 200, {"content-type": "application/octet-stream"}),
        ("yield Event('x')", 200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}),
        ("yield Response(status=202, headers={'x-a': '1'}); yield 'x'", 202, {"content-type": "text/plain; charset=utf-8", "x-a": "1"}),
        ("yield Response(headers={'Content-Type': 'text/csv', 'Content-Length': '7'}); yield 'x'", 200, {"content-type": "text/csv"}),
        ("yield Response(headers={'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store'}); yield Event('x')", 200, {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}),
        ("yield Response(headers={'Content-Type': 'text/csv'})", 200, {"content-type": "text/csv"}),
        ("yield Response(status=202, headers={'x-a': '1'})", 202, {"x-a": "1"}),
        ("if 0: yield 1", 204, {}),
    ],
)  # fmt: skip
async def test_status_and_headers(make_app, first, status, headers):
    async with make(make_app, first) as app:
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.complete) == (status, True)
        answer.headers.pop("x-trace-id")
        assert answer.headers == headers


async def test_middleware_gets_the_generator_and_may_answer_around_it(make_app):
    around = (
        "from motia_runtime.handler import Response\n"
        "async def handler(request, ctx, next):\n"
        "    inner = await next(request)\n"
        "    async def louder():\n"
        "        async for piece in inner:\n"
        "            yield piece.upper()\n"
        "    return Response(louder(), 203, {'x-around': '1', 'content-type': 'text/loud'})\n"
    )
    async with make(make_app, *EFFECTS, "yield 'one '", "yield 'two'", middleware=around) as app:
        answer = await app.request("GET", "/call")
        assert (answer.status, answer.text) == (203, "ONE TWO")
        assert (answer.headers["x-around"], answer.headers["content-type"]) == ("1", "text/loud")
        assert await app.events("a") == [1]


async def test_the_schema_of_the_status_judges_the_data_of_events(make_app):
    async with make(make_app, "yield 'x'", typed="yield Event({'n': 1}); yield Event({'n': 'x'})") as app:
        answer = await app.request("GET", "/typed")
        assert (answer.text, answer.complete) == ('data: {"n":1}\n\n', False)
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert run.error.type == "ValidationFailed"


async def test_head_gets_the_head_and_runs_no_further(make_app):
    async with make(make_app, *EFFECTS, "yield 'one'", "raise RuntimeError") as app:
        answer = await app.request("HEAD", "/call")
        assert (answer.status, answer.body, answer.complete) == (200, b"", True)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert await nothing_happened(app)
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert run.outcome == "gone"


@pytest.mark.parametrize(
    ("spec", "source", "words"),
    [
        ("type: api, method: GET, path: /a, idempotency: {window: 1h}", "async def handler(r, c):\n    yield 1\n", "without `idempotency`"),
        ("type: event, subscribes: [a]", "async def handler(d, c):\n    yield 1\n", "is a generator"),
        ("type: cron, cron: '@daily'", "def handler(c):\n    yield 1\n", "is a generator"),
    ],
)  # fmt: skip
async def test_only_api_steps_stream(make_app, spec, source, words, monkeypatch):
    monkeypatch.setattr("motia_runtime.testing.compile_project", without_handlers)
    with pytest.raises(HandlerError, match=words):
        async with make_app(f"name: t\ntopics: {{a: {{external: in}}}}\nsteps:\n  S: {{{spec}}}\n", s=source):
            pass


def without_handlers(*args, **kwargs):
    """The spec's own check finds these as well; here the runtime has to."""
    from motia_spec import compile_project

    return compile_project(*args, **kwargs, handlers=False)


async def test_with_idempotency_nothing_streams(make_app):
    spec = "name: t\nstate: {seen: {}}\nsteps:\n  S: {type: api, method: POST, path: /s, idempotency: {window: 1h}}\n"
    lines = ("await ctx.state.seen.set('k', 1)", "return Response(c async for c in request.none())")
    async with make_app(
        spec, s=handler(*lines).replace("c async for c in request.none()", "(c for c in 'abc')")
    ) as app:
        for headers in ({}, {"Idempotency-Key": "k"}):
            answer = await app.request("POST", "/s", headers=headers)
            assert answer.status == 500
            [run] = await app.runs(answer.headers["x-trace-id"])
            assert "it has `idempotency`" in run.error.message
        assert await app.state.items("seen") == {}


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (ServerSentEvent("a"), "data: a\n\n"),
        (ServerSentEvent(""), "data: \n\n"),
        (ServerSentEvent("a\nb\r\nc\rd\u2028e"), "data: a\ndata: b\ndata: c\ndata: d\u2028e\n\n"),
        (ServerSentEvent({"b": [1, "ü"]}), 'data: {"b":[1,"ü"]}\n\n'),
        (ServerSentEvent(0, event="tick", id="7", retry=1.5), "event: tick\nid: 7\nretry: 1500\ndata: 0\n\n"),
        (ServerSentEvent(comment="still\nhere"), ": still\n: here\n\n"),
        (ServerSentEvent("event: a"), "data: event: a\n\n"),
    ],
)
def test_the_lines_of_an_event(event, lines):
    assert encode_event(event).decode() == lines


@pytest.mark.parametrize("wrong", [{"event": "a\nb"}, {"id": "a\rb"}, {"id": "a\0"}, {"event": 1}, {"retry": -1}])
def test_an_event_that_lines_cannot_hold(wrong):
    with pytest.raises(ValueError, match="ServerSentEvent"):
        ServerSentEvent("x", **wrong)
