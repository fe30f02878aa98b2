"""Api steps through the engine: what an answer promises, and what middleware can do."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.ports import LogUnavailable

SPEC = """
name: t
topics: {a: {external: out, schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
state: {seen: {}}
steps:
  Call:
    type: api
    method: [GET, POST]
    path: /call/{id}
    timeout: 300ms
    emits: [a]
    responses:
      200: {type: object, required: [ok], properties: {ok: {type: boolean}}}
      201: {type: object}
"""


def handler(*lines: str) -> str:
    body = "\n".join("    " + line for line in lines)
    return f"from motia_runtime.handler import Problem, Response\nimport asyncio\n\nasync def handler(request, ctx):\n{body}\n"


EFFECTS = ('await ctx.emit("a", {"n": 1})', "await ctx.state.seen.set(request.path_params['id'], 1)")


async def test_an_answer_comes_after_its_effects(make_app):
    async with make_app(SPEC, call=handler(*EFFECTS, "return {'ok': True}")) as app:
        answer = await app.request("GET", "/call/7")
        assert (answer.status, answer.json()) == (200, {"ok": True})
        assert await app.events("a") == [{"n": 1}]
        assert await app.state.items("seen") == {"7": 1}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("raise RuntimeError('secret detail')", 500),
        ("raise Problem(404, 'no such thing')", 404),
        ("return {'ok': 'no boolean'}", 500),
        ("return Response(object(), 201)", 500),
        ("await asyncio.sleep(60)", 504),
        ("await ctx.emit('a', {'n': 'x'})", 500),
        ("raise SystemExit(1)", 500),
    ],
)
async def test_a_call_that_fails_changes_nothing_and_tells_nothing_it_should_not(make_app, line, status):
    async with make_app(SPEC, call=handler(*EFFECTS, line)) as app:
        answer = await app.request("POST", "/call/7")
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert await app.events("a") == []
        assert await app.state.items("seen") == {}
        trace = answer.headers["x-trace-id"]
        [run] = await app.runs(trace)
        if status >= 500:
            assert "secret detail" not in answer.text
            assert answer.json()["traceId"] == trace
            assert run.outcome == "failed"


async def test_when_the_broker_is_away_the_answer_says_try_again(make_app, monkeypatch):
    async with make_app(SPEC, call=handler(*EFFECTS, "return {'ok': True}")) as app:

        async def away(*args, **kwargs):
            raise LogUnavailable("no connection")

        monkeypatch.setattr(app._log, "append", away)
        answer = await app.request("POST", "/call/7")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1


MIDDLEWARE = """
async def outer(request, ctx, next):
    if request.headers.get("x-deny"):
        return {"status": 403, "body": {"denied": True}}
    answer = await next(request)
    return {"status": 201, "headers": {"x-outer": "1"}, "body": {"inner": answer}}

async def inner(request, ctx, next):
    await ctx.state.seen.set("inner", 1)
    return await next()
"""


async def test_middleware_goes_around_the_handler_and_may_answer_early(make_app):
    spec = (
        SPEC.replace("timeout: 300ms", "middleware: [steps/middleware.py:inner]")
        + "defaults: {api: {middleware: [steps/middleware.py:outer]}}\n"
    )
    plain = "def handler(request, ctx):\n    ctx.state.seen.set('handler', 1)\n    return {'ok': True}\n"
    async with make_app(spec, call=plain, middleware=MIDDLEWARE) as app:
        answer = await app.request("GET", "/call/7")
        assert (answer.status, answer.headers["x-outer"]) == (201, "1")
        assert answer.json() == {"inner": {"ok": True}}
        assert await app.state.items("seen") == {"handler": 1, "inner": 1}
        denied = await app.request("GET", "/call/7", headers={"x-deny": "1"})
        assert (denied.status, denied.json()) == (403, {"denied": True})


async def test_concurrent_calls_do_not_wait_for_each_other(make_app):
    slow = handler("await asyncio.sleep(0.1)", "return {'ok': True}")
    async with make_app(SPEC, call=slow) as app, asyncio.timeout(2):
        answers = await asyncio.gather(*(app.request("GET", f"/call/{n}") for n in range(50)))
        assert {a.status for a in answers} == {200}
