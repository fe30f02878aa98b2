"""The original's published clients of streams, unchanged, in real Node: what a frontend that was written for it needs from our server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.process import running_app, write_project

HERE = Path(__file__).parent
SPEC = """
name: npm
streams:
  board: {schema: {type: object}}
  guarded: {access: steps/door.py:may}
server: {streamAuth: steps/door.py:who}
steps:
  Do: {type: api, method: POST, path: /do, uses: {streams: [board, guarded]}}
"""
DO = """
import asyncio

async def handler(request, ctx):
    await asyncio.gather(*(getattr(ctx.streams[name], method)(*args) for name, method, *args in request.body))
"""
DOOR = """
def who(headers, query):
    return query["authToken"]

def may(group, id, auth):
    return group == auth
"""


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages of package.json beside it; they stay in node_modules, which git ignores."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("no Node with npm on this machine: the published clients are not run")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"Node {version.strip()} is too old, 20 or newer is needed: the published clients are not run")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        installed.touch()
    return found


def test_the_published_clients_work(node: str, tmp_path: Path, nats_server: Any) -> None:
    folder = write_project(tmp_path, SPEC, do=DO, door=DOOR)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        run = subprocess.run(
            [node, "--test", "--test-force-exit", "clients.test.mjs"],
            cwd=HERE,
            env={"PATH": str(Path(node).parent), "NODE_NO_WARNINGS": "1", "APP_A": one.url, "APP_B": two.url},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr + one.output
    assert "pass 6" in run.stdout, run.stdout
