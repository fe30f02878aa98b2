"""`priority` on a real nats-server: what waits in an engine is handled by urgency, retries too."""

from __future__ import annotations

from pathlib import Path

import httpx

from support.process import look, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: urgent
topics: {a: {}}
state: {done: {}}
steps:
  Put: {type: api, method: POST, path: /, emits: [a]}
  Work: {type: event, subscribes: [a], priority: data.urgency, concurrency: {limit: 1}}
"""
PUT = """
async def handler(request, ctx):
    for data in request.body:
        await ctx.emit("a", data)
"""
WORK = """
import asyncio, pathlib

async def handler(data, ctx):
    if data["n"] == 0:
        while not pathlib.Path("open").exists():
            await asyncio.sleep(0.01)
    await ctx.state.done.update("all", lambda old: [*(old or []), data["n"]])
"""


def test_the_urgent_ones_of_a_backlog_go_first(tmp_path: Path, nats_server) -> None:
    folder = write_project(tmp_path, SPEC, put=PUT, work=WORK)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def done() -> list[int]:
        found = look(folder, "state", "ls", "done", env=env)
        return found.get("all", [])

    def in_flight() -> int:
        steps = look(folder, "steps", "ls", env=env)
        return next(step["in_flight"] for step in steps if step["step"] == "Work")

    events = [{"n": n, "urgency": (n * 7) % 50} for n in range(1, 301)]
    with running_app(folder, env=env) as app:
        assert httpx.post(app.url, json=[{"n": 0}, *events]).status_code == 204
        wait_for(lambda: in_flight() == 301, "they did not all come to the engine")
        (folder / "open").touch()
        wait_for(lambda: len(done()) == 301, "not all were handled")
        assert done()[1:] == [e["n"] for e in sorted(events, key=lambda e: (-e["urgency"], e["n"]))]
