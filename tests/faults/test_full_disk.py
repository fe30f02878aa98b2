"""No room for the store: what was accepted stays, what is new is refused in time, and with room again the app goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.chaos.faults import BALLAST, fill
from support.chaos.run import small_disk
from support.process import AppProcess, running_app, write_project
from support.stored import records
from support.waiting import wait_for

DISK = 544 << 20  # bytes: the embedded server leaves 256 MiB to others, and reserves as much for the records of runs
EVENT = 768 << 10
SPEC = """
name: full
nats: {prefix: full}
topics: {filler: {}}
state: {kept: {}}
steps:
  Put: {type: api, method: POST, path: /put, emits: [filler]}
"""
PUT = f"""
async def handler(request, ctx):
    await ctx.state.kept.set(str(request.body["n"]), 1)
    await ctx.emit("filler", {{"n": request.body["n"], "pad": os.urandom({EVENT // 2}).hex()}})
    return {{"status": 202, "body": {{}}}}
"""
REFUSED = 12.0  # seconds


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "app", DISK) as small:
        if small is None:
            pytest.skip("mounting a small file system takes root")
        yield small


def put(client: httpx.Client, n: int) -> tuple[int, float]:
    began = time.monotonic()
    status = client.post("/put", json={"n": n}).status_code
    return status, time.monotonic() - began


@contextmanager
def calling(folder: Path) -> Iterator[tuple[AppProcess, httpx.Client]]:
    with running_app(folder) as app, httpx.Client(base_url=app.url, timeout=60) as client:
        yield app, client


def test_a_full_store_refuses_and_keeps_what_it_has(disk: Path) -> None:
    """The embedded server takes no more than its share of the disk, so it is the store that fills up, and says so at once."""
    folder = write_project(disk, SPEC, put="import os\n" + PUT)
    accepted: list[int] = []
    with calling(folder) as (_, client):
        slowest = 0.0
        for n in range(2 * DISK // EVENT):
            status, took = put(client, n)
            slowest = max(slowest, took)
            if status != 202:
                break
            accepted.append(n)
        assert status == 503
        assert slowest < REFUSED
        assert len(accepted) > 10
        assert client.get("/healthz").status_code == 200
        _all_there(folder, accepted)
    with running_app(folder):
        _all_there(folder, accepted)


def filled_by_others(disk: Path, client: httpx.Client) -> list[int]:
    """Accept some, have the disk filled up, see that more is refused, and make room again."""
    accepted = []
    for n in range(20):
        assert put(client, n)[0] == 202
        accepted.append(n)
    fill(disk)
    status, took = put(client, 100)
    assert status == 503
    assert took < REFUSED
    os.unlink(disk / BALLAST)
    return accepted


@pytest.mark.long
def test_a_disk_filled_by_others_loses_nothing_and_a_restart_mends_it(disk: Path) -> None:
    folder = write_project(disk, SPEC, put="import os\n" + PUT)
    with calling(folder) as (_, client):
        accepted = filled_by_others(disk, client)
    with calling(folder) as (_, client):
        assert put(client, 200)[0] == 202
        _all_there(folder, [*accepted, 200])


def test_a_disk_filled_by_others_is_survived_without_a_restart(disk: Path) -> None:
    folder = write_project(disk, SPEC, put="import os\n" + PUT)
    with calling(folder) as (app, client):
        accepted = filled_by_others(disk, client)
        numbers = iter(range(200, 1000))

        def goes_on() -> bool:
            n = next(numbers)
            if put(client, n)[0] == 202:
                accepted.append(n)
                return True
            return False

        wait_for(goes_on, f"nothing is accepted, though there is room again\n{app.output}", 60)
        _all_there(folder, accepted)


def test_a_disk_that_is_too_small_is_named_with_what_it_takes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "app", DISK // 2) as small:
        if small is None:
            pytest.skip("mounting a small file system takes root")
        failing = AppProcess(write_project(small, SPEC, put="import os\n" + PUT), "start", (), {})
        try:
            assert failing.process.wait(30) == 1
            said = failing.wait_for("error: ")
        finally:
            failing.stop()
            assert failing.process.stdout is not None
            failing.process.stdout.close()
    assert "stream full_runs: it reserves 256 MiB" in said
    assert f"the disk of {small / '.motia' / 'nats' / 'store'} has 27" in said
    assert "Have 512 MiB free there, or set nats.url or NATS_URL" in said


def _all_there(folder: Path, accepted: list[int]) -> None:
    found = {json.loads(record.data)["n"] for record in records(folder, "ev.filler")}
    assert set(accepted) <= found
