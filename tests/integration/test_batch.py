"""`batch` over two engines on a real nats-server: kill -9 in the middle of lists, and each event counts once."""

from __future__ import annotations

from pathlib import Path

import httpx

from support.process import look, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: lists
topics: {a: {}, b: {}}
state: {handled: {}, told: {}, totals: {}}
steps:
  Put: {type: api, method: POST, path: /, emits: [a]}
  Work: {type: event, subscribes: [a], emits: [b], batch: {size: 40, wait: 200ms}, retry: {attempts: 2, delay: 100ms}}
  Tell: {type: event, subscribes: [b]}
"""
PUT = """
async def handler(request, ctx):
    for n in request.body:
        await ctx.emit("a", n)
"""
WORK = """
import asyncio

async def handler(events, ctx):
    await ctx.state.totals.update("sum", lambda old: (old or 0) + sum(n for n in events if n != 13))
    for n in events:
        await ctx.state.handled.update(str(n), lambda old: (old or 0) + 1)
        await ctx.emit("b", n)
    await asyncio.sleep(0.05)
    if 13 in events:
        raise RuntimeError("unlucky")
"""
TELL = """
async def handler(n, ctx):
    await ctx.state.told.update(str(n), lambda old: (old or 0) + 1)
"""
EVENTS = 900


def test_lists_of_killed_engines_come_true_once(tmp_path: Path, nats_server) -> None:
    folder = write_project(tmp_path, SPEC, put=PUT, work=WORK, tell=TELL)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def state(group: str) -> dict[str, int]:
        found: dict[str, int] = look(folder, "state", "ls", group, env=env)
        return found

    with running_app(folder, env=env) as one, running_app(folder, env=env):
        assert httpx.post(one.url, json=list(range(EVENTS))).status_code == 204
        wait_for(lambda: len(state("handled")) > EVENTS / 10, "they did not get going")
        one.kill()
        wait_for(lambda: len(state("handled")) >= EVENTS - 1, "not all were handled", 60)
        wait_for(lambda: len(state("told")) >= EVENTS - 1, "not all were told of", 60)
        wait_for(lambda: look(folder, "dlq", "ls", env=env), "the bad one is no dead letter")
        assert state("handled") == state("told") == {str(n): 1 for n in range(EVENTS) if n != 13}
        assert state("totals") == {"sum": sum(range(EVENTS)) - 13}
