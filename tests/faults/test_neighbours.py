"""Steps that hang, loop or eat all memory, beside others: those go on, and no run but the guilty one fails (R19 to R21, L9)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.chaos.run import HURRIED, world
from support.process import AppProcess, look, running_app, write_project
from support.waiting import wait_for

JOBS = 100
BAD = 6  # events of each kind
GOES_ON = 10.0  # seconds, of the slowest of 100 jobs beside neighbours that would hold it up for minutes
MEMORY = 256 << 20  # bytes
CGROUPS = Path("/sys/fs/cgroup/memory")  # version 1

SPEC = """
name: neighbours
policies: {retry: {once: {attempts: 1}, twice: {attempts: 2, delay: 50ms}}}
topics: {job: {}, hang: {}, spin: {}, eat: {}, gulp: {}}
state: {jobs: {}, spared: {}}
steps:
  Put: {type: api, method: POST, path: /jobs, emits: [job, hang, spin, eat, gulp]}
  Ping: {type: api, method: GET, path: /ping}
  Work: {type: event, subscribes: [job]}
  Hang: {type: event, subscribes: [hang], timeout: 40s, retry: once}
  Spin: {type: event, subscribes: [spin], isolation: process, timeout: 4s, retry: once}
  Eat: {type: event, subscribes: [eat], isolation: process, retry: once, concurrency: {limit: 2}}
  Gulp: {type: event, subscribes: [gulp], isolation: process, retry: twice, concurrency: {limit: 2}}
"""
HANDLERS = {
    "put": """
        async def handler(request, ctx):
            for event in request.body:
                await ctx.emit(event["topic"], event)
        """,
    "ping": """
        async def handler(request, ctx):
            return {"status": 200, "body": await ctx.state.jobs.get("warm")}
        """,
    "work": """
        import time

        async def handler(data, ctx):
            await ctx.state.jobs.set(data["id"], time.time() - data["at"])
        """,
    "hang": """
        import asyncio

        async def handler(data, ctx):
            await asyncio.sleep(3600)
        """,
    "spin": """
        def handler(data, ctx):
            while True:
                pass
        """,
    "eat": f"""
        import resource

        resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))

        def handler(data, ctx):
            held = []
            while data["guilty"]:
                held.append(bytes(16 << 20))
            ctx.state.spared.set(data["id"], 1)
        """,
    "gulp": """
        import os, time

        if "CGROUP" in os.environ:
            with open(os.path.join(os.environ["CGROUP"], "cgroup.procs"), "w") as procs:
                procs.write(str(os.getpid()))

        def handler(data, ctx):
            held = []
            while data["guilty"]:
                held.append(os.urandom(16 << 20))
            ctx.state.spared.set(data["id"], 1)
        """,
}


@pytest.fixture(scope="module")
def limited() -> Iterator[dict[str, str]]:
    """The environment that names a group of processes which may have so much memory; empty where we can't make one."""
    group = CGROUPS / f"motia-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MEMORY))
    except OSError:
        yield {}
        return
    yield {"CGROUP": str(group)}
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "processes of the group live on")
    group.rmdir()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, limited: dict[str, str]) -> Iterator[AppProcess]:
    with running_app(write_project(tmp_path_factory.mktemp("neighbours"), SPEC, **HANDLERS), env=limited) as running:
        yield running


def put(app: AppProcess, *events: dict[str, Any]) -> None:
    assert httpx.post(app.url + "/jobs", json=events, timeout=60).status_code == 204


def several(topic: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"topic": topic, "id": f"{topic}{n}", **more} for n in range(count)]


def worked(app: AppProcess, name: str) -> tuple[float, float]:
    """The p99 in seconds of jobs from their request to their effect, and of requests, which go on meanwhile."""

    def ping(client: httpx.Client) -> float:
        began = time.monotonic()
        assert client.get("/ping").status_code == 200
        return time.monotonic() - began

    ids = [f"{name}{n}" for n in range(JOBS)]
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=app.url, timeout=60) as client:
        pings = [pool.submit(ping, client) for _ in range(JOBS)]
        for each in ids:
            event = {"topic": "job", "id": each, "at": time.time()}
            assert client.post("/jobs", json=[event]).status_code == 204
        answered = sorted(each.result() for each in pings)
    took: dict[str, float] = {}

    def done() -> bool:
        took.update(look(app.folder, "state", "ls", "jobs"))
        return took.keys() >= set(ids)

    wait_for(done, "not all jobs are done", 120)
    return sorted(took[each] for each in ids)[-1 - JOBS // 100], answered[-1 - JOBS // 100]


def letters(app: AppProcess, step: str) -> list[Any]:
    return [letter for letter in look(app.folder, "dlq", "ls") if letter["step"] == step]


@pytest.mark.long
def test_others_go_on_while_steps_hang_and_loop(app: AppProcess) -> None:
    alone = worked(app, "alone")
    put(app, *several("hang", BAD), *several("spin", BAD))
    beside = worked(app, "beside")
    assert not letters(app, "Hang"), "they did not hang for as long as it took"
    assert max(beside) < GOES_ON
    wait_for(lambda: len(letters(app, "Spin")) == BAD, "those that loop are not ended at their timeout", 120)
    wait_for(lambda: len(letters(app, "Hang")) == BAD, "those that hang are not ended at their timeout", 120)
    assert {letter["error"]["type"] for letter in (*letters(app, "Hang"), *letters(app, "Spin"))} == {"HandlerTimeout"}
    jobs, requests = (f"{1000 * a:.0f} ms alone, {1000 * b:.0f} ms beside" for a, b in zip(alone, beside, strict=True))
    print(f"p99 of jobs {jobs}; of requests {requests}")


def test_a_limit_of_memory_ends_the_guilty_run_alone(app: AppProcess) -> None:
    events = [{**event, "guilty": n % 3 == 0} for n, event in enumerate(several("eat", 12))]
    put(app, *events)
    _spared(app, events, "Eat", "MemoryError")


@pytest.mark.long
def test_a_process_that_is_killed_for_its_memory_takes_no_other_run_along(
    app: AppProcess, limited: dict[str, str]
) -> None:
    if not limited:
        pytest.skip("no group of processes with a limit of memory can be made here")
    events = [{**event, "guilty": n % 3 == 0} for n, event in enumerate(several("gulp", 12))]
    put(app, *events)
    _spared(app, events, "Gulp", "WorkerDied")


def _spared(app: AppProcess, events: list[dict[str, Any]], step: str, error: str) -> None:
    """The innocent have their effect, the guilty are dead letters with that error."""
    innocent = {event["id"] for event in events if not event["guilty"]}
    wait_for(lambda: innocent <= look(app.folder, "state", "ls", "spared").keys(), "innocent runs are missing", 120)
    wait_for(lambda: len(letters(app, step)) == len(events) - len(innocent), "the guilty are no dead letters", 120)
    assert {letter["error"]["type"] for letter in letters(app, step)} == {error}
    assert {letter["data"]["id"] for letter in letters(app, step)}.isdisjoint(innocent)


SLOW = """
name: slow
nats: {prefix: chaos}
topics: {job: {}}
steps:
  Put: {type: api, method: POST, path: /jobs, emits: [job]}
  Work: {type: event, subscribes: [job]}
"""
SLOW_HANDLERS = {
    "put": """
        async def handler(request, ctx):
            await ctx.emit("job", request.body)
        """,
    "work": """
        import asyncio, os
        from pathlib import Path

        async def handler(data, ctx):
            with Path(os.environ["CHAOS_SCRATCH"], "began").open("a") as began:
                began.write(".")
            await asyncio.sleep(data["seconds"])
            Path(os.environ["CHAOS_SCRATCH"], "ended").touch()
        """,
}


@pytest.mark.long
@pytest.mark.parametrize("touched", [True, False], ids=["", "control"])
def test_a_slow_run_is_not_begun_a_second_time(tmp_path: Path, touched: bool) -> None:
    """Five times the ack wait; without the signs of work it is."""
    wait = HURRIED["motia_runtime.ports:ACK_WAIT"]
    orders = {"constants": HURRIED if touched else {**HURRIED, "motia_runtime.engine:TOUCH": 3600.0}}
    with world(
        tmp_path, instances=2, hurried=True, orders=orders, specs=[SLOW],
        write=lambda folder, spec: write_project(folder, spec, **SLOW_HANDLERS),
    ) as made:  # fmt: skip
        answer = httpx.post(made.instances[0].url + "/jobs", json={"seconds": 5 * wait}, timeout=30)
        assert answer.status_code == 204
        wait_for((tmp_path / "logs" / "ended").exists, "it does not end", 60)
        began = (tmp_path / "logs" / "began").read_text()
    assert (len(began) == 1) is touched
