"""`motia import` on small projects in the original's style: what it writes, what it says, that it runs nothing, and that the result behaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from motia_generator import generate, stubs, writer
from motia_generator.importing import NotAProject, read_project
from motia_runtime.cli.errors import Refusal
from motia_runtime.cli.import_ import command
from motia_spec import compile_project
from support.process import motia

HERE = Path(__file__).parent
PROJECTS = sorted(path.name for path in (HERE / "projects").iterdir())
UPDATE = os.environ.get("MOTIA_GOLDEN") == "update"


def copied(name: str, folder: Path) -> Path:
    """A copy of a project, imported."""
    root = folder / name
    shutil.copytree(HERE / "projects" / name, root)
    (root / "motia.yaml").write_text(read_project(root).text)
    return root


@pytest.mark.parametrize("name", PROJECTS)
def test_what_a_project_becomes(name: str) -> None:
    found = read_project(HERE / "projects" / name)
    notes = "".join(f"{note.file}:{note.line}: {note.text}\n" for note in found.notes)
    for ending, text in ((".yaml", found.text), (".notes", notes)):
        stored = HERE / "expected" / f"{name}{ending}"
        if UPDATE:
            stored.parent.mkdir(exist_ok=True)
            stored.write_text(text)
        assert text == stored.read_text()


@pytest.mark.parametrize("name", sorted({*PROJECTS} - {"models"}))
def test_an_imported_project_checks(name: str, tmp_path: Path) -> None:
    root = copied(name, tmp_path)
    project = compile_project(root, environ={}, handlers=False).require()
    written = writer.write(root, generate(project), stubs(project))
    assert [path for path in written.stubs if path.endswith((".ts", ".js", "step.py"))] == [], "handlers are kept"
    checked = compile_project(root, environ={})
    assert {d.code for d in checked.diagnostics} - {"M509"} == set()
    assert checked.ok
    noted = [d for d in checked.diagnostics if d.code == "M509"]
    assert len(noted) == sum(getattr(step, "handler", None) is not None for step in project.steps.values())


def test_what_cannot_be_read_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = copied("models", tmp_path)
    checked = compile_project(root, environ={})
    assert [d.code for d in checked.diagnostics if d.severity == "error"] == ["M402"], "the path that is a pattern"


def test_the_command(tmp_path: Path) -> None:
    root = tmp_path / "python"
    shutil.copytree(HERE / "projects" / "python", root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    done = motia(root, "import")
    assert done.returncode == 0, done.stderr
    assert "4 steps, 2 topics, 1 stream; nothing was left out" in done.stderr
    assert (root / "motia.yaml").read_text() == (HERE / "expected" / "python.yaml").read_text()
    assert {path: path.read_bytes() for path in root.rglob("*") if path in before} == before

    def run(*args: str) -> Result:
        return CliRunner().invoke(command, [*map(str, args)])

    again = run(str(root))
    assert again.exit_code == 2
    assert "is there already; --force" in again.stderr
    assert run(str(root), "--force").exit_code == 0
    shown = run(str(HERE / "projects" / "models"), "--dry-run")
    assert shown.stdout == (HERE / "expected" / "models.yaml").read_text()
    assert "src/wild.step.ts:3: transform: values are not transformed" in shown.stderr
    assert isinstance(run(str(HERE)).exception, Refusal)


def test_nothing_is_run_and_nothing_outside_is_read(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w').close()"
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a_step.py").write_text(
        f"from ...outside import secret\n{touch}\n"
        f"config = {{'type': 'event', 'name': 'A', 'subscribes': [secret, {touch}], 'emits': [], 'input': exec({touch!r})}}\n"
    )
    (root / "src" / "b.step.ts").write_text(
        f"require('fs').writeFileSync({str(canary)!r}, '')\nimport {{ secret }} from '../../outside'\n"
        "export const config = { type: 'event', name: 'B', subscribes: [secret, `${secret}`], emits: [] }\n"
    )
    (tmp_path / "outside.ts").write_text("export const secret = 'told'\n")
    (tmp_path / "outside.py").write_text("secret = 'told'\n")
    os.symlink(tmp_path / "outside.ts", root / "src" / "c.step.ts")
    found = read_project(root)
    assert not canary.exists()
    assert "told" not in found.text
    assert found.steps == 2


@pytest.mark.parametrize(
    "source",
    [
        "export const config = " + "[" * 5_000,
        "export const config = { a: " * 2_000,
        "export const config = " + "a?.b(" * 3_000,
        "export const config = " + "(" * 5_000 + "=> 1",
        "export const config = a as " + "<" * 5_000,
        "const a = b\nconst b = a\nexport const config = { ...a, type: a }",
        "import { config as x } from './a.step'\nexport { x as config }\n",
        "export const config = { type: 'event', name: 'A', subscribes: ['a'], ...{}, get b() {}, async *c() {}, [d]: 1, 'e': 2, 3: 4 }",
        "import z from 'zod'\nexport const s = z.lazy(() => s)\nexport const config = { type: 'event', name: 'A', subscribes: ['a'], input: s }",
        "export const config = " + "-" * 3_000 + "1",
        "export const config = `" + "${`" * 60,
        "export const config = `${",
        "enum A { B = ",
        "export { ",
        "import { ",
        "import ",
        "module.exports = ",
        "const { a } = require(",
        "\ufeffexport const config = 1n",
        "",
    ],
)
def test_any_script_is_read_or_left_out(source: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.step.ts").write_text(source)
    found = read_project(tmp_path)
    (tmp_path / "motia.yaml").write_text(found.text)
    compile_project(tmp_path, environ={})
    assert found.notes or found.steps == 1


@pytest.mark.parametrize(
    "source",
    [
        "config = " + "[" * 3_000,
        "config = config",
        "config = {'a': " * 90 + "1" + "}" * 90,
        "a = {**b}\nb = {**a}\nconfig = a",
        "class A(A): ...\nconfig = {'type': 'event', 'name': 'A', 'subscribes': ['a'], 'input': A.model_json_schema()}",
        "config = {'type': [], 'name': {}}",
        "config = {1: 2, None: 3, 'type': 'event', 'name': 'A', 'subscribes': 'a', 'emits': [5, {'topic': 6}], 'input': 7}",
        "config = {'type': 'api', 'name': 'A', 'method': 5, 'path': 6, 'queryParams': [7], 'responseSchema': {'x': 8}, 'middleware': [9]}",
        "config = {'type': 'event', 'name': 'A', 'infrastructure': {'handler': 5, 'queue': {'maxRetries': True}}}",
        "\0",
        "config = f'{1!r:>{2}}'",
    ],
)
def test_any_python_is_read_or_left_out(source: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a_step.py").write_text(source)
    found = read_project(tmp_path)
    assert found.notes or found.steps == 1


def test_texts_stay_data(tmp_path: Path) -> None:
    text = "${HOME} $$ : # '\"\n- {a: b} é !!python/object"
    (tmp_path / "src").mkdir()
    source = f"config = {{'type': 'event', 'name': 'A', 'description': {text!r}, 'subscribes': ['t'], 'input': {{'enum': [{text!r}]}}}}\n"
    (tmp_path / "src" / "a_step.py").write_text(source + "async def handler(input, context): ...\n")
    (tmp_path / "motia.yaml").write_text(read_project(tmp_path).text)
    project = compile_project(tmp_path, environ={"HOME": "no"}, handlers=False).require()
    assert project.steps["A"].description == text
    schema = project.topics["t"].schema
    assert schema is not None
    assert schema.value == {"enum": [text]}


def test_a_folder_without_steps(tmp_path: Path) -> None:
    with pytest.raises(NotAProject, match=r"none of \*\.step\.ts"):
        read_project(tmp_path)
