"""The TypeScript compiler, pinned in package-lock.json; installed into this folder once, ignored by git."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Finding = tuple[str, int, int, str]  # file, line, code, message
Compile = Callable[..., dict[Path, list[Finding]]]


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the packages of package.json beside this file."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("no Node with npm on this machine: TypeScript is not compiled")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"Node {version.strip()} is too old, 20 or newer is needed: TypeScript is not compiled")
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # files of tests run side by side
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
            installed.touch()
    return found


@pytest.fixture(scope="session")
def tsc(node: str) -> Compile:
    """Compile folders strictly, all in one process: folder -> findings."""

    def run(*folders: Path) -> dict[Path, list[Finding]]:
        command = [node, str(HERE / "compile.mjs"), *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            Path(folder): [(f, n, c, m) for f, n, c, m in found] for folder, found in json.loads(done.stdout).items()
        }

    return run
