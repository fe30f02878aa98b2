"""Long: 10,000 WebSockets follow one item while 100 of them a second go and others come (L4)."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvloop

from benchmarks.bench_streams import PUT, SPEC, Client
from support.chaos.soak import files, memory
from support.process import running_app, write_project
from support.waiting import wait_for

pytestmark = pytest.mark.long

FOLLOWERS, PROCESSES = 10_000, 2
SECONDS = 300
CHURN = 100  # that go, and come, each second
AT_ONCE = 100  # that connect
EACH = 40 / 1024  # MiB of the app's memory for a connection
LATE = 1.5  # seconds from the request that changes the item, 99 of 100
FILES = 10  # more than before
GROUP = "all"


class Counted(msgspec.Struct):
    """What the followers of one process have seen."""

    updates: int = 0
    lost: int = 0
    doubled: int = 0
    sent_away: int = 0
    behind: int = 0  # that did not have the last change in the end
    took: list[float] = []


def follow(pipe: Pipe, port: int, followers: int, churn: int) -> None:
    """In a process of its own: connects, says so, goes on until it is told the number of the last change, and gives a `Counted`."""

    async def main() -> None:
        counted, here = Counted(), list[Client]()
        loop = asyncio.get_running_loop()

        async def connect() -> Client:
            _, client = await loop.create_connection(lambda: Client(GROUP, False, counted.took), "127.0.0.1", port)
            await asyncio.wait_for(client.joined, 60)
            return client

        def leave(client: Client) -> None:
            counted.updates += client.updates
            counted.lost += client.lost
            counted.doubled += client.doubled
            counted.sent_away += client.closed
            client.transport.abort()

        for _ in range(followers // AT_ONCE):
            here += await asyncio.gather(*(connect() for _ in range(AT_ONCE)))
        pipe.send(len(here))
        last = loop.run_in_executor(None, pipe.recv)
        while not last.done():
            began = time.monotonic()
            for client in here[:churn]:
                leave(client)
            await asyncio.wait([last], timeout=0.5)  # the app has no room for more than were here, and has to notice
            here = here[churn:] + [await connect() for _ in range(churn)]
            await asyncio.wait([last], timeout=max(0.0, 1.0 - (time.monotonic() - began)))
        deadline = time.monotonic() + 60
        while (behind := [c for c in here if c.last.get("i") != last.result()]) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        counted.behind = len(behind)
        for client in here:
            leave(client)
        pipe.send(msgspec.json.encode(counted))

    uvloop.run(main())


def processes(port: int, stack: ExitStack) -> Iterator[Pipe]:
    context = multiprocessing.get_context("spawn")
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        process: Any = context.Process(
            target=follow, args=(theirs, port, FOLLOWERS // PROCESSES, CHURN // PROCESSES), daemon=True
        )
        process.start()
        stack.callback(process.kill)
        yield ours


def test_ten_thousand_follow_while_others_come_and_go(tmp_path: Path) -> None:
    with running_app(write_project(tmp_path, SPEC, put=PUT)) as app, ExitStack() as stack:
        pid = app.process.pid
        client = stack.enter_context(httpx.Client(base_url=app.url, timeout=60))

        def change(n: int) -> None:
            answer = client.put(f"/feed/{GROUP}/i", json={"n": n, "at": time.monotonic()})
            assert answer.status_code == 204, answer.text

        change(0)
        base, before = files(pid), memory(pid)
        pipes = list(processes(int(app.url.rpartition(":")[2]), stack))
        assert sum(pipe.recv() for pipe in pipes) == FOLLOWERS
        each = (memory(pid) - before) / FOLLOWERS
        began = time.monotonic()
        for n in range(1, SECONDS + 1):
            change(n)
            time.sleep(max(0.0, began + n - time.monotonic()))
        for pipe in pipes:
            pipe.send(SECONDS)
        found = [msgspec.json.decode(pipe.recv(), type=Counted) for pipe in pipes]
        ended = time.monotonic()
        wait_for(lambda: files(pid) < base + FILES, "connections stay open", 60)
        closed = time.monotonic() - ended
        grown = memory(pid) - before
    took = sorted(seconds for counted in found for seconds in counted.took)
    late = took[len(took) * 99 // 100]
    print(
        f"{len(took):,} changes arrived at {FOLLOWERS:,} followers in {SECONDS} s, p50 {took[len(took) // 2]:.2f} s, p99 {late:.2f} s, "
        f"most {took[-1]:.2f} s; {each * 1024:.1f} KiB each, {grown:.0f} MiB more in the end; closed after {closed:.1f} s"
    )
    lost, doubled, sent_away, behind = (
        sum(getattr(counted, what) for counted in found) for what in ("lost", "doubled", "sent_away", "behind")
    )
    assert (lost, doubled, sent_away, behind) == (0, 0, 0, 0)
    assert each < EACH
    assert late < LATE
    assert closed < 10
