"""Controls that drop events, on a real nats-server with two engines: `dedupe`, `debounce`, `condition`."""

from __future__ import annotations

from pathlib import Path

import httpx

from support.process import look, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: drops
topics: {order: {}, changed: {}, sized: {}}
state: {handled: {}, indexed: {}, large: {}}
steps:
  Put: {type: api, method: POST, path: /, emits: [order, changed, sized]}
  Once: {type: event, subscribes: [order], dedupe: {key: data.id, window: 1h}}
  Reindex: {type: event, subscribes: [changed], debounce: {wait: 3s, max: 1m}}
  Large: {type: event, subscribes: [sized], condition: "steps/large.py:is_large"}
"""
PUT = """
async def handler(request, ctx):
    for topic, data in request.body:
        await ctx.emit(topic, data)
"""
ONCE = """
import os

async def handler(data, ctx):
    await ctx.state.handled.update(str(data["id"]), lambda old: [*(old or []), os.getpid()])
"""
REINDEX = """
async def handler(data, ctx):
    await ctx.state.indexed.update("runs", lambda old: [*(old or []), data["n"]])
"""
LARGE = """
async def is_large(data, ctx):
    return data["n"] > 10

async def handler(data, ctx):
    await ctx.state.large.set(str(data["n"]), True)
"""


def test_two_engines_drop_what_one_would(tmp_path: Path, nats_server) -> None:
    folder = write_project(tmp_path, SPEC, put=PUT, once=ONCE, reindex=REINDEX, large=LARGE)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def state(group: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = look(folder, "state", "ls", group, env=env)
        return found

    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        apps = [one, two]
        for turn in range(6):
            events = [("order", {"id": number}) for number in range(40)]
            events += [("sized", {"n": n}) for n in range(20)]
            events += [("changed", {"n": n}) for n in range(turn * 10, turn * 10 + 10)]
            assert httpx.post(apps[turn % 2].url, json=events).status_code == 204
        wait_for(lambda: len(state("handled")) == 40, "an order was not handled")
        wait_for(lambda: len(state("large")) == 9, "a large one was not handled")
        wait_for(lambda: state("indexed").get("runs", [0])[-1] == 59, "the newest had no run")
        handled = state("handled")
        assert all(len(engines) == 1 for engines in handled.values()), "handled twice"
        assert {engine for engines in handled.values() for engine in engines} == {one.process.pid, two.process.pid}
        assert set(state("large")) == {str(n) for n in range(11, 20)}
        runs = state("indexed")["runs"]
        assert runs == sorted(set(runs))
        assert len(runs) <= 3, "60 events in a moment; more runs than one only if this machine stood still"


def test_claims_and_bursts_outlive_the_engine(tmp_path: Path, nats_server) -> None:
    """kill -9 while an event waits for quiet: the next engine runs it, and knows which keys are taken."""
    folder = write_project(tmp_path, SPEC.replace("name: drops", "name: outlive"), put=PUT, once=ONCE, reindex=REINDEX, large=LARGE)  # fmt: skip
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def state(group: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = look(folder, "state", "ls", group, env=env)
        return found

    with running_app(folder, env=env) as app:
        assert httpx.post(app.url, json=[["order", {"id": 1}], ["changed", {"n": 1}]]).status_code == 204
        wait_for(lambda: state("handled"), "the order was not handled")
        app.kill()
    with running_app(folder, env=env) as app:
        assert httpx.post(app.url, json=[["order", {"id": 1}], ["order", {"id": 2}]]).status_code == 204
        wait_for(lambda: state("indexed") == {"runs": [1]}, "what waited for quiet was lost")
        wait_for(lambda: "2" in state("handled"), "the order was not handled")
        assert len(state("handled")["1"]) == 1
        assert httpx.post(app.url, json=[["changed", {"n": 2}], ["changed", {"n": 3}]]).status_code == 204
        wait_for(lambda: state("indexed") == {"runs": [1, 3]}, "the second burst had another run")
