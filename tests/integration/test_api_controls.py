"""`idempotency` and `rateLimit` over real instances on one real broker: at once, killed in mid-commit, restarted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from support.process import look, running_app, write_project

SPEC = """
name: once
topics: {paid: {}}
state: {orders: {}, seen: {}}
steps:
  Pay:
    type: api
    method: POST
    path: /pay
    emits: [paid]
    uses: {state: [orders]}
    idempotency: {window: 1h}
  See: {type: event, subscribes: [paid]}
  Ask: {type: api, method: GET, path: /ask, rateLimit: {limit: 40, per: 1d, key: global}}
"""
PAY = """
import os
import signal
from pathlib import Path

from motia_runtime.commit import Commits

if os.environ.get("DIE_BEFORE"):
    async def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Commits, os.environ["DIE_BEFORE"], die)


async def handler(request, ctx):
    key = request.headers["idempotency-key"]
    await ctx.state.orders.update(key, lambda n: (n or 0) + 1)
    await ctx.emit("paid", key)
    return {"status": 201, "body": {"id": ctx.new_id(), "pid": os.getpid()}, "headers": {"x-mark": ctx.new_id()}}
"""
SEE = """
async def handler(data, ctx):
    await ctx.state.seen.update(data, lambda n: (n or 0) + 1)
"""
ASK = """
async def handler(request, ctx):
    return "yes"
"""


def project(folder: Path) -> Path:
    return write_project(folder, SPEC, pay=PAY, see=SEE, ask=ASK)


def pay(url: str, key: str, amount: int = 1) -> httpx.Response:
    return httpx.post(url + "/pay", json={"amount": amount}, headers={"Idempotency-Key": key}, timeout=40)


def state(folder: Path, env: dict[str, str], group: str) -> dict[str, int]:
    found: dict[str, int] = look(folder, "state", "ls", group, env=env)
    return found


def test_equal_requests_to_two_instances_count_once(tmp_path, nats_server):
    folder = project(tmp_path)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    keys = [f"key-{n}" for n in range(20)]
    told: dict[str, set[tuple[int, bytes, str]]] = {key: set() for key in keys}
    ran = Counter[int]()
    with running_app(folder, env=env) as one, running_app(folder, env=env) as two, ThreadPoolExecutor(10) as pool:
        for key in keys:
            answers = list(pool.map(lambda n, key=key: pay((one, two)[n % 2].url, key), range(5)))
            told[key] |= {(a.status_code, a.content, a.headers["x-mark"]) for a in answers}
            assert sorted(a.headers.get("idempotency-replayed", "") for a in answers) == ["", *["true"] * 4]
            assert len({a.headers["x-trace-id"] for a in answers}) == 1
            ran[answers[0].json()["pid"]] += 1
        assert pay(two.url, keys[0], amount=2).status_code == 422
        one.kill()
        assert (pay(two.url, keys[0]).content in {body for _, body, _ in told[keys[0]]}) is True
    assert len(ran) == 2, "one of the two did everything"
    with running_app(folder, env=env) as again:
        for key in keys:
            answer = pay(again.url, key)
            told[key].add((answer.status_code, answer.content, answer.headers["x-mark"]))
    assert {len(answers) for answers in told.values()} == {1}
    assert state(folder, env, "orders") == dict.fromkeys(keys, 1)
    assert state(folder, env, "seen") == dict.fromkeys(keys, 1)


def test_an_instance_that_is_killed_between_plan_and_answer_is_finished_by_the_next(tmp_path, nats_server):
    for hook in ("_write", "_mark", "_emit"):
        folder = project(tmp_path / hook)
        env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
        (folder / "motia.yaml").write_text(SPEC + f"nats: {{prefix: kill{hook}}}\n")
        with running_app(folder, env=env) as good:
            with running_app(folder, env={**env, "DIE_BEFORE": hook}) as bad, ThreadPoolExecutor(2) as pool:
                first = pool.submit(pay, bad.url, "k")
                assert bad.process.wait(10) == -9
                assert isinstance(first.exception(), httpx.TransportError)
                answer = pay(good.url, "k")
                assert answer.status_code == 201
                assert answer.headers["idempotency-replayed"] == "true", "it is the plan's answer"
                assert answer.json()["pid"] == bad.process.pid
            assert pay(good.url, "k").content == answer.content
            assert state(folder, env, "orders") == {"k": 1}
            if hook != "_emit":  # else the answer was there first, and the emit comes when its engine is found gone
                assert state(folder, env, "seen") == {"k": 1}


def test_answers_outlive_app_and_broker(tmp_path):
    folder = project(tmp_path)
    with running_app(folder) as app:
        first = pay(app.url, "k")
        assert app.stop() == 0
    with running_app(folder) as app:
        again = pay(app.url, "k")
        assert (again.status_code, again.content, again.headers["x-mark"]) == (
            201,
            first.content,
            first.headers["x-mark"],
        )
        assert state(folder, {}, "orders") == {"k": 1}
        app.kill()
    with running_app(folder) as app:
        assert pay(app.url, "k").content == first.content


def test_a_limit_holds_over_two_instances(tmp_path, nats_server):
    folder = project(tmp_path)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    (folder / "motia.yaml").write_text(SPEC + "nats: {prefix: limits}\n")
    with (
        running_app(folder, env=env) as one,
        running_app(folder, env=env) as two,
        ThreadPoolExecutor(8) as pool,
        httpx.Client() as client,
    ):
        answers = list(pool.map(lambda n: client.get((one, two)[n % 2].url + "/ask"), range(100)))
        allowed = sum(a.status_code == 200 for a in answers)
        assert allowed == 40, "the limit is so low that nobody takes more than it needs"
        refused = next(a for a in answers if a.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 86400
        assert refused.headers["ratelimit-policy"] == '"default";q=40;w=86400'
        one.kill()
        assert client.get(two.url + "/ask").status_code == 429
    with running_app(folder, env=env) as again:
        assert httpx.get(again.url + "/ask").status_code == 429
