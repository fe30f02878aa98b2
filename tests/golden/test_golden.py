"""Whole small projects, compared with what is stored beside them. `MOTIA_GOLDEN=update pytest tests/golden` stores what is made now."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from motia_generator import generate, stubs, writer
from motia_runtime.types import load_types
from motia_spec import compile_project
from motia_spec.model import Project

PROJECTS = Path(__file__).parent / "projects"
NAMES = sorted(path.name for path in PROJECTS.iterdir())
UPDATE = os.environ.get("MOTIA_GOLDEN") == "update"


def compiled(name: str) -> Project:
    result = compile_project(PROJECTS / name, handlers=False, environ={})
    assert not [d for d in result.diagnostics if d.severity == "error"]
    return result.require()


@pytest.mark.parametrize("name", NAMES)
def test_generated_files_are_those_stored(name: str, tmp_path: Path) -> None:
    project = compiled(name)
    generated = generate(project)
    if UPDATE:
        writer.write(PROJECTS / name, generated, {})
    stored = {
        p.relative_to(PROJECTS / name).as_posix(): p.read_text()
        for p in (PROJECTS / name / "motia_types").rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }
    assert generated == stored


@pytest.mark.parametrize("name", NAMES)
def test_stubs_are_those_stored(name: str) -> None:
    made = "".join(f"# {path}\n{text}\n" for path, text in stubs(compiled(name)).items())
    stored = PROJECTS / name / "stubs.txt"
    if UPDATE:
        stored.write_text(made)
    assert made == stored.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_generated_code_runs_and_decodes(name: str) -> None:
    project = compiled(name)
    types = load_types(project, generate)
    for schema in project.all_schemas():
        types.codec(schema)
    import motia_types

    for exported in motia_types.__all__:
        assert getattr(motia_types, exported) is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_formatter_changes_nothing(name: str, tmp_path: Path) -> None:
    project = compiled(name)
    writer.write(tmp_path, generate(project), stubs(project))
    ruff = str(Path(sys.executable).with_name("ruff"))
    formatted = subprocess.run(
        [ruff, "format", "--isolated", "--diff", "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert formatted.stdout == ""
    assert formatted.returncode == 0, formatted.stderr
    linted = subprocess.run(
        [ruff, "check", "--isolated", "--select", "I,F,E9,W", "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert linted.returncode == 0, linted.stdout


def test_the_same_spec_gives_the_same_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    code = (
        "import sys, hashlib; from motia_spec import compile_project; from motia_generator import generate\n"
        f"p = compile_project({str(PROJECTS / 'odd')!r}, handlers=False, environ={{}}).project\n"
        "print(hashlib.sha256(repr(sorted(generate(p).items())).encode()).hexdigest())"
    )
    seen = set()
    for seed in ("0", "1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(
            subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        )
    assert len(seen) == 1


@pytest.mark.parametrize("name", NAMES)
def test_generated_files_hold_no_statement_but_declarations(name: str) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.AnnAssign, ast.Assign, ast.Expr, ast.If)
    for path, text in generate(compiled(name)).items():
        if path.endswith(".d.ts"):
            continue  # TypeScript's compiler holds that there are declarations only
        for node in ast.parse(text).body:
            assert isinstance(node, allowed), (path, ast.unparse(node))
            if isinstance(node, ast.Expr):
                assert isinstance(node.value, ast.Constant)
            if isinstance(node, ast.If):
                assert "TYPE_CHECKING" in ast.unparse(node.test)
