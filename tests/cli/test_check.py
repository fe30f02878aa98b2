"""`motia check`: where the spec may come from, what the formats are, what the exit codes mean. The findings themselves are tested with the rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia

GOOD = """
motia: "1"
name: demo
steps:
  Hello: { type: api, method: GET, path: /hello }
"""
BAD = GOOD.replace("method: GET", "methd: GET")
ODD = GOOD + "topics: { never.used: {} }\n"


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(motia, list(args), input=stdin)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "hello.py").write_text("async def handler(request, ctx):\n    return None\n")
    (tmp_path / "motia.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_spec(project: Path) -> None:
    done = run("check")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "ok: 1 step, 0 topics, 1 flow\n"
    assert run("check", str(project)).exit_code == 0
    assert run("check", str(project / "motia.yaml")).exit_code == 0


def test_errors_show_place_and_caret_and_exit_with_1(project: Path) -> None:
    (project / "motia.yaml").write_text(BAD)
    done = run("check")
    assert done.exit_code == 1
    assert "motia.yaml:5:23" in done.stdout
    assert 'did you mean "method"?' in done.stdout
    assert "^^^^^" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 error"


def test_warnings_fail_only_when_strict(project: Path) -> None:
    (project / "motia.yaml").write_text(ODD)
    lax = run("check")
    assert lax.exit_code == 0
    assert "warning" in lax.stdout
    assert run("check", "--strict").exit_code == 1


@pytest.mark.usefixtures("project")
def test_a_spec_from_stdin() -> None:
    assert run("check", "-", stdin=GOOD).exit_code == 0
    bad = run("check", "-", stdin=BAD)
    assert bad.exit_code == 1
    assert "motia.yaml:5:23" in bad.stdout


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\0", b"", b"a: [", b"[" * 100_000])
@pytest.mark.usefixtures("project")
def test_any_bytes_on_stdin_give_a_finding_or_a_line(raw: bytes) -> None:
    done = run("check", "-", stdin=raw)
    assert done.exit_code in (1, 2)
    assert done.stdout or done.stderr.startswith("error: ")
    assert "should not happen" not in done.stderr


def test_formats(project: Path) -> None:
    (project / "motia.yaml").write_text(BAD)
    found = json.loads(run("check", "--format", "json").stdout)
    assert len(found if isinstance(found, list) else found["diagnostics"]) == 1
    assert run("check", "--format", "github").stdout.startswith("::error file=motia.yaml,line=5,")
    sarif = json.loads(run("check", "--format", "sarif").stdout)
    assert sarif["version"] == "2.1.0"
    assert len(sarif["runs"][0]["results"]) == 1
    assert run("check", "--format", "sarif").exit_code == 1


@pytest.mark.parametrize("form", ["json", "sarif"])
@pytest.mark.usefixtures("project")
def test_formats_for_machines_say_so_when_there_is_nothing(form: str) -> None:
    done = run("check", "--format", form)
    assert done.exit_code == 0
    json.loads(done.stdout)


def test_dotenv_fills_variables_but_not_over_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_NAME", "")  # so that the end of the test removes what .env sets
    monkeypatch.delenv("APP_NAME")
    (project / "motia.yaml").write_text(GOOD.replace("name: demo", "name: ${APP_NAME:?set it}"))
    assert run("check").exit_code == 1
    (project / ".env").write_text("APP_NAME=from-file\n")
    assert "from-file" in run("config", "show").stdout
    monkeypatch.setenv("APP_NAME", "from-shell")
    assert "from-shell" in run("config", "show").stdout


def test_a_broken_dotenv_names_the_line(project: Path) -> None:
    (project / ".env").write_text("A=1\nwhat\n")
    done = run("check")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: .env:2: expected KEY=VALUE")


def test_config_show_merges_masks_and_tells_origins(project: Path) -> None:
    (project / "motia.prod.yaml").write_text("nats: { url: 'nats://me:hunter2@host:4222' }\n")
    plain = run("config", "show", "--env", "prod", "--json")
    assert json.loads(plain.stdout)["nats"] == {"url": "nats://***@host:4222"}
    assert "hunter2" not in run("config", "show", "--env", "prod").stdout
    origins = json.loads(run("config", "show", "--origins", "--env", "prod", "--json").stdout)
    places = {entry["path"]: entry["origin"] for entry in origins}
    assert places["/nats/url"].startswith("motia.prod.yaml:1:")
    assert places["/steps/Hello/path"].startswith("motia.yaml:5:")


def test_config_show_of_a_broken_file_shows_the_finding(project: Path) -> None:
    (project / "motia.yaml").write_text("a: [")
    done = run("config", "show")
    assert done.exit_code == 1
    assert "motia.yaml:1:" in done.stderr


def test_graph(project: Path) -> None:
    assert run("graph").stdout.startswith("digraph")
    assert json.loads(run("graph", "--format", "json").stdout)["name"] == "demo"
    assert run("graph", "-o", "flow.svg").exit_code == 0
    assert "<svg" in (project / "flow.svg").read_text()
    assert run("graph", "-o", "flow.png").exit_code == 0
    assert (project / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert run("graph", "-o", "flow.txt").exit_code == 2
    missing = run("graph", "--flow", "nope")
    assert missing.exit_code == 2
    assert "nope" in missing.stderr


def test_gen_writes_checks_and_shows_the_difference(project: Path) -> None:
    assert run("gen", "--check").exit_code == 1
    first = run("gen")
    assert first.exit_code == 0
    assert "motia_types/__init__.py" in first.stdout
    assert run("gen", "--check").exit_code == 0
    again = run("gen")
    assert (again.exit_code, again.stdout) == (0, "")

    (project / "motia.yaml").write_text(GOOD + "  More: { type: api, method: GET, path: /more }\n")
    assert run("gen", "--check").exit_code == 1
    shown = run("gen", "--diff")
    assert shown.exit_code == 1
    assert "+++" in shown.stdout
    assert "More" in shown.stdout
    assert not (project / "steps" / "more.py").exists()

    stub = run("gen")
    assert "steps/more.py" in stub.stdout
    assert (project / "steps" / "hello.py").read_text().startswith("async def handler(request, ctx)")


def test_gen_refuses_to_write_over_what_people_wrote(project: Path) -> None:
    (project / "motia_types").mkdir()
    mine = project / "motia_types" / "__init__.py"
    mine.write_text("# mine\n")
    done = run("gen")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "motia_types/__init__.py" in done.stderr
    assert mine.read_text() == "# mine\n"


def test_gen_of_a_broken_spec_writes_nothing(project: Path) -> None:
    (project / "motia.yaml").write_text(BAD)
    done = run("gen")
    assert done.exit_code == 1
    assert "motia.yaml:5:23" in done.stderr
    assert not (project / "motia_types").exists()
