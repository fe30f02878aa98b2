"""kill -9 of the embedded NATS server while requests and events are under way: the app stays, says what it can't do, and goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import httpx

from support.process import look, running_app, write_project

SPEC = """
name: brokerkill
topics: {job: {}}
state: {jobs: {}}
steps:
  Put: {type: api, method: POST, path: /jobs, emits: [job]}
  Work: {type: event, subscribes: [job]}
"""
PUT = """
async def handler(request, ctx):
    await ctx.emit("job", request.body)
    return {"status": 202, "body": {}}
"""
WORK = """
async def handler(data, ctx):
    await ctx.state.jobs.update(str(data["n"]), lambda old: (old or 0) + 1)
"""


def _broker(parent: int) -> int:
    """The pid of the nats-server below the app, whatever stands between them."""
    children = {parent}
    for _ in range(3):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) in children:
                    children.add(int(entry.name))
                    if b"nats-server" in (entry / "cmdline").read_bytes().split(b"\0")[0]:
                        return int(entry.name)
            except OSError:  # it ended meanwhile
                continue
    raise AssertionError("no nats-server runs below the app")


def test_accepted_requests_survive_kills_of_the_broker(tmp_path):
    folder = write_project(tmp_path, SPEC, put=PUT, work=WORK)
    accepted: list[int] = []
    refused: list[int] = []
    with running_app(folder) as app, httpx.Client(base_url=app.url, timeout=30) as client:
        stop = threading.Event()

        def post() -> None:
            n = 0
            while not stop.is_set():
                status = client.post("/jobs", json={"n": n}).status_code
                (accepted if status == 202 else refused).append(n if status == 202 else status)
                n += 1

        posting = threading.Thread(target=post)
        posting.start()
        try:
            for kill in range(3):
                goal = len(accepted) + 50
                deadline = time.monotonic() + 30
                while len(accepted) < goal:
                    assert time.monotonic() < deadline, f"no answers any more before kill {kill}\n{app.output}"
                    time.sleep(0.01)
                os.kill(_broker(app.process.pid), signal.SIGKILL)
            goal = len(accepted) + 50
            deadline = time.monotonic() + 30
            while len(accepted) < goal:
                assert time.monotonic() < deadline, f"no answers after the last kill\n{app.output}"
                time.sleep(0.01)
        finally:
            stop.set()
            posting.join(60)
        deadline = time.monotonic() + 40
        while len(jobs := look(folder, "state", "ls", "jobs")) < len(accepted):
            assert time.monotonic() < deadline, f"{len(jobs)} of {len(accepted)} jobs done\n{app.output}"
            time.sleep(0.05)
        assert set(refused) <= {503}, "the broker being away is no error of the handler"
        assert {str(n) for n in accepted} <= set(jobs)
        assert set(jobs.values()) == {1}
        assert "Traceback" not in app.output
