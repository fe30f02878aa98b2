"""Several `motia start` on one outside NATS server: work is shared, nothing is done twice, one may die."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from support.process import look, running_app, write_project

SPEC = """
name: many
topics: {job: {}}
state: {jobs: {}, ticks: {}}
steps:
  Put: {type: api, method: POST, path: /jobs, emits: [job]}
  Work: {type: event, subscribes: [job]}
  Tick: {type: cron, cron: "* * * * * *", overlap: queue}
"""
PUT = """
async def handler(request, ctx):
    for n in range(request.body["from"], request.body["to"]):
        await ctx.emit("job", {"n": n})
"""
WORK = """
import os

async def handler(data, ctx):
    await ctx.state.jobs.update(str(data["n"]), lambda old: [*(old or []), os.getpid()])
"""
TICK = """
async def handler(ctx):
    await ctx.state.ticks.update(str(int(ctx.trigger.due)), lambda old: (old or 0) + 1)
"""


def _state(folder: Path, env: dict[str, str], group: str) -> dict[str, Any]:
    found: dict[str, Any] = look(folder, "state", "ls", group, env=env)
    return found


def test_two_instances_share_events_and_make_each_tick_once(tmp_path, nats_server):
    folder = write_project(tmp_path, SPEC, put=PUT, work=WORK, tick=TICK)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    with running_app(folder, env=env) as one:
        with running_app(folder, env=env) as two:
            both_since = time.time()
            for start in range(0, 1000, 250):
                url = (one if start % 500 else two).url
                assert httpx.post(url + "/jobs", json={"from": start, "to": start + 250}).status_code == 204
            deadline = time.monotonic() + 60
            while len(jobs := _state(folder, env, "jobs")) < 1000 or time.time() < both_since + 4:
                assert time.monotonic() < deadline, f"{len(jobs)} of 1000 jobs done"
                time.sleep(0.5)
            assert {len(done) for done in jobs.values()} == {1}
            assert len({done[0] for done in jobs.values()}) == 2, "one of them did everything"
            two.kill()
        # the one that is left goes on, and what the other had in hand comes to it
        assert httpx.post(one.url + "/jobs", json={"from": 1000, "to": 1300}).status_code == 204
        deadline = time.monotonic() + 60
        while len(jobs := _state(folder, env, "jobs")) < 1300:
            assert time.monotonic() < deadline, f"{len(jobs)} of 1300 jobs done"
            time.sleep(0.5)
        assert {len(done) for done in jobs.values()} == {1}
        ticks = _state(folder, env, "ticks")
    due = sorted(int(tick) for tick in ticks)
    assert set(ticks.values()) == {1}
    settled = [tick for tick in due if tick <= both_since + 3]
    assert settled == list(range(settled[0], settled[-1] + 1)), "a second was left out"
