"""A long life in minutes: a restart with a million events stored, hundreds of reloads, thousands of connections, readers that never read (L3, L4, L8, L10)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motia_runtime.naming import state_subject
from motia_runtime.ports import Log
from support.process import AppProcess, running_app, write_project
from support.sockets import TestSocket, connect
from support.stored import with_log
from support.waiting import wait_for

pytestmark = pytest.mark.long

EVENTS, KEYS = 1_000_000, 100_000
AT_ONCE = 2_000  # appends
RELOADS = 200
CONNECTIONS, TOGETHER = 10_000, 100
READERS, DEAF = 900, 100
CHANGES, PAD = 60, 4_000  # of an item while they read, and bytes of each
MiB = 1 << 20
GROWTH = 20 * MiB  # over hundreds of reloads or thousands of connections, after the first of them
EACH = 256 << 10  # bytes of the app's memory for one that does not read, its socket's buffers aside
FILES = 10  # more than before

SPEC = """
name: old
nats: {prefix: old}
topics: {done: {}}
state: {keys: {}}
streams: {board: {schema: {type: object}}}
steps:
  Get: {type: api, method: GET, path: /get}
  Set: {type: api, method: POST, path: /set, uses: {streams: [board]}}
"""
HANDLERS = {
    "get": """
        async def handler(request, ctx):
            return {"status": 200, "body": {"version": 0}}
        """,
    "set": """
        async def handler(request, ctx):
            await ctx.streams.board.set("g", "item", request.body)
        """,
}


def memory(app: AppProcess) -> int:
    """Bytes of its own that are in memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{app.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def files(app: AppProcess) -> int:
    return len(os.listdir(f"/proc/{app.process.pid}/fd"))


def port(app: AppProcess) -> int:
    return int(app.url.rpartition(":")[2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, **HANDLERS)


async def stored(log: Log) -> tuple[int, int]:
    """Events and keys."""
    return sum((await log.counts("ev.done")).values()), sum((await log.counts("st.keys.*")).values())


async def fill(log: Log) -> None:
    for start in range(0, EVENTS, AT_ONCE):
        await asyncio.gather(*(log.append("ev.done", b'{"n":%d}' % n) for n in range(start, start + AT_ONCE)))
    for start in range(0, KEYS, AT_ONCE):
        some = range(start, start + AT_ONCE)
        await asyncio.gather(*(log.append(state_subject("keys", f"k{n}"), b"%d" % n) for n in some))


def test_a_million_stored_events_are_no_burden_to_a_restart(folder: Path) -> None:
    with running_app(folder) as app:
        with_log(folder, fill)
        assert app.stop() == 0
    for how in ("stopped", "killed"):
        began = time.monotonic()
        with running_app(folder) as app:
            print(f"ready in {time.monotonic() - began:.1f} s after it was {how}, {memory(app) / MiB:.0f} MiB")
            assert httpx.get(app.url + "/get").json() == {"version": 0}
            assert with_log(folder, stored) == (EVENTS, KEYS)
            app.kill()


def test_reloads_leave_nothing_behind(folder: Path) -> None:
    step = folder / "steps" / "get.py"
    source = step.read_text()
    grown: list[tuple[int, int]] = []
    with running_app(folder, "dev") as app, httpx.Client(base_url=app.url, timeout=30) as client:
        for version in range(1, RELOADS + 1):
            step.write_text(source.replace('"version": 0', f'"version": {version}'))
            wait_for(
                lambda version=version: client.get("/get").json() == {"version": version}, f"not version {version}"
            )
            if version % (RELOADS // 4) == 0:
                grown.append((memory(app), files(app)))
    print("after each quarter: " + ", ".join(f"{size / MiB:.0f} MiB, {count} files" for size, count in grown))
    assert grown[-1][0] - grown[0][0] < GROWTH
    assert grown[-1][1] - grown[0][1] < FILES


async def _get(app: AppProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port(app))
    writer.write(f"GET /get HTTP/1.1\r\nHost: 127.0.0.1:{port(app)}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.transport.abort()


async def _follow(app: AppProcess) -> None:
    socket = await connect(port(app))
    await socket.join("board", "g")
    await socket.next(60)
    await socket.close()


@pytest.mark.parametrize("use", [_get, _follow], ids=["http", "websocket"])
def test_connections_leave_nothing_behind(folder: Path, use: Any) -> None:
    async def round_(app: AppProcess) -> None:
        for _ in range(CONNECTIONS // 4 // TOGETHER):
            await asyncio.gather(*(use(app) for _ in range(TOGETHER)))

    grown = []
    with running_app(folder) as app:
        base = files(app)
        for _ in range(4):
            asyncio.run(round_(app))
            wait_for(lambda: files(app) < base + FILES, "connections stay open")
            grown.append(memory(app))
    print("after each quarter: " + ", ".join(f"{size / MiB:.0f} MiB" for size in grown))
    assert grown[-1] - grown[0] < GROWTH


@contextlib.contextmanager
def times(into: dict[int, list[float]]) -> Iterator[list[float]]:
    """When each change was sent; afterwards `into` has the seconds until each reader had it."""
    sent: list[float] = []
    yield sent
    for n, when in enumerate(sent):
        into[n] = sorted(each - when for each in into.get(n, []))


async def read(socket: TestSocket, last: str, had: dict[int, list[float]]) -> None:
    while True:
        frame = await socket.next(120)
        data = frame["event"].get("data")
        if frame["event"]["type"] in ("create", "update") and data["phase"] == last:
            had.setdefault(data["n"], []).append(time.monotonic())
            if data["n"] == CHANGES - 1:
                return


async def change(app: AppProcess, phase: str, sent: list[float]) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for n in range(CHANGES):
            sent.append(time.monotonic())
            body = {"phase": phase, "n": n, "pad": "x" * PAD}
            assert (await client.post(app.url + "/set", json=body)).status_code in (200, 204)
            await asyncio.sleep(0.1)


async def readers(app: AppProcess) -> None:
    sockets, deaf = [], []
    for _ in range(READERS):
        sockets.append(await connect(port(app)))
        await sockets[-1].join("board", "g")
    before = 0
    for phase in ("alone", "beside"):
        if phase == "beside":
            before = memory(app)
            for _ in range(DEAF):
                deaf.append(await connect(port(app)))
                await deaf[-1].join("board", "g")
        had: dict[int, list[float]] = {}
        with times(had) as sent:
            async with asyncio.TaskGroup() as group:
                for socket in sockets:
                    group.create_task(read(socket, phase, had))
                group.create_task(change(app, phase, sent))
        every = sorted(took for each in had.values() for took in each)
        assert len(had[CHANGES - 1]) == READERS, "each has the last state"
        print(
            f"{phase}: {len(every)} of {CHANGES * READERS} changes arrived, p50 {every[len(every) // 2]:.2f} s, p99 {every[len(every) * 99 // 100]:.2f} s"
        )
    grown = memory(app) - before
    print(f"{grown / MiB:.1f} MiB for {DEAF} that do not read")
    assert grown < DEAF * EACH + GROWTH
    for socket in (*sockets, *deaf):
        await socket.close()


def test_who_never_reads_costs_little_and_holds_up_nobody(folder: Path) -> None:
    with running_app(folder) as app:
        base = files(app)
        asyncio.run(readers(app))
        wait_for(lambda: files(app) < base + FILES, "connections stay open", 60)
        assert "Traceback" not in app.output
