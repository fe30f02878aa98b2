"""Idempotency keys: the same key gets the first answer, and its effects come true once, whatever goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.commit import Commits
from motia_runtime.controls import idempotency
from motia_runtime.ports import LogUnavailable

SPEC = """
name: t
topics: {paid: {external: out}}
state: {orders: {}}
steps:
  Pay:
    type: api
    method: [POST, PUT]
    path: /pay/{id}
    timeout: 5s
    emits: [paid]
    body: {type: object, required: [n], properties: {n: {type: integer}}}
    idempotency: {window: 1h}
"""
COUNTS = """
import asyncio
from motia_runtime.handler import Problem, Response

runs = 0
go = None

async def handler(request, ctx):
    global runs
    runs += 1
    if go is not None:
        await go.wait()
    await ctx.emit("paid", {"run": runs})
    await ctx.state.orders.update("count", lambda n: (n or 0) + 1)
    return Response({"run": runs, "key": ctx.idempotency_key}, 201, {"x-run": str(runs)})
"""


def module():
    import sys

    return sys.modules["steps.pay"]


def post(app, key="k1", n=1, path="/pay/7", method="POST"):
    headers = {} if key is None else {"Idempotency-Key": key}
    return app.request(method, path, json={"n": n}, headers=headers)


async def counts(app) -> tuple[int, int]:
    return len(await app.events("paid")), (await app.state.get("orders", "count") or 0)


async def test_the_same_key_gets_the_first_answer(make_app):
    async with make_app(SPEC, pay=COUNTS) as app:
        first, again = await post(app), await post(app)
        assert (first.status, first.headers["x-run"]) == (201, "1")
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers == {**first.headers, "idempotency-replayed": "true"}
        assert await counts(app) == (1, 1)
        assert [run.step for run in await app.runs(again.headers["x-trace-id"])] == ["Pay"]
        assert (await post(app, "k2")).json()["run"] == 2
        assert "idempotency-replayed" not in (await post(app, None)).headers
        assert "idempotency-replayed" not in (await post(app, None)).headers
        assert await counts(app) == (4, 4)


async def test_requests_at_once_run_once(make_app):
    async with make_app(SPEC, pay=COUNTS) as app:
        module().go = asyncio.Event()
        calls = [asyncio.create_task(post(app)) for _ in range(5)]
        await asyncio.sleep(0.01)
        other = await post(app, n=2)
        assert (other.status, other.headers["retry-after"]) == (409, "1"), (
            "another body, while the first is in progress"
        )
        module().go.set()
        answers = await asyncio.gather(*calls)
        assert {(a.status, a.body) for a in answers} == {(201, answers[0].body)}
        assert sorted("idempotency-replayed" in a.headers for a in answers) == [False, True, True, True, True]
        assert (module().runs, await counts(app)) == (1, (1, 1))


@pytest.mark.parametrize("change", [{"n": 2}, {"path": "/pay/8"}, {"path": "/pay/7?a=1"}, {"method": "PUT"}])
async def test_a_key_is_for_one_request(make_app, change):
    async with make_app(SPEC, pay=COUNTS) as app:
        await post(app)
        answer = await post(app, **change)
        assert answer.status == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert await counts(app) == (1, 1)


@pytest.mark.parametrize(
    ("key", "status"), [("x" * 255, 201), ("x" * 256, 400), ("", 400), ("a b", 400), ("ä", 400), ('"q"', 201)]
)
async def test_what_a_key_may_be(make_app, key, status):
    async with make_app(SPEC, pay=COUNTS) as app:
        assert (await post(app, key)).status == status


async def test_a_request_that_does_not_fit_is_not_kept(make_app):
    async with make_app(SPEC, pay=COUNTS) as app:
        assert (await app.request("POST", "/pay/7", json={}, headers={"idempotency-key": "k"})).status == 400
        assert (await post(app, "k")).status == 201


async def test_answers_end_with_their_window(make_app):
    async with make_app(SPEC, pay=COUNTS) as app:
        await post(app)
        await app.advance(3590)
        assert "idempotency-replayed" in (await post(app)).headers
        await app.advance(11)
        assert (await post(app)).json()["run"] == 2
        assert await counts(app) == (2, 2)


@pytest.mark.parametrize("line", ["raise Problem(404, 'gone')", "return Response({'no': 1}, 409)", "return None"])
async def test_an_answer_without_effects_is_kept_as_well(make_app, line):
    effect = "await ctx.emit('paid', 1); " if line.startswith("raise") else ""
    source = f"from motia_runtime.handler import Problem, Response\nruns = 0\nasync def handler(request, ctx):\n    global runs\n    runs += 1\n    {effect}{line}\n"
    async with make_app(SPEC, pay=source) as app:
        first, again = await post(app), await post(app)
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert (module().runs, await app.events("paid")) == (1, [])


@pytest.mark.parametrize(
    "line",
    [
        "raise RuntimeError('x')",
        "raise Problem(503, 'later')",
        "return Response(None, 502)",
        "raise Problem(99, 'no')",
        "raise SystemExit(1)",
    ],
)
async def test_a_failure_is_not_kept(make_app, line):
    source = COUNTS.replace(
        "    if go", f"    if runs == 1:\n        await ctx.state.orders.get('count')\n        {line}\n    if go"
    )
    async with make_app(SPEC, pay=source) as app:
        assert (await post(app)).status >= 500
        answer = await post(app, n=2)
        assert (answer.status, answer.json()["run"]) == (201, 2)
        assert (await post(app, n=2)).body == answer.body
        assert await counts(app) == (1, 1)


async def test_a_key_of_a_failed_request_serves_both_a_retry_and_the_outside(make_app):
    source = COUNTS.replace(
        "    if go", "    keys.append(ctx.idempotency_key)\n    if runs == 1:\n        raise RuntimeError\n    if go"
    ).replace("go = None", "go = None\nkeys = []")
    async with make_app(SPEC, pay=source) as app:
        await post(app)
        await post(app)
        assert len(module().keys) == 2
        assert len(set(module().keys)) == 1, "the same request again"
        await post(app, "k2")
        assert len(set(module().keys)) == 2


async def test_an_answer_that_failed_after_its_effects_is_kept(make_app):
    source = COUNTS.replace(", 201, {", ", 500, {")
    async with make_app(SPEC, pay=source) as app:
        first, again = await post(app), await post(app)
        assert (first.status, again.status, again.body) == (500, 500, first.body)
        assert await counts(app) == (1, 1)


async def test_early_commits_of_a_failed_request_are_not_made_again(make_app):
    source = COUNTS.replace(
        "    if go",
        "    await ctx.emit('paid', 'early')\n    await ctx.flush()\n    if runs == 1:\n        raise RuntimeError\n    if go",
    )
    async with make_app(SPEC, pay=source) as app:
        assert (await post(app)).status == 500
        assert (await post(app)).status == 201
        assert await app.events("paid") == ["early", {"run": 2}]


async def test_a_conflict_runs_again_and_counts_once(make_app):
    async with make_app(SPEC, pay=COUNTS) as app:
        answers = await asyncio.gather(*(post(app, f"k{n}") for n in range(10)))
        assert {a.status for a in answers} == {201}
        again = await asyncio.gather(*(post(app, f"k{n}") for n in range(10)))
        assert [a.body for a in again] == [a.body for a in answers]
        assert await counts(app) == (10, 10)


async def test_a_broker_that_went_away_in_mid_commit_leaves_a_plan_that_the_next_request_completes(
    make_app, monkeypatch
):
    async with make_app(SPEC, pay=COUNTS) as app:
        write = Commits._write

        async def away(self, planned):
            raise LogUnavailable("gone")

        monkeypatch.setattr(Commits, "_write", away)
        assert (await post(app)).status == 503
        monkeypatch.setattr(Commits, "_write", write)
        await asyncio.gather(*app._version.engine._once._lapsing)
        assert (await post(app, n=2)).status == 422, "what came of the first is not known to a stranger"
        answer = await post(app)
        assert (answer.status, answer.json()["run"], answer.headers["idempotency-replayed"]) == (201, 1, "true")
        assert (module().runs, await counts(app)) == (1, (1, 1))


async def test_a_long_run_keeps_its_claim(make_app, monkeypatch):
    async with make_app(SPEC.replace("timeout: 5s", "timeout: 60s"), pay=COUNTS) as app:
        module().go = asyncio.Event()
        call = asyncio.create_task(post(app))
        await asyncio.sleep(0.01)
        for _ in range(12):
            await app.clock.advance(idempotency.LEASE / 3)
        [record] = await app._log.lasts("rt.=i.>")
        assert idempotency._decode(record.data).until > app.clock.time()
        module().go.set()
        assert (await call).status == 201
        assert await counts(app) == (1, 1)


async def test_waiting_ends_with_the_timeout(make_app):
    async with make_app(
        SPEC.replace("timeout: 5s", "timeout: 300ms"),
        pay=COUNTS.replace("await go.wait()", "await asyncio.sleep(0.25)"),
    ) as app:
        module().go = True
        held = asyncio.create_task(post(app))
        await asyncio.sleep(0.1)
        step = app._version.project.steps["Pay"]
        once = app._version.engine.runners["Pay"]
        other = idempotency.Once(once._calls, app._version.engine._runs.services)  # as another engine
        monitor = asyncio.get_running_loop().time()
        from motia_runtime.handler import Request
        from motia_runtime.http.problems import Refused
        from motia_runtime.trace import new_trace

        [claim] = once._held.values()
        claim_until = idempotency._decode((await app._log.last(claim.subject)).data)
        assert claim_until.owner == claim.owner
        request = Request({"n": 1}, {"id": "7"}, {}, {"idempotency-key": "k1"}, b'{"n":1}', "POST", "/pay/7")
        answer = await other.run_api(step, request, new_trace(), lambda result: result)
        assert (answer.status, answer.headers[-1]) == (201, (b"idempotency-replayed", b"true"))
        assert (await held).status == 201
        assert asyncio.get_running_loop().time() - monitor < 1
        claimed = idempotency.Pending("n", "o", idempotency.fingerprint(request), app.clock.time() + 1000)
        await app._log.append("rt.=i.Pay.k9", idempotency._encode(claimed), headers={"Motia-Claim": "n"}, expect=0)
        request.headers = {"idempotency-key": "k9"}
        with pytest.raises(Refused) as refused:
            await other.run_api(step, request, new_trace(), lambda result: result)
        assert refused.value.status == 409
