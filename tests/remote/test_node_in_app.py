"""`motia dev`, `motia start` and `motia worker` with steps in TypeScript: started, watched, reloaded, killed, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motia_runtime.nats.embedded import find_running
from support.nodejs import needs_node
from support.process import AppProcess, clean_environ, look, motia, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: mixed
topics: {asked: {}, done: {}}
state: {answers: {}}
steps:
  Ask: {type: api, method: POST, path: /ask, emits: [asked]}
  Work: {type: event, subscribes: [asked], emits: [done], handler: steps/work.step.ts}
  Keep: {type: event, subscribes: [done]}
  Old: {type: api, method: GET, path: "/old/{n}", handler: steps/old.js}
"""
ASK = """
    async def handler(request, ctx):
        await ctx.emit("asked", request.body)
        return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
KEEP = """
    async def handler(data, ctx):
        await ctx.state.answers.update(data["id"], lambda old: (old or 0) + 1)
"""
WORK = """
import { existsSync, appendFileSync } from "node:fs"
export const handler = async (data: any, { emit, logger }: any) => {
  logger.info("at it", { id: data.id })
  console.log(`printed ${data.id}`)
  if (data.id === "bad") throw new TypeError("not this one")
  if (data.hold) {
    appendFileSync("pids", `${process.pid}\\n`)
    while (!existsSync("go")) await new Promise((done) => setTimeout(done, 10))
  }
  await emit({ topic: "done", data: { id: data.id } })
}
"""
OLD = """
const path = require("node:path")
function half(n) {
  if (n % 2) throw new RangeError(`${n} is odd`)
  return { half: n / 2, base: path.basename("/a/b") }
}
module.exports.handler = async (req) => ({ status: 200, body: half(Number(req.pathParams.n)) })
"""


@pytest.fixture(autouse=True)
def _needs_node() -> None:
    needs_node()


def project(folder: Path) -> Path:
    write_project(folder, SPEC, ask=ASK, keep=KEEP)
    (folder / "steps" / "work.step.ts").write_text(WORK)
    (folder / "steps" / "old.js").write_text(OLD)
    return folder


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    needs_node()
    with running_app(project(tmp_path_factory.mktemp("dev")), "dev") as app:
        yield app


def ask(app: AppProcess, **data: Any) -> str:
    answer = httpx.post(app.url + "/ask", json=data, timeout=20)
    assert answer.status_code == 202
    trace: str = answer.json()["trace"]
    return trace


def times(app: AppProcess, id: str) -> int:
    return look(app.folder, "state", "get", "answers", id) or 0


def test_one_trace_shows_both_languages(dev: AppProcess) -> None:
    trace = ask(dev, id="one")
    dev.wait_for("printed one")
    wait_for(lambda: times(dev, "one") == 1)
    tree = motia(dev.folder, "trace", "show", trace).stdout
    assert re.findall(r"\b(Ask|Work|Keep)\b", tree) == ["Ask", "Work", "Keep"]
    dev.wait_for("at it")


def test_errors_are_shown_with_their_place(dev: AppProcess) -> None:
    ask(dev, id="bad")
    line = dev.wait_for("not this one")
    assert "failed: TypeError: not this one" in line
    assert "steps/work.step.ts:6 in handler" in line
    assert httpx.get(dev.url + "/old/4").json() == {"half": 2, "base": "b"}
    assert httpx.get(dev.url + "/old/7").status_code == 500
    line = dev.wait_for("7 is odd")
    assert "failed: RangeError: 7 is odd" in line
    assert "steps/old.js:4 in half" in line
    assert "Traceback" not in dev.output


def test_a_save_is_served_and_a_broken_one_is_not(dev: AppProcess) -> None:
    file = dev.folder / "steps" / "work.step.ts"
    after = len(dev.lines)
    file.write_text(WORK.replace("printed", "printed anew"))
    dev.wait_for("reloaded in", after=after)
    ask(dev, id="two")
    dev.wait_for("printed anew two")
    after = len(dev.lines)
    file.write_text(WORK + "\nthrow new RangeError('while loading')\n")
    line = dev.wait_for("the last good version goes on serving", after=after)
    assert "steps/work.step.ts can't be imported: RangeError: while loading (steps/work.step.ts, line 14)" in line
    ask(dev, id="three")
    dev.wait_for("printed anew three")


def test_a_save_of_python_leaves_the_worker_alone(dev: AppProcess) -> None:
    def save(name: str, text: str) -> None:
        after = len(dev.lines)
        (dev.folder / "steps" / name).write_text(text)
        dev.wait_for("reloaded in", after=after)

    def worker(id: str) -> str:
        ask(dev, id=id, hold=True)
        wait_for(lambda: times(dev, id))
        return (dev.folder / "pids").read_text().split()[-1]

    (dev.folder / "go").touch()
    save("work.step.ts", WORK)
    first = worker("four")
    save("keep.py", textwrap.dedent(KEEP).replace("+ 1", "+ 10"))
    assert worker("five") == first
    assert times(dev, "five") == 10
    after = len(dev.lines)
    (dev.folder / "steps" / "work.step.ts").write_text(WORK + "\nthrow new RangeError('while loading')\n")
    dev.wait_for("the last good version goes on serving", after=after)
    after = len(dev.lines)
    (dev.folder / "steps" / "keep.py").write_text(textwrap.dedent(KEEP))
    dev.wait_for("the last good version goes on serving", after=after)  # what is broken is not forgotten
    save("work.step.ts", WORK)
    assert worker("six") != first
    assert times(dev, "six") == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_kill_9_of_a_worker_in_mid_run_loses_nothing(tmp_path: Path, processes: int) -> None:
    """The runs are shared by all processes that there are."""
    several = ["--node-workers", "2"] if processes == 2 else []
    with running_app(project(tmp_path), "start", "--logs", "text", *several) as app:
        pids = tmp_path / "pids"
        held: list[str] = []

        def shared() -> bool:
            """More than enough runs for each process to have one, unless it gets none."""
            found = pids.read_text().split() if pids.exists() else []
            if len(found) < len(held):
                return False
            if len(held) >= 10 and len(set(found)) == processes:
                return True
            held.append(f"held {len(held)}")
            ask(app, id=held[-1], hold=True)
            return False

        wait_for(shared, f"runs have not come to {processes} processes")
        worker, *others = sorted(set(pids.read_text().split()))
        os.kill(int(worker), signal.SIGKILL)
        (tmp_path / "go").touch()
        app.wait_for("the Node worker ended with SIGKILL")
        wait_for(lambda: all(times(app, one) for one in held), seconds=40)
        assert [times(app, one) for one in held] == [1] * len(held)
        assert look(tmp_path, "dlq", "ls") == []
        ask(app, id="after")
        wait_for(lambda: times(app, "after") == 1)
        found = find_running(tmp_path)
        assert found is not None
        assert app.stop() == 0
    assert not [each for each in (worker, *others) if Path(f"/proc/{each}").exists()]


def test_a_worker_alone_serves_an_app_that_starts_none(tmp_path: Path) -> None:
    with running_app(project(tmp_path), "start", "--logs", "text", "--remote", "node", "--remote", "python") as app:
        broker = find_running(tmp_path)
        assert broker is not None
        environ = clean_environ() | {"NATS_URL": broker.url, "NATS_TOKEN": broker.token}
        workers = []
        for language, count in (("python", "1"), ("node", "2")):
            command = [sys.executable, "-m", "motia_runtime", "worker", "--language", language, "--workers", count]
            command += ["--logs", "text"]
            workers.append(subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True))
        try:
            for worker in workers:
                assert worker.stderr is not None
                assert "serving" in worker.stderr.readline()
            ask(app, id="far")
            wait_for(lambda: times(app, "far") == 1)
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
            for worker in workers:
                said = worker.communicate(timeout=20)[1]
                assert worker.returncode == 0, said
                assert "stopped" in said


def test_without_node_start_says_what_to_do_and_dev_goes_on(tmp_path: Path) -> None:
    project(tmp_path)
    environ = {"MOTIA_NODE": "/nowhere/node"}
    both = motia(tmp_path, "start", "--remote", "node", "--node-workers", "2")
    assert (both.returncode, "--remote node to start none" in both.stderr) == (2, True)
    done = motia(tmp_path, "start", "--port", "0", env=environ)
    assert done.returncode == 1
    assert "steps in TypeScript and JavaScript need Node 20 or newer (found: /nowhere/node: " in done.stderr
    assert "pip install 'motia-nats[node]'" in done.stderr
    with running_app(tmp_path, "dev", env=environ) as app:
        app.wait_for("Their runs wait; all other steps work")
        ask(app, id="x")
        app.wait_for("Work: no worker takes its runs")
        assert app.stop(timeout=10) == 0, "what waits for a worker is given back at once"
