"""Every hostile spec, given to `motia check` as a process of its own: a clear finding, in bounded time and memory, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia
from support.corpus import Entry, defaults, inputs, raw
from support.measured import Measured, measured_motia

LIMITS = defaults("spec")
TRIES = 3  # the limit is for a quiet machine: one of them has to keep it


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes; links and folders as None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def gen(folder: Path) -> tuple[int, str]:
    """`motia gen`: its exit code, and all it printed."""
    done = CliRunner().invoke(motia, ["-C", str(folder), "gen"])
    return done.exit_code, done.output


def codes(ran: Measured, severity: str) -> set[str]:
    return {finding["code"] for finding in json.loads(ran.stdout) if finding["severity"] == severity}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "app"
    made.mkdir()
    return made


@inputs("spec")
def test_a_hostile_spec_is_judged(entry: Entry, folder: Path, tmp_path: Path) -> None:
    (folder / "motia.yaml").write_bytes(raw(entry) + entry.get("completed", "").encode())
    for link, target in entry.get("setup", {}).get("link", {}).items():
        (folder / link).parent.mkdir(parents=True, exist_ok=True)
        (folder / link).symlink_to(target)
    if "completed" in entry:
        assert gen(folder)[0] == 0  # stubs for its handlers
    before = contents(folder)

    for _ in range(TRIES):
        ran = measured_motia(folder, tmp_path, "check", "--format", "json")
        if ran.cpu <= LIMITS["max_seconds"]:
            break

    expect = entry["expect"]
    assert ran.code == expect["exit"], ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert ran.cpu <= LIMITS["max_seconds"]
    assert ran.peak_mib <= LIMITS["max_rss_mib"]
    assert "Traceback" not in ran.stdout
    errors = codes(ran, "error")
    if "code" in expect:
        assert expect["code"] in errors
    else:
        assert not errors
    if "warns" in expect:
        assert expect["warns"] in codes(ran, "warning")
    if expect["exit"]:
        code, printed = gen(folder)
        assert code == 1
        assert expect["code"] in printed
        assert "Traceback" not in printed
    assert contents(folder) == before
