"""`motia pause`, `resume` and `steps`: a real app on a real server, over restarts; the commands run in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
motia: "1"
name: paused
topics:
  work: {}
  other: {}
state:
  done: {}
  ticks: {}
steps:
  Work: { type: event, subscribes: [work], uses: { state: [done] } }
  Other: { type: event, subscribes: [other], uses: { state: [done] } }
  Tick: { type: cron, cron: "* * * * * *", overlap: queue, catchUp: 1m, uses: { state: [ticks] } }
  Hello: { type: api, method: GET, path: /hello }
"""
WORK = """
import asyncio
from pathlib import Path

async def handler(data, ctx):
    if data == "slow":
        Path("started").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
    await ctx.state.set("done", str(data), ctx.attempt)
"""
OTHER = """
async def handler(data, ctx):
    await ctx.state.set("done", str(data), 1)
"""
TICK = """
async def handler(ctx):
    await ctx.state.update("ticks", "count", lambda count: (count or 0) + 1)
"""
HELLO = """
async def handler(request, ctx):
    return {"hello": True}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, work=WORK, other=OTHER, tick=TICK, hello=HELLO)


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(root, ["-C", str(folder), *args])


def ok(folder: Path, *args: str) -> str:
    done = run(folder, *args)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def standing(folder: Path, step: str) -> dict[str, Any]:
    found = {each["step"]: each for each in json.loads(ok(folder, "steps", "ls", "--json"))}
    assert list(found) == ["Work", "Other", "Tick", "Hello"]
    return dict(found[step])


def stands(folder: Path, step: str, **expected: object) -> Callable[[], bool]:
    return lambda: standing(folder, step).items() >= expected.items()


def done(folder: Path) -> set[str]:
    return set(json.loads(ok(folder, "state", "ls", "done", "--json")))


def count(folder: Path) -> int:
    return int(json.loads(ok(folder, "state", "get", "ticks", "count", "--json")) or 0)


def test_a_paused_step_takes_nothing_until_it_is_resumed_over_restarts(folder: Path) -> None:
    with running_app(folder):
        ok(folder, "emit", "work", '"slow"')
        wait_for((folder / "started").exists, "the run has not begun")
        before = time.time()
        assert "Work is paused until it is resumed" in run(folder, "pause", "Work").stderr
        ok(folder, "emit", "work", '"first"')
        (folder / "go").touch()
        wait_for(lambda: "slow" in done(folder), "what was in flight did not finish")
        wait_for(stands(folder, "Work", waiting=1, in_flight=0), "it does not wait")
        ok(folder, "emit", "other", '"unpaused"')
        wait_for(lambda: "unpaused" in done(folder), "another step is paused too")
        assert standing(folder, "Other")["paused_until"] is None
        assert "first" not in done(folder)
    assert standing(folder, "Work")["waiting"] == 1
    restarted = time.time()
    with running_app(folder) as app:
        ok(folder, "emit", "work", '"second"')
        wait_for(stands(folder, "Work", waiting=2, in_flight=0), "they do not wait")
        # "first" has waited since before the restart
        assert before < standing(folder, "Work")["oldest"] < restarted
        assert "until resumed" in ok(folder, "steps", "ls")
        app.kill()
    with running_app(folder):
        assert done(folder) == {"slow", "unpaused"}
        assert "Work goes on" in run(folder, "resume", "Work").stderr
        wait_for(lambda: {"first", "second"} <= done(folder), "they were not handled")
        wait_for(stands(folder, "Work", waiting=0, in_flight=0, redelivered=0, oldest=None, paused_until=None))
        assert "Work was not paused" in run(folder, "resume", "Work").stderr


def test_a_pause_for_a_while_ends_by_itself(folder: Path) -> None:
    with running_app(folder):
        before = time.time()
        ok(folder, "pause", "Work", "--for", "1s500ms")
        assert before + 1 < standing(folder, "Work")["paused_until"] < time.time() + 1.5
        ok(folder, "emit", "work", '"later"')
        wait_for(lambda: "later" in done(folder), "it was not handled")
        assert time.time() >= before + 1.5
        assert standing(folder, "Work")["paused_until"] is None


def test_ticks_of_a_paused_cron_step_wait(folder: Path) -> None:
    with running_app(folder):
        wait_for(lambda: count(folder) >= 1, "no tick")
        ok(folder, "pause", "Tick")
        wait_for(stands(folder, "Tick", in_flight=0))
        had = count(folder)
        wait_for(lambda: standing(folder, "Tick")["waiting"] >= 2, "no ticks wait")
        assert count(folder) == had
        ok(folder, "resume", "Tick")
        wait_for(lambda: count(folder) >= had + 2, "they were not handled")


def test_what_can_not_be_paused_is_said(folder: Path) -> None:
    refused = run(folder, "pause", "Hello")
    assert refused.exit_code == 1
    assert "'Hello' is a step of type api: only event and cron steps can be paused" in refused.stderr
    assert run(folder, "resume", "Hello").exit_code == 1
    unknown = run(folder, "pause", "Wrok")
    assert (unknown.exit_code, "did you mean 'Work'?" in unknown.stderr) == (2, True)
    duration = run(folder, "pause", "Work", "--for", "soon")
    assert (duration.exit_code, "'soon' is not a duration" in duration.stderr) == (2, True)


def test_steps_are_shown_with_their_kind(folder: Path) -> None:
    never = json.loads(ok(folder, "steps", "ls", "--json"))
    assert [(each["step"], each["kind"], each["waiting"]) for each in never] == [
        ("Work", "event", None),
        ("Other", "event", None),
        ("Tick", "cron", None),
        ("Hello", "api", None),
    ]
    refused = run(folder, "pause", "Work")
    assert (refused.exit_code, "has never run" in refused.stderr) == (1, True)
