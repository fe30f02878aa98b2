"""The docs are run: files that a page shows (```yaml motia.yaml, ```python steps/x.py) make a project that checks, type-checks and passes its own tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.process import motia

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("handlers.md", "streams.md", "testing.md")
_FILE = re.compile(r"^```\w+ ([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page, tmp_path):
    files = _FILE.findall((DOCS / page).read_text())
    assert files, f"{page} shows no files any more"
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    checked = motia(tmp_path, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert motia(tmp_path, "gen").returncode == 0
    types = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "motia_types", "steps"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert types.returncode == 0, types.stdout
    if any(name.startswith("test_") for name, _ in files):
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert tests.returncode == 0, tests.stdout


def test_no_page_links_into_the_void():
    root = DOCS.parent
    for page in (*DOCS.rglob("*.md"), root / "README.md"):
        for target in _LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(root)} links to {target}, which is not there"
