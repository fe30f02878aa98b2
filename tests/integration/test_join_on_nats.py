"""`join` on a real nats-server: two engines, one of which is killed; a deadline over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from support.process import look, motia, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: joins
topics: {paid: {}, packed: {}, early: {}, never: {external: in}}
state: {sent: {}, late: {}}
steps:
  Put: {type: api, method: POST, path: /, emits: [paid, packed, early]}
  Ship: {type: event, subscribes: [paid, packed], join: {by: data.id}, uses: {state: [sent]}}
  Late: {type: event, subscribes: [early, never], join: {by: data.id, timeout: 3s}, uses: {state: [late]}}
"""
PUT = """
async def handler(request, ctx):
    for topic, key in request.body:
        await ctx.emit(topic, {"id": key, "topic": topic})
"""
SHIP = """
async def handler(events, ctx):
    assert {topic: event["topic"] for topic, event in events.items()} == {"paid": "paid", "packed": "packed"}
    await ctx.state.sent.update(events["paid"]["id"], lambda n: (n or 0) + 1)
"""
LATE = """
async def handler(events, ctx):
    await ctx.state.late.set(events["early"]["id"], sorted(events))
"""


def _app(tmp_path: Path, name: str) -> Path:
    return write_project(tmp_path, SPEC.replace("name: joins", f"name: {name}"), put=PUT, ship=SHIP, late=LATE)


def _state(folder: Path, env: dict[str, str], group: str) -> dict[str, Any]:
    found: dict[str, Any] = look(folder, "state", "ls", group, env=env)
    return found


def test_each_pair_is_joined_once_though_an_engine_is_killed(tmp_path: Path, nats_server) -> None:
    folder = _app(tmp_path, "pairs")
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    keys = [f"k{number}" for number in range(200)]
    with running_app(folder, env=env) as one:
        with running_app(folder, env=env) as two:
            assert httpx.post(one.url, json=[["paid", key] for key in keys[:100]]).status_code == 204
            assert httpx.post(two.url, json=[["packed", key] for key in keys]).status_code == 204
            assert httpx.post(one.url, json=[["paid", key] for key in keys[100:]]).status_code == 204
            two.kill()
        wait_for(lambda: len(_state(folder, env, "sent")) == len(keys), "a pair was not joined", 40)
        assert _state(folder, env, "sent") == dict.fromkeys(keys, 1)
        assert look(folder, "dlq", "ls", env=env) == []


def test_a_deadline_outlives_the_engine_and_its_letter_can_be_redriven(tmp_path: Path, nats_server) -> None:
    folder = _app(tmp_path, "late")
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def letters() -> list[Any]:
        found: list[Any] = look(folder, "dlq", "ls", env=env)
        return found

    with running_app(folder, env=env) as app:
        assert httpx.post(app.url, json=[["early", "a"], ["early", "b"]]).status_code == 204
        motia(folder, "emit", "never", '{"id": "b"}', env=env)
        wait_for(lambda: _state(folder, env, "late") == {"b": ["early", "never"]}, "the pair was not joined")
        app.kill()
    with running_app(folder, env=env):
        wait_for(lambda: len(letters()) == 1, "there is no dead letter")
        [letter] = letters()
        assert letter["error"]["type"] == "JoinTimeout"
        assert letter["data"] == {"early": {"id": "a", "topic": "early"}}
        motia(folder, "dlq", "redrive", str(letter["id"]), env=env)
        motia(folder, "emit", "never", '{"id": "a"}', env=env)
        wait_for(lambda: "a" in _state(folder, env, "late"), "the redriven set was not joined")
        assert letters() == []
