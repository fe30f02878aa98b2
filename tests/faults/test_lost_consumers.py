"""A broker that loses a consumer, as NATS does when its file is damaged: the app makes it again, passes over nothing that waited, and repeats no effect."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import httpx
import pytest

from motia_runtime.naming import durable
from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import find_running, folder
from support.chaos import faults
from support.chaos.run import Settings, run
from support.ledger import BOOK, LEDGER, PAY, check_ledger, read_ledger
from support.process import look, running_app, write_project
from support.waiting import wait_for

EVENTS = 300
SPEC = """
name: lost
topics: {order: {}, paid: {}}
state: {orders: {}, ledger: {}}
steps:
  Accept: {type: api, method: POST, path: /orders, emits: [order]}
  Pay: {type: event, subscribes: [order], emits: [paid], concurrency: {limit: 3}}  # so that 300 take 5 s at least
  Book: {type: event, subscribes: [paid], orderBy: data.shop}
  Ledger: {type: api, method: GET, path: /ledger}
"""
ACCEPT = """
async def handler(request, ctx):
    for id in request.body:
        await ctx.emit("order", {"id": id, "shop": id[-1]})
    return {"status": 202}
"""
IDS = {f"o{n}" for n in range(EVENTS)}


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", SPEC, accept=ACCEPT, pay=PAY, book=BOOK, ledger=LEDGER)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def fill(url: str) -> None:
    for start in range(0, EVENTS, 100):
        ids = [f"o{n}" for n in range(start, start + 100)]
        assert httpx.post(url + "/orders", json=ids, timeout=30).status_code == 202


def wait_for_ledger(url: str, least: int) -> int:
    count = 0

    def enough() -> bool:
        nonlocal count
        count = len(read_ledger(url)["ledger"])
        return count >= least

    wait_for(enough, f"no {least} orders in the ledger", 90)
    return count


def all_once(url: str, app: Path) -> None:
    check_ledger(url, IDS, 90)
    assert read_ledger(url) == {"orders": dict.fromkeys(IDS, 1), "ledger": dict.fromkeys(IDS, 1)}
    assert look(app, "dlq", "ls") == []


def test_an_embedded_server_that_cannot_read_one_and_has_lost_another(app_folder: Path) -> None:
    with running_app(app_folder) as app:
        fill(app.url)
        assert wait_for_ledger(app.url, EVENTS // 4) < EVENTS
        server = int((folder(app_folder) / "server.pid").read_text())
        app.kill()
    wait_for(lambda: gone(server), "nats-server does not end with its app")
    streams = next((folder(app_folder) / "store").glob("jetstream/*/streams"))
    (streams / "lost_events/obs/Pay/o.dat").write_bytes(b"\xff" * 30)
    shutil.rmtree(streams / "lost_events/obs/Book")
    with running_app(app_folder) as app:
        for step in ("Pay", "Book"):
            app.wait_for(f"the broker has lost the consumer {step} of stream lost_events")
        all_once(app.url, app_folder)
    (kept,) = (folder(app_folder) / "damaged").iterdir()
    assert kept.name.startswith("lost_events.Pay.")


def test_consumers_that_go_while_the_app_runs(app_folder: Path) -> None:
    with running_app(app_folder) as app:
        fill(app.url)
        for part in (4, 2):
            assert wait_for_ledger(app.url, EVENTS // part) < EVENTS
            asyncio.run(remove(app_folder, "Pay", "Book"))
        all_once(app.url, app_folder)
        assert app.output.count("the broker has lost the consumer Pay") == 2


async def remove(app: Path, *steps: str) -> None:
    running = find_running(app)
    assert running is not None
    link = await connect(running.settings, name="test")
    for step in steps:
        _, _, data = await link.request(f"$JS.API.CONSUMER.DELETE.lost_events.{durable(step)}")
        assert b'"success":true' in data
    await link.close()


@pytest.mark.long
def test_again_and_again_with_plans_swept_in_between(tmp_path: Path) -> None:
    kinds = (faults.LoseConsumer, faults.LoseConsumer, faults.KillApp)
    result = run(tmp_path, Settings(seed=1, events=500, faults=6, seconds=20, hurried=True, kinds=kinds))
    assert result.verdict.clean, result.report()
    assert result.faults["lose consumer"] == 4
