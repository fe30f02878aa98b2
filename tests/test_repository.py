"""What the repository promises about itself: pins, licences of no surprise, commands that are documented."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pins(lock: str) -> set[str]:
    lines = (ROOT / lock).read_text().splitlines()
    return {line.removesuffix("\\").strip() for line in lines if re.match(r"[a-z0-9]", line)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_pinned_with_a_hash(lock: str) -> None:
    text = (ROOT / lock).read_text()
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    if lock == "requirements-dev.lock":
        wanted += [entry for entry in PROJECT["dependency-groups"]["dev"] if isinstance(entry, str)]
    assert {name_of(entry) for entry in wanted} <= {name_of(pin) for pin in pins(lock)}
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_both_locks_agree() -> None:
    assert pins("requirements.lock") <= pins("requirements-dev.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_a_host(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()


def test_every_dependency_is_a_decision() -> None:
    decision = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    table = "".join(line.split("|")[1] for line in decision.splitlines() if line.startswith("| "))
    listed = {name_of(name) for name in re.findall(r"[A-Za-z0-9_-]+", table)}
    assert {name_of(entry) for entry in PROJECT["project"]["dependencies"]} <= listed


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        env={
            k: v for k, v in os.environ.items() if not k.startswith("MAKE")
        },  # the tests may be run by a make themselves
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )  # make as on PATH
    assert [line.split()[1] for line in done.stdout.splitlines()] == phony.split()


@pytest.mark.parametrize("version", ["3.10.12", None])
def test_an_old_or_missing_python_is_said_clearly(version: str | None, tmp_path: Path) -> None:
    if version is not None:
        fake = tmp_path / "python3"
        fake.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "Python {version}";; *) exit 1;; esac\n')
        fake.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", ". ./.ci/python"],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert (f"found Python {version} (python3)" if version else "found none") in done.stderr


def test_links_in_the_readme_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "quickstart.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
