"""Both workers that come with us keep the protocol, and the kit finds one that does not."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from motia_runtime.conformance.cases import CASES
from motia_runtime.remote import node
from support.process import clean_environ

MOTIA = [sys.executable, "-m", "motia_runtime"]
FORGETFUL = """
import sys
from motia_runtime.remote.python.line import Line
Line.effects = lambda self: []
from motia_runtime.cli import main
sys.argv = ["motia", "worker", "--language", "python"]
main()
"""


def conformance(worker: list[str], handlers: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*MOTIA, "conformance", "--worker", shlex.join(worker), "--handlers", handlers, *args],
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def tried() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Side by side: they mostly wait."""
    started = {"python": conformance([*MOTIA, "worker", "--language", "python"], "python")}
    try:
        node.find()
    except node.NoNode:
        pass
    else:
        started["node"] = conformance([*MOTIA, "worker", "--language", "node"], "node")
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("language", ["python", "node"])
def test_our_worker_conforms(tried: dict[str, subprocess.Popen[str]], language: str) -> None:
    if language not in tried:
        pytest.skip("there is no Node 20 or newer")
    said = tried[language].communicate(timeout=240)[0]
    assert f"{len(CASES)} of {len(CASES)} cases passed" in said, said
    assert tried[language].returncode == 0


def test_a_worker_that_forgets_effects_is_found() -> None:
    process = conformance([sys.executable, "-c", FORGETFUL], "python", "--only", "written")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1, said
    assert "FAILED  reads see what the run has written" in said
    assert "0 of" in said or "1 of" in said


def test_a_worker_that_serves_nothing_is_told_so() -> None:
    process = conformance([sys.executable, "-c", "print('I am no worker')"], "python")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "the worker does not serve Answer, Brief, Many, Pair, Script, Tick as endpoints of a micro service" in said
    assert "I am no worker" in said
