"""`motia start --workers`: workers that die come again, a supervisor that dies takes all with it, signals drain or kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest

from support.ledger import check_ledger, ledger_project, ordering
from support.process import AppProcess, motia, running_app, write_project
from support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="--workers needs Linux")

SLOW = """
name: slow
steps:
  Pid: {type: api, method: GET, path: /pid}
  Sleep: {type: api, method: GET, path: "/sleep/{seconds}"}
"""
PID = """
import os

async def handler(request, ctx):
    return {"pid": os.getpid()}
"""
SLEEP = """
import asyncio

async def handler(request, ctx):
    print("sleeping", flush=True)
    await asyncio.sleep(float(request.path_params["seconds"]))
    return {"slept": True}
"""


def children(parent: int) -> dict[int, str]:
    """The processes below a process, however deep: pid and command line."""
    found: dict[int, str] = {}
    known = {parent}
    for _ in range(4):
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) in known:
                    known.add(int(entry.name))
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def workers(app: AppProcess) -> dict[int, int]:
    """Number and pid of each worker."""
    found = {}
    for pid, line in children(app.process.pid).items():
        if " --worker " in line:
            found[int(line.partition(" --worker ")[2].split()[0])] = pid
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def slow_project(folder: Path) -> Path:
    return write_project(folder, SLOW, pid=PID, sleep=SLEEP)


def test_a_worker_that_is_killed_comes_again_and_loses_nothing(tmp_path):
    with running_app(ledger_project(tmp_path), "start", "--workers", "2") as app:
        app.wait_for('"ready"')
        before = workers(app)
        assert sorted(before) == [1, 2]
        with ordering(lambda: [app.url]) as orders:
            orders.await_more(100, "with both")
            os.kill(before[2], signal.SIGKILL)
            line = json.loads(app.wait_for("worker 2 ended with SIGKILL"))
            assert "worker" not in line, "the supervisor has no number"
            orders.await_more(50, "with one")
            wait_for(lambda: "serving" in "".join(x for x in app.lines if '"worker":2' in x), "worker 2 is back")
            wait_for(lambda: workers(app).get(2) not in (None, before[2]), "worker 2 is back")
            assert workers(app)[1] == before[1]
            orders.await_more(100, "with both again")
        check_ledger(app.url, orders.accepted)
        assert app.stop(30) == 0
    numbers = {json.loads(line).get("worker") for line in app.lines}
    assert numbers == {None, 1, 2}
    assert all(gone(pid) for pid in before.values())


def test_workers_and_broker_die_with_a_supervisor_that_is_killed(tmp_path):
    with running_app(slow_project(tmp_path), "start", "--workers", "2") as app:
        app.wait_for('"ready"')
        below = children(app.process.pid)
        assert any("nats-server" in line for line in below.values())
        assert len(workers(app)) == 2
        app.kill()
        wait_for(lambda: all(gone(pid) for pid in below), f"{[x for p, x in below.items() if not gone(p)]} still run")


def test_both_workers_get_connections_and_a_signal_lets_them_end_what_they_have_begun(tmp_path):
    with running_app(slow_project(tmp_path), "start", "--workers", "2", "--notice", "1") as app:
        app.wait_for('"ready"')
        pids: set[int] = set()

        def seen() -> bool:
            pids.add(httpx.get(app.url + "/pid").json()["pid"])  # a connection of its own
            return pids == set(workers(app).values())

        wait_for(seen, "both have answered")
        with httpx.Client(base_url=app.url, timeout=30) as client:
            import threading

            answers: list[int] = []
            asking = threading.Thread(target=lambda: answers.append(client.get("/sleep/2").status_code))
            asking.start()
            app.wait_for("sleeping")
            app.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            app.wait_for("stopping")
            wait_for(lambda: httpx.get(app.url + "/readyz").status_code == 503, "unready", 0.9)
            assert httpx.get(app.url + "/pid").status_code == 200, "who has not heard of it yet is served"
            asking.join(20)
            assert answers == [200]
            assert app.process.wait(20) == 0
            assert time.monotonic() - began < 20


def test_a_second_signal_ends_everything_at_once(tmp_path):
    with running_app(slow_project(tmp_path), "start", "--workers", "2") as app:
        app.wait_for('"ready"')
        below = children(app.process.pid)
        with socket.create_connection(("127.0.0.1", int(app.url.rpartition(":")[2]))) as client:
            client.sendall(b"GET /sleep/60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            app.wait_for("sleeping")
            app.process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            app.wait_for("stopping")
            wait_for(lambda: time.monotonic() - told > 1.1, "a second that makes it another word")
            app.process.send_signal(signal.SIGTERM)
            assert app.process.wait(5) == -signal.SIGTERM
        wait_for(lambda: all(gone(pid) for pid in below), "all have ended", 5)


def test_what_keeps_an_app_from_starting_is_said_once(tmp_path):
    folder = slow_project(tmp_path / "broken")
    (folder / "steps" / "pid.py").write_text("import nowhere_to_be_found\n\nasync def handler(request, ctx): ...\n")
    done = motia(folder, "start", "--workers", "3", "--port", "0")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("nowhere_to_be_found") == 1
    assert "the first worker ended with code 1" in done.stderr


def test_a_taken_port_is_refused_also_when_it_could_be_shared(tmp_path):
    folder = slow_project(tmp_path / "taken")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = motia(folder, "start", "--workers", "2", "--port", port)
        assert done.returncode == 1
        assert f"port {port} on 127.0.0.1 is already in use" in done.stderr
