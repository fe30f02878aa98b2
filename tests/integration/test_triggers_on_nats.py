"""State and stream triggers on a real nats-server: two engines, other programs' writes, the end of a TTL, a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from support.process import look, motia, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: triggers
state: {orders: {}, short: {ttl: 2s}, told: {}}
streams: {board: {}}
steps:
  Put: {type: api, method: POST, path: /, uses: {state: [orders, short], streams: [board]}}
  Watch: {type: event, subscribes: [{state: orders}, {state: short}], uses: {state: [told]}}
  Follow: {type: event, subscribes: [{stream: board}], uses: {state: [told]}}
"""
PUT = """
async def handler(request, ctx):
    for kind, key, value in request.body:
        if kind == "item":
            await ctx.streams.board.set("all", key, value)
        elif value is None:
            await ctx.state[kind].delete(key)
        else:
            await ctx.state[kind].set(key, value)
"""
WATCH = """
import asyncio

async def handler(change, ctx):
    if change.value == "slow" and not (await ctx.state.told.get("killed")):
        await asyncio.sleep(20)
    told = [change.value, change.previous, ctx.trigger.event_id]
    await ctx.state.told.update(f"{change.group} {change.key}", lambda old: [*(old or []), told])
"""
FOLLOW = """
async def handler(change, ctx):
    told = [change.value, change.previous]
    await ctx.state.told.update(f"item {change.group} {change.id}", lambda old: [*(old or []), told])
"""


def _told(folder: Path, env: dict[str, str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = look(folder, "state", "ls", "told", env=env)
    return found


def test_two_engines_tell_each_change_once(tmp_path: Path, nats_server) -> None:
    folder = write_project(tmp_path, SPEC, put=PUT, watch=WATCH, follow=FOLLOW)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        for number in range(20):
            changes = [["orders", f"o{key}", number] for key in range(10)]
            assert httpx.post((one, two)[number % 2].url, json=changes).status_code == 204
        assert (
            httpx.post(one.url, json=[["orders", "o0", None], ["short", "s", 1], ["item", "i", 1]]).status_code == 204
        )
        assert httpx.post(two.url, json=[["item", "i", 2]]).status_code == 204

        def done() -> bool:
            told = _told(folder, env)
            last = [sorted(told.get(f"orders o{key}", []), key=_number)[-1:] for key in range(10)]
            return all(each and each[0][0] == (None if key == 0 else 19) for key, each in enumerate(last))

        wait_for(done, "a last change was not told")
        wait_for(
            lambda: [each[:2] for each in _told(folder, env).get("short s", [])] == [[1, None], [None, None]],
            "the end of the ttl was not told",
        )
        wait_for(lambda: _told(folder, env).get("item all i") == [[1, None], [2, 1]], "the item was not told")
        told = _told(folder, env)
        for key in range(10):
            each = told[f"orders o{key}"]
            assert len({event for _, _, event in each}) == len(each), "told twice"
            assert all(previous == value - 1 for value, previous, _ in each if value), each


def test_a_change_whose_engine_is_killed_is_told_by_the_next(tmp_path: Path, nats_server) -> None:
    folder = write_project(
        tmp_path, SPEC.replace("name: triggers", "name: killed"), put=PUT, watch=WATCH, follow=FOLLOW
    )
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    with running_app(folder, env=env) as app:
        assert httpx.post(app.url, json=[["orders", "o", "slow"]]).status_code == 204
        wait_for(
            lambda: '"in_flight":1' in motia(folder, "steps", "ls", "--json", env=env).stdout, "the run did not begin"
        )
        app.kill()
    motia(folder, "state", "set", "told", "killed", "true", env=env)
    motia(folder, "state", "set", "orders", "o", '"new"', env=env)  # in the place of what was being handled
    with running_app(folder, env=env):
        wait_for(lambda: len(_told(folder, env).get("orders o", [])) == 2, "a change was lost")
        assert sorted(each[:2] for each in _told(folder, env)["orders o"]) == [["new", "slow"], ["slow", None]]


def _number(told: list[Any]) -> int:
    return int(told[2].rpartition("-")[2])
