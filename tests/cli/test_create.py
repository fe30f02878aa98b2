"""`motia create`: templates that are right as they come, and folders that are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from motia_runtime.cli.create import TEMPLATES
from motia_runtime.cli.root import motia


def run(*args: str, stdin: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(motia, list(args), input=stdin)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_created_project_checks_generates_and_type_checks(template: str, tmp_path: Path) -> None:
    app = tmp_path / "My App"
    code, out, err = run("create", str(app), "-t", template)
    assert code == 0, err
    assert sorted(out.splitlines()) == sorted(str(p) for p in app.rglob("*") if p.is_file())
    assert "cd '" in err
    assert "name: My-App" in (app / "motia.yaml").read_text()
    assert not [p for p in app.rglob("*") if p.is_file() and "__name__" in p.read_text()]

    code, out, err = run("check", "--strict", str(app))
    assert (code, out) == (0, "")
    assert err.startswith("ok: ")

    before = {p: p.read_text() for p in app.rglob("*") if p.is_file()}
    code, out, err = run("-C", str(app), "gen")
    assert code == 0, err
    assert all(p.read_text() == text for p, text in before.items()), "gen wrote a stub over a handler or changed a file"
    assert run("-C", str(app), "gen", "--check")[0] == 0

    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "steps"],
        cwd=app, env={**os.environ, "MYPYPATH": "."}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert mypy.returncode == 0, mypy.stdout


def test_this_folder_when_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    code, _, err = run("create", ".")
    assert code == 0
    assert "next: motia dev" in err
    assert "name: app" in (tmp_path / "app" / "motia.yaml").read_text()


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").touch()
    monkeypatch.chdir(tmp_path)
    code, _, err = run("create", ".")
    assert code == 2
    assert "is not empty (it has README.md)" in err
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("make", [lambda p: p.touch(), lambda p: p.symlink_to("/nowhere")])
def test_what_is_no_folder_is_refused(make: object, tmp_path: Path) -> None:
    make(tmp_path / "app")  # type: ignore[operator]  # a lambda of the parameters
    code, _, err = run("create", str(tmp_path / "app"))
    assert code == 2
    assert "is there already and is not a folder" in err


def test_interactive_asks_for_name_and_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("create", "-i", stdin="shop\nevents\n")
    assert code == 0
    assert "Name of the project" in err
    assert "note.added" in (tmp_path / "shop" / "motia.yaml").read_text()
    assert "shop/motia.yaml" in out.splitlines()


def test_interactive_without_input_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("create", "-i", stdin="")
    assert code == 1
    assert err.rstrip().endswith("aborted: no more input")
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_needed_and_must_have_a_letter(tmp_path: Path) -> None:
    assert run("create")[0] == 2
    code, _, err = run("create", str(tmp_path / "ÄÖ"))
    assert code == 2
    assert "'ÄÖ' can't name an app" in err
