"""`concurrency` over two engines on a real nats-server, one of which is killed in the middle."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
name: limits
topics: {a: {}}
steps:
  Put: {type: api, method: POST, path: /, emits: [a]}
  Work: {type: event, subscribes: [a], concurrency: CONCURRENCY}
"""
PUT = """
async def handler(request, ctx):
    for data in request.body:
        await ctx.emit("a", data)
"""
WORK = """
import asyncio, os, time

out = os.open("runs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(what, data):
    os.write(out, f"{time.monotonic()} {what} {os.getpid()} {data['key']} {data['n']}\\n".encode())

async def handler(data, ctx):
    note("begin", data)
    await asyncio.sleep(0.05)
    note("end", data)
"""
EVENTS = 240


@pytest.mark.parametrize(("concurrency", "per_key"), [("{limit: 3}", False), ("{limit: 1, key: data.key}", True)])
def test_the_limit_holds_over_engines(tmp_path: Path, nats_server, concurrency: str, per_key: bool) -> None:
    folder = write_project(tmp_path, SPEC.replace("CONCURRENCY", concurrency), put=PUT, work=WORK)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}

    def runs() -> list[tuple[float, str, int, str, int]]:
        try:
            lines = [line.split() for line in (folder / "runs").read_text().splitlines()]
        except FileNotFoundError:
            return []
        return [(float(t), what, int(pid), key, int(n)) for t, what, pid, key, n in lines]

    def ended() -> set[int]:
        return {n for _, what, _, _, n in runs() if what == "end"}

    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        events = [{"n": n, "key": "xyz"[n % 3]} for n in range(EVENTS)]
        assert httpx.post(one.url, json=events).status_code == 204
        wait_for(lambda: len(ended()) > EVENTS / 4, "they did not get going")
        last = runs()[-1][2]
        [holds] = [app for app in (one, two) if app.process.pid == last]
        holds.kill()
        killed = time.monotonic()
        wait_for(lambda: len(ended()) == EVENTS, "not all were handled", 60)
        assert {pid for _, _, pid, _, _ in runs()} == {one.process.pid, two.process.pid}

    at_once: Counter[str] = Counter()
    most: Counter[str] = Counter()
    open_there: Counter[str] = Counter()
    dead = False
    for when, what, pid, key, _ in sorted(runs()):
        if when > killed and not dead:
            dead = True
            at_once -= open_there
        change = 1 if what == "begin" else -1
        for counted in ("all", key):
            at_once[counted] += change
            most[counted] = max(most[counted], at_once[counted])
            if pid == holds.process.pid:
                open_there[counted] += change
    assert most["all"] == 3
    if per_key:
        assert most["x"] == most["y"] == most["z"] == 1
