"""`motia cancel` and two instances of an app on one server: what runs is interrupted wherever it runs, what waits is dropped wherever it comes."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
motia: "1"
name: calledoff
topics: { job: {}, done: {}, late: {} }
state: { seen: {} }
steps:
  Work: { type: event, subscribes: [job], emits: [done, late], concurrency: { limit: 1 }, retry: { attempts: 3, delay: 1h } }
  Note: { type: event, subscribes: [done, late], uses: { state: [seen] } }
  Hold: { type: api, method: POST, path: /hold, emits: [done] }
"""
WORK = """
import asyncio
from pathlib import Path

async def handler(data, ctx):
    await ctx.emit("done", data["n"])
    if data.get("fail"):
        await ctx.emit("late", data["n"], delay=3600)
        await ctx.flush()
        raise ValueError("not yet")
    if data.get("wait"):
        Path(f"began-{data['n']}").touch()
        while not Path("open").exists():
            await asyncio.sleep(0.01)
"""
NOTE = """
async def handler(data, ctx):
    await ctx.state.seen.set(str(data), True)
"""
HOLD = """
import asyncio
from pathlib import Path

async def handler(request, ctx):
    await ctx.emit("done", "hold")
    Path("began-hold").touch()
    await asyncio.sleep(60)
"""


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(root, ["-C", str(folder), *args])


def ok(folder: Path, *args: str) -> str:
    done = run(folder, *args)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def emit(folder: Path, **data: Any) -> str:
    return ok(folder, "emit", "job", json.dumps(data)).strip()


def outcomes(folder: Path, trace: str) -> list[tuple[str, str]]:
    shown = run(folder, "trace", "show", trace, "--json")
    return [(each["step"], each["outcome"]) for each in json.loads(shown.stdout)] if shown.exit_code == 0 else []


def seen(folder: Path) -> set[str]:
    return set(json.loads(ok(folder, "state", "ls", "seen", "--json")))


def test_over_two_instances(tmp_path, nats_server, monkeypatch):
    folder = write_project(tmp_path, SPEC, work=WORK, note=NOTE, hold=HOLD)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        # two at a time over both instances: whichever has them, and whichever has what waits
        running = emit(folder, n="running", wait=True)
        wait_for((folder / "began-running").exists, "it does not run")
        waiting = emit(folder, n="waiting", wait=True)
        others = [emit(folder, n=f"other{n}") for n in range(4)]
        ok(folder, "cancel", waiting)
        ok(folder, "cancel", running)
        wait_for(lambda: outcomes(folder, running) == [("Work", "cancelled")], "it was not interrupted")
        wait_for(lambda: outcomes(folder, waiting) == [("Work", "cancelled")], "it was not dropped")
        for trace in others:
            wait_for(lambda: outcomes(folder, trace) == [("Work", "ok"), ("Note", "ok")], "others don't go on")  # noqa: B023
        assert seen(folder) == {f"other{n}" for n in range(4)}

        failing = emit(folder, n="failing", fail=True)
        wait_for(lambda: ("Work", "retry") in outcomes(folder, failing), "it was not tried")
        wait_for(lambda: "failing" in seen(folder), "what it has flushed does not come")
        told = json.loads(ok(folder, "cancel", failing[:12], "--json"))
        assert told == {"trace_id": failing, "step": None, "event_id": None, "retries": 1, "delayed": 1}
        wait_for(lambda: outcomes(folder, failing)[-1] == ("Work", "cancelled"), "its retry was not dropped")
        assert json.loads(ok(folder, "delayed", "ls", "--json")) == []
        listed = {each["trace_id"]: each["outcome"] for each in json.loads(ok(folder, "trace", "ls", "--json"))}
        assert listed[failing] == "cancelled"

        trace = "ab" * 16
        answers: list[httpx.Response] = []
        headers = {"traceparent": f"00-{trace}-{'cd' * 8}-01"}
        asking = Thread(target=lambda: answers.append(httpx.post(two.url + "/hold", headers=headers, timeout=30)))
        asking.start()
        wait_for((folder / "began-hold").exists, "the request does not run")
        ok(folder, "cancel", trace)
        asking.join(20)
        assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [
            (503, "The run was cancelled.")
        ]
        assert one.process.poll() is None
        assert "hold" not in seen(folder)
    with running_app(folder, env=env):  # an engine that starts later knows of it too
        later = emit(folder, n="later")
        wait_for(lambda: outcomes(folder, later) == [("Work", "ok"), ("Note", "ok")], "it does not run")
        wrong = run(folder, "cancel", "nonsense")
        assert (wrong.exit_code, "is no trace id" in wrong.stderr) == (2, True)
        assert run(folder, "cancel").exit_code == 2
        assert run(folder, "cancel", later, "--event", "7", "--step", "Work").exit_code == 2
        assert run(folder, "cancel", "--event", "7").exit_code == 2
        assert run(folder, "cancel", later, "--step", "Wrok").exit_code == 2
        assert run(folder, "cancel", "0" * 8).exit_code == 1
