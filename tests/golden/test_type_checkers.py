"""mypy and pyright on generated types: right handlers pass, and each wrong line is an error in both."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from motia_generator import generate, stubs, writer
from motia_spec import compile_project

HERE = Path(__file__).parent
PROJECTS = sorted(path.name for path in (HERE / "projects").iterdir())
WRITTEN = {"parcels": 5, "shop": 30}  # projects with handlers, and more than how many lines of bad.py are wrong
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each golden project with its generated package, its stubs, and the handlers that are written for it."""
    root = tmp_path_factory.mktemp("typed")
    for name in PROJECTS:
        project = compile_project(HERE / "projects" / name, handlers=False, environ={}).require()
        writer.write(root / name, generate(project), stubs(project))
    for name in WRITTEN:
        shutil.copytree(HERE / "handlers" / name, root / name, dirs_exist_ok=True)
    return root


@pytest.fixture(scope="session")
def mypy(workshop: Path) -> dict[str, list[tuple[str, int, str]]]:
    """Errors by project: file, line, message."""
    found = {}
    for name in PROJECTS:
        run = subprocess.run(
            [str(TOOLS / "mypy"), "--strict", "--no-error-summary", "--config-file=", f"--cache-dir={workshop / '.cache'}", "."],
            cwd=workshop / name, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode in (0, 1), run.stdout + run.stderr
        matches = (re.match(r"([^:]+):(\d+): error: (.*)", line) for line in run.stdout.splitlines())
        found[name] = [(m[1], int(m[2]), m[3]) for m in matches if m]
    return found


@pytest.fixture(scope="session")
def pyright(workshop: Path) -> dict[str, list[tuple[str, int, str]]]:
    found = {}
    for name in PROJECTS:
        run = subprocess.run(
            [str(TOOLS / "pyright"), "--pythonpath", sys.executable, "--outputjson", "."],
            cwd=workshop / name, capture_output=True, text=True,
        )  # fmt: skip
        report = json.loads(run.stdout)
        assert report["summary"]["filesAnalyzed"] > 0
        found[name] = [
            (Path(d["file"]).relative_to(workshop / name).as_posix(), d["range"]["start"]["line"] + 1, d["message"])
            for d in report["generalDiagnostics"]
            if d["severity"] == "error"
        ]
    return found


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
@pytest.mark.parametrize("name", PROJECTS)
def test_generated_packages_stubs_and_right_handlers_pass(name: str, tool: str, request: pytest.FixtureRequest) -> None:
    errors = request.getfixturevalue(tool)[name]
    assert [e for e in errors if e[0] != "bad.py"] == []


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
@pytest.mark.parametrize("name", WRITTEN)
def test_each_wrong_line_is_an_error(name: str, tool: str, request: pytest.FixtureRequest) -> None:
    lines = (HERE / "handlers" / name / "bad.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# wrong" in line}
    assert len(wrong) > WRITTEN[name]
    assert {line for file, line, _ in request.getfixturevalue(tool)[name] if file == "bad.py"} == wrong
