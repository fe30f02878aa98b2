"""Handlers in processes (R20, R21) in a real app on a real broker: whatever ends such a process, no other work is lost, doubled or held up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from support.process import AppProcess, look, running_app, write_project
from support.waiting import wait_for

EVENTS = 120
KILLS = 5
SPEC = """
name: processes
topics: {order: {}, hang: {}, paid: {}}
state: {orders: {}, ledger: {}, hung: {}}
policies: {retry: {often: {attempts: ATTEMPTS, delay: 50ms, backoff: fixed}, twice: {attempts: 2, delay: 50ms}}}
steps:
  Accept: {type: api, method: POST, path: /orders, emits: [order, hang]}
  Count: {type: api, method: GET, path: /count}
  Pay: {type: event, subscribes: [order], emits: [paid], isolation: process, concurrency: {limit: 2}, retry: often}
  Hang: {type: event, subscribes: [hang], isolation: process, concurrency: {limit: 1}, retry: twice, timeout: 1s}
  Book: {type: event, subscribes: [paid]}
"""
ACCEPT = """
async def handler(request, ctx):
    for data in request.body:
        await ctx.emit(data.get("topic", "order"), data)
"""
PAY = """
import ctypes, os, time

def handler(data, ctx):
    open(f"pay.{os.getpid()}", "a").close()
    ctx.state.orders.update(data["id"], lambda old: (old or 0) + 1)
    if data.get("poison"):
        ctypes.string_at(0)
    time.sleep(data.get("takes", 0.03))
    ctx.emit("paid", data)
"""
HANG = """
import os
def handler(data, ctx):
    open(f"hang.{os.getpid()}", "a").close()
    if data.get("native"):
        7 ** (10 ** 9)
    while data.get("python"):
        pass
    ctx.state.hung.set(data["id"], 1)
"""
BOOK = """
async def handler(data, ctx):
    await ctx.state.ledger.update(data["id"], lambda old: (old or 0) + 1)
"""
COUNT = """
async def handler(request, ctx):
    return {group: len(await ctx.state[group].keys()) for group in ("orders", "ledger", "hung")}
"""


def _project(folder: Path, attempts: int = 20) -> Path:
    spec = SPEC.replace("ATTEMPTS", str(attempts))
    return write_project(folder, spec, accept=ACCEPT, pay=PAY, hang=HANG, book=BOOK, count=COUNT)


def _count(app: AppProcess, group: str) -> int:
    return int(httpx.get(app.url + "/count", timeout=10).json()[group])


def _state(folder: Path, group: str) -> dict[str, int]:
    found: dict[str, int] = look(folder, "state", "ls", group)
    return found


def _letters(folder: Path) -> list[dict]:
    found: list[dict] = look(folder, "dlq", "ls")
    return found


def _pids(folder: Path, of: str = "pay") -> set[int]:
    return {int(path.suffix[1:]) for path in folder.glob(f"{of}.*")}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _post(app: AppProcess, *events: dict) -> None:
    assert httpx.post(app.url + "/orders", json=list(events), timeout=30).status_code == 204


def _kill_some(folder: Path, times: int) -> None:
    """kill -9 of a process that has begun to run a handler, so many times."""
    killed: set[int] = set()
    for _ in range(times):
        wait_for(lambda: [pid for pid in _pids(folder) - killed if _alive(pid)], "no process ran a handler")
        pid = next(pid for pid in _pids(folder) - killed if _alive(pid))
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)


def test_kill_9_of_processes_in_the_middle_of_their_runs_loses_and_doubles_nothing(tmp_path):
    folder = _project(tmp_path)
    with running_app(folder) as app:
        _post(app, *({"id": f"o{n}"} for n in range(EVENTS)))
        _kill_some(folder, KILLS)
        assert _count(app, "ledger") < EVENTS, "the kills came too late to prove anything"
        wait_for(lambda: _count(app, "ledger") == EVENTS, "the ledger is not complete", 60)
        expected = {f"o{n}": 1 for n in range(EVENTS)}
        assert _state(folder, "ledger") == expected
        assert _state(folder, "orders") == expected
        assert _letters(folder) == []
        assert app.output.count("WorkerDied") >= 1, "no kill met a run"
        assert app.process.poll() is None


def test_without_retries_each_kill_is_seen(tmp_path):
    """The control: the oracle above would notice a run that is not repeated."""
    folder = _project(tmp_path, attempts=1)
    with running_app(folder) as app:
        _post(app, {"id": "long", "takes": 30})
        _kill_some(folder, 1)
        wait_for(lambda: _letters(folder), "no dead letter")
        (letter,) = _letters(folder)
        assert letter["error"]["type"] == "WorkerDied"
        assert "was killed by SIGKILL" in letter["error"]["message"]
        assert _state(folder, "orders") == {}, "a run that died has no effects"


def test_a_poison_that_crashes_native_code_is_buried_and_takes_no_other_along(tmp_path):
    folder = _project(tmp_path, attempts=3)
    events = [{"id": f"o{n}", "takes": 0.005} for n in range(40)]
    events[7] = {"id": "p1", "poison": True}
    events[20] = {"id": "p2", "poison": True}
    with running_app(folder) as app:
        _post(app, *events)
        wait_for(lambda: _count(app, "ledger") == 38, "the others are not all there", 60)
        wait_for(lambda: len(_letters(folder)) == 2, "the poison is not buried", 60)
        for letter in _letters(folder):
            assert letter["error"]["type"] == "WorkerDied"
            assert "was killed by SIGSEGV" in letter["error"]["message"]
            assert letter["attempts"] == 3
        assert set(_state(folder, "orders")) == {event["id"] for event in events if "poison" not in event}
        assert app.process.poll() is None


@pytest.mark.parametrize("how", ["native", "python"])
def test_a_hanging_handler_ends_at_its_timeout_and_holds_nobody_up(tmp_path, how):
    folder = _project(tmp_path)
    with running_app(folder) as app:
        _post(app, {"topic": "hang", "id": "h", how: True}, {"topic": "hang", "id": "after"})
        wait_for(lambda: _pids(folder, "hang"), "it did not begin")
        began, answers = time.monotonic(), 0
        with httpx.Client(base_url=app.url) as client:
            while time.monotonic() - began < 0.8:  # it hangs
                answers += client.get("/count").status_code == 200
        assert answers >= 5, "the app is held up"
        wait_for(lambda: _count(app, "hung") == 1, "the slot is not free again", 20)
        wait_for(lambda: _letters(folder), "no dead letter")
        (letter,) = _letters(folder)
        assert (letter["error"]["type"], letter["attempts"]) == ("HandlerTimeout", 2)
        assert len(_pids(folder, "hang")) >= 2, "the second attempt had a process of its own"


def test_processes_die_with_the_app(tmp_path):
    """kill -9 of the app, while one process waits, one is in a loop, and one in native code that holds the interpreter."""
    folder = _project(tmp_path)
    (folder / "motia.yaml").write_text((folder / "motia.yaml").read_text().replace("timeout: 1s", "timeout: 1h"))
    with running_app(folder) as app:
        _post(app, {"id": "o", "takes": 0}, {"id": "long", "takes": 60}, {"topic": "hang", "id": "h", "native": True})
        wait_for(lambda: _pids(folder) and _pids(folder, "hang"), "they did not begin")
        pids = _pids(folder) | _pids(folder, "hang")
        assert all(map(_alive, pids))
        app.kill()
        wait_for(lambda: not any(map(_alive, pids)), "a process is left behind", 5)


def test_a_stop_lets_processes_finish_what_they_have_begun(tmp_path):
    folder = _project(tmp_path)
    with running_app(folder) as app:
        _post(app, {"id": "o", "takes": 1.0})
        wait_for(lambda: _pids(folder), "it did not begin")
        assert app.stop() == 0
        assert not any(map(_alive, _pids(folder)))
    with running_app(folder) as app:
        wait_for(lambda: _count(app, "ledger") == 1, "the run's event was not handled")
        assert _state(folder, "orders") == {"o": 1}
        assert len(_pids(folder)) == 1, "it ran once, before the stop"


def test_a_reload_runs_the_new_code_in_new_processes(tmp_path):
    folder = _project(tmp_path)
    with running_app(folder, "dev") as app:
        _post(app, {"id": "before"})
        wait_for(lambda: _count(app, "ledger") == 1, "the first was not handled")
        old = _pids(folder)
        seen = len(app.lines)
        (folder / "steps" / "pay.py").write_text(
            "import nothing_of_this_name\n" + (folder / "steps" / "pay.py").read_text()
        )
        app.wait_for("can't be imported", after=seen)
        assert all(map(_alive, old)), "the last good version serves on"
        seen = len(app.lines)
        (folder / "steps" / "pay.py").write_text('def handler(data, ctx):\n    ctx.emit("paid", {"id": "new"})\n')
        app.wait_for("reloaded in", after=seen)
        wait_for(lambda: not any(map(_alive, old)), "an old process is left")
        _post(app, {"id": "after"})
        wait_for(lambda: _count(app, "ledger") == 2, "the second was not handled")
        assert _state(folder, "ledger") == {"before": 1, "new": 1}
