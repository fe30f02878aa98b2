"""`motia trace` and `motia logs` on a running app, and after it has stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import AppProcess, clean_environ, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: told
topics:
  order: {}
state: { orders: {} }
flows: { shop: { steps: [Create, Pay] } }
steps:
  Create: { type: api, method: POST, path: /orders, emits: [order] }
  Pay: { type: event, subscribes: [order], retry: { attempts: 1 } }
  Other: { type: api, method: GET, path: /other }
"""
CREATE = """
async def handler(request, ctx):
    ctx.logger.info("accepted", id=request.body["id"])
    await ctx.emit("order", request.body)
    return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
PAY = """
async def handler(data, ctx):
    ctx.logger.debug("paying")
    old = await ctx.state.orders.get("newest")
    if data.get("card") == "declined":
        raise ValueError(f"card of {data['id']} declined")
    await ctx.state.orders.set("newest", data["id"])
"""
OTHER = """
async def handler(request, ctx):
    return {"status": 200, "body": "other"}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, AppProcess]]:
    folder = write_project(tmp_path_factory.mktemp("told"), SPEC, create=CREATE, pay=PAY, other=OTHER)
    with running_app(folder) as running:
        yield folder, running


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(root, ["-C", str(folder), *args])


def ok(folder: Path, *args: str) -> str:
    done = run(folder, *args)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def order(running: AppProcess, **body: str) -> str:
    return str(httpx.post(running.url + "/orders", json=body).json()["trace"])


def outcomes(folder: Path, *args: str) -> dict[str, str]:
    return {each["trace_id"]: each["outcome"] for each in json.loads(ok(folder, "trace", "ls", "--json", *args))}


def test_what_happened_is_found_by_step_flow_status_time_and_text(app: tuple[Path, AppProcess]) -> None:
    folder, running = app
    good, bad = order(running, id="o-1"), order(running, id="o-2", card="declined")
    httpx.get(running.url + "/other")
    wait_for(
        lambda: len(outcomes(folder)) == 3 and outcomes(folder, "--step", "Pay").keys() == {good, bad}, "no records"
    )
    assert (outcomes(folder)[good], outcomes(folder)[bad]) == ("ok", "dead")
    assert set(outcomes(folder, "--flow", "shop")) == {good, bad}
    assert set(outcomes(folder, "--status", "dead")) == set(outcomes(folder, "--text", "o-2 declined")) == {bad}
    assert outcomes(folder, "--longer", "1h") == outcomes(folder, "--until", "1h") == {}
    assert len(outcomes(folder, "--since", "1h", "--limit", "2")) == 2
    assert bad in ok(folder, "trace", "ls", "--status", "dead")

    full = ok(folder, "trace", "show", good[:14], "--full")
    assert 'input  {"id":"o-1"}' in full
    assert 'emit order  {"id":"o-1"}' in full
    assert "set orders/newest" in full
    assert "info: accepted  id=o-1" in full
    assert "steps/pay.py:6 in handler" in ok(folder, "trace", "show", bad, "--full")
    shown = json.loads(ok(folder, "trace", "show", bad, "--json"))
    body = {"id": "o-2", "card": "declined"}
    assert [(each["step"], each["input"]) for each in shown] == [("Create", body), ("Pay", body)]

    lines = [json.loads(line) for line in ok(folder, "logs", "--json").splitlines()]
    assert [line["message"] for line in lines if line["trace_id"] == bad] == [
        "accepted", "paying", "ValueError: card of o-2 declined",
    ]  # fmt: skip
    only = [json.loads(line)["message"] for line in ok(folder, "logs", "--json", "--level", "error").splitlines()]
    assert only == ["ValueError: card of o-2 declined"]
    assert "accepted  id=o-1" in ok(folder, "logs", "--trace", good[:14], "--step", "Create", "--text", "o-1")
    assert ok(folder, "logs", "--until", "1h") == ""
    for wrong in (["--step", "Pya"], ["--flow", "shpo"], ["--since", "soon"], ["--longer", "long"]):
        for command in (["trace", "ls"], ["logs"]):
            assert run(folder, *command, *wrong).exit_code == 2
    assert "did you mean 'Pay'" in run(folder, "logs", "--step", "Pya").stderr


@pytest.mark.parametrize("command", [["logs", "--follow", "-n", "0"], ["trace", "tail"]])
def test_what_comes_is_shown_as_it_comes(app: tuple[Path, AppProcess], command: list[str]) -> None:
    folder, running = app
    follower = subprocess.Popen(
        [sys.executable, "-m", "motia_runtime", "-C", str(folder), *command, "--json", "--step", "Create"],
        env=clean_environ(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    try:
        lines: list[dict[str, object]] = []
        traces: set[object] = set()

        def heard() -> bool:
            traces.add(order(running, id="live"))  # what came before it listened is not shown
            return follower.poll() is None and _ready(follower)

        wait_for(heard, "nothing came")
        lines.append(json.loads(follower.stdout.readline()))
        assert lines[0]["step"] == "Create"
        assert lines[0]["trace_id"] in traces
    finally:
        follower.terminate()
        follower.wait(10)
        follower.stdout.close()


def _ready(process: subprocess.Popen[str]) -> bool:
    import select

    return bool(select.select([process.stdout], [], [], 0.2)[0])


def test_history_survives_the_app(tmp_path: Path) -> None:
    folder = write_project(tmp_path, SPEC, create=CREATE, pay=PAY, other=OTHER)
    with running_app(folder) as running:
        trace = order(running, id="o-9")
        wait_for(
            lambda: len(json.loads(run(folder, "trace", "show", trace, "--json").stdout or "[]")) == 2, "no record"
        )
    assert outcomes(folder) == {trace: "ok"}
    for path in (folder / ".motia" / "index").iterdir():
        path.unlink()
    assert outcomes(folder, "--text", "o-9") == {trace: "ok"}  # made anew from the stream
    assert "accepted" in ok(folder, "logs")
