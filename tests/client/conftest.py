"""Node with the packages of package.json beside this file, and our client as one of them; installed into this folder once, ignored by git."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from motia_runtime.client import FOLDER

HERE = Path(__file__).parent
PACKAGE = HERE / "node_modules" / "motia-stream"
Node = Callable[..., None]


@pytest.fixture(scope="session")
def node() -> Node:
    """Run Node in this folder, where the packages of package.json are, and the client as one of them. Fails with what it said."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("no Node with npm on this machine: the stream client is not run")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"Node {version.strip()} is too old, 20 or newer is needed: the stream client is not run")
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        installed.touch()
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(FOLDER, PACKAGE, ignore=shutil.ignore_patterns("__*"))

    def call(*arguments: str, **environ: str) -> None:
        run = subprocess.run(
            [found, *arguments],
            cwd=HERE,
            env={"PATH": str(Path(found).parent), "NODE_NO_WARNINGS": "1"} | environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr

    return call
