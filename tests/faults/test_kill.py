"""kill -9 of the whole app in the middle of its work: nothing accepted is lost, no effect is doubled."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path

import httpx

from support.process import look, motia, running_app, write_project

EVENTS = 2_000
SPEC = """
name: kill
topics: {order: {}, paid: {}}
state: {orders: {}, ledger: {}}
steps:
  Accept: {type: api, method: POST, path: /orders, emits: [order]}
  Pay: {type: event, subscribes: [order], emits: [paid], concurrency: {limit: 50}}
  Book: {type: event, subscribes: [paid]}
  Count: {type: api, method: GET, path: /count}
"""
ACCEPT = """
async def handler(request, ctx):
    for id in request.body:
        await ctx.emit("order", {"id": id})
    return {"status": 202, "body": {"accepted": len(request.body)}}
"""
PAY = """
import asyncio

async def handler(data, ctx):
    await ctx.state.orders.update(data["id"], lambda old: (old or 0) + 1)
    await asyncio.sleep(0.1)
    await ctx.emit("paid", data)
"""
BOOK = """
async def handler(data, ctx):
    await ctx.state.ledger.update(data["id"], lambda old: (old or 0) + 1)
"""
COUNT = """
async def handler(request, ctx):
    return {"orders": len(await ctx.state.orders.keys()), "ledger": len(await ctx.state.ledger.keys())}
"""


def _project(folder: Path) -> Path:
    return write_project(folder, SPEC, accept=ACCEPT, pay=PAY, book=BOOK, count=COUNT)


def _fill(url: str, count: int) -> None:
    for start in range(0, count, 200):
        ids = [f"o{n}" for n in range(start, min(start + 200, count))]
        assert httpx.post(url + "/orders", json=ids, timeout=30).status_code == 202


def _wait_for_ledger(url: str, done, timeout: float = 60.0) -> int:
    deadline = time.monotonic() + timeout
    while True:
        count = int(httpx.get(url + "/count", timeout=30).json()["ledger"])
        if done(count):
            return count
        assert time.monotonic() < deadline, f"{count} of {EVENTS} in the ledger after {timeout:g} s"
        time.sleep(0.02)


def test_kill_9_in_the_middle_of_2000_events_loses_and_doubles_nothing(tmp_path):
    folder = _project(tmp_path)
    kills = []
    with running_app(folder) as app:
        _fill(app.url, EVENTS)
        kills.append(_wait_for_ledger(app.url, lambda n: n >= EVENTS // 10))
        app.kill()
    with running_app(folder) as app:
        kills.append(_wait_for_ledger(app.url, lambda n: n >= EVENTS // 2))
        app.kill()
    assert kills[0] < EVENTS * 0.9, "the first kill came too late to prove anything"
    with running_app(folder) as app:
        _wait_for_ledger(app.url, lambda n: n >= EVENTS, timeout=120)
        ledger = look(folder, "state", "ls", "ledger")
        orders = look(folder, "state", "ls", "orders")
        assert look(folder, "dlq", "ls") == []
    expected = {f"o{n}": 1 for n in range(EVENTS)}
    assert ledger == expected
    assert orders == expected


def test_an_event_that_kills_its_process_is_buried_and_takes_no_other_along(tmp_path):
    """The app is started again each time, as a supervisor would; the innocent events beside the guilty one are all handled."""
    spec = """
    name: poison
    topics: {a: {external: in}}
    state: {done: {}}
    policies: {retry: {three: {attempts: 3, delay: 100ms}}}
    steps:
      Work: {type: event, subscribes: [a], retry: three}
      Begin: {type: api, method: POST, path: /begin, emits: [a]}
    """
    work = """
    import asyncio, os, signal

    async def handler(data, ctx):
        if data["id"] == "die":
            with open("deaths", "a") as f: f.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.3)
        await ctx.state.done.set(data["id"], 1)
    """
    begin = """
    async def handler(request, ctx):
        for id in request.body:
            await ctx.emit("a", {"id": id})
    """
    folder = write_project(tmp_path, spec, work=work, begin=begin)
    ids = [f"n{n}" for n in range(20)]
    sent, killed = False, 0
    for _ in range(10):
        with running_app(folder, ready=not sent) as app:
            if not sent:
                assert httpx.post(app.url + "/begin", json=ids).status_code == 204
                with contextlib.suppress(httpx.TransportError):  # the answer may not get out in time
                    httpx.post(app.url + "/begin", json=["die"])
                sent = True
            deadline = time.monotonic() + 60
            while app.process.poll() is None and time.monotonic() < deadline:
                letters = json.loads(motia(folder, "dlq", "ls", "--json").stdout or "[]")
                done = json.loads(motia(folder, "state", "ls", "done", "--json").stdout or "{}")
                if letters and len(done) == len(ids):
                    break
                time.sleep(0.05)
            if app.process.poll() is None:
                break
        # not every end is a death: a command that is there first has a server of its own on the store, and the app does not start
        killed += app.process.returncode == -signal.SIGKILL
    assert [letter["data"] for letter in letters] == [{"id": "die"}]
    assert letters[0]["error"]["type"] == "ProcessDied"
    assert sorted(done) == sorted(ids)
    assert 4 <= len((folder / "deaths").read_text()) <= 6, "two, one beside others, and three in processes of its own"
    assert killed <= 4, "the app outlives those"
