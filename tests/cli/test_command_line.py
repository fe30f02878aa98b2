"""The frame of the command line: help, exit codes, did-you-mean, completion, what an import costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import COMMANDS, module_of, motia
from motia_runtime.version import __version__


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(motia, list(args), input=stdin)


def motia_process(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "motia_runtime", *args],
        cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def commands() -> list[tuple[str, str]]:
    return [(name, text) for section in COMMANDS.values() for name, text in section.items()]


@pytest.mark.parametrize(("name", "text"), commands())
def test_every_command_is_there_and_says_what_the_list_says(name: str, text: str) -> None:
    command = import_module(module_of(name)).command
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(200).rstrip(".") == text.rstrip(".")
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert f"Usage: motia {name}" in shown.stdout
    assert "--project" in shown.stdout


def test_help_lists_all_commands() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for name, _ in commands():
        assert f"  {name} " in shown.stdout


def test_no_command_shows_help_and_is_wrong_usage() -> None:
    assert run().exit_code == 2


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["create", "--help"], ["chekc"]])
def test_help_costs_click_and_nothing_else(args: list[str]) -> None:
    heavy = {
        "asyncio", "graphviz", "httptools", "httpx", "jsonschema", "litestar", "logging", "motia_generator", "motia_spec", "msgspec", "nats",
        "networkx", "rich", "uvicorn", "watchfiles", "yaml",
    }  # fmt: skip
    if args == ["chekc"]:
        heavy -= {"logging", "msgspec"}  # printing an error masks and escapes
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr))\n"
        "from motia_runtime.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60, check=False
    )
    (loaded,) = [line for line in done.stderr.splitlines() if line.startswith("LOADED")]
    assert "click" in loaded.split()
    assert heavy & set(loaded.split()) == set()


def test_version() -> None:
    shown = run("--version")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"motia {__version__} (Python 3.")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["chekc"], "no command 'chekc'; did you mean `motia check`?"),
        (["zzz"], "no command 'zzz'; there are: create, import,"),
        (["state", "lst"], "did you mean `motia state ls`?"),
        (["check", "--formt", "json"], "--format"),
        (["check", "--format", "yaml"], "'yaml' is not one of 'text', 'json', 'github', 'sarif'"),
        (["-C", "/nowhere/at/all", "check"], "-C /nowhere/at/all: no such folder"),
        (["check", "/nowhere/at/all"], "/nowhere/at/all: no such file or folder"),
        (["trace", "show", "xyz"], "'xyz' is no trace id"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_2(args: list[str], message: str) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: ")
    assert message in first
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [["check"], ["gen"], ["graph"], ["state", "ls"], ["dlq", "ls"], ["trace", "ls"], ["config", "show"], ["plan"]],
)
def test_outside_a_project_all_say_how_to_begin(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*args)
    assert done.exit_code == 2
    assert f"no motia.yaml in {tmp_path} or above it; `motia create` starts a project" in done.stderr


def test_the_project_is_found_from_below_and_by_option_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("create", str(tmp_path / "app")).exit_code == 0
    below = tmp_path / "app" / "steps"
    monkeypatch.chdir(below)
    assert run("check").exit_code == 0
    monkeypatch.chdir("/")
    assert run("-C", str(below), "check").exit_code == 0
    assert run("check", "-C", str(tmp_path / "app")).exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    shown = run("completion", shell)
    assert shown.exit_code == 0
    assert f"_MOTIA_COMPLETE={shell}_complete" in shown.stdout


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [
        ("motia ch", 1, "check"),
        ("motia state g", 2, "get"),
        ("motia graph --format m", 3, "mermaid"),
        ("motia explain M00", 2, "M001"),
    ],
)
def test_completion_completes(words: str, at: int, expected: str) -> None:
    done = motia_process(_MOTIA_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(at))
    assert f"plain,{expected}" in done.stdout.split()


def test_explain() -> None:
    listed = run("explain")
    assert listed.exit_code == 0
    assert "M001" in listed.stdout
    one = run("explain", "m001")
    assert one.exit_code == 0
    assert one.stdout.startswith("M001 ")
    assert "For example:" in one.stdout
    codes = json.loads(run("explain", "--json").stdout)
    assert json.loads(run("explain", "M001", "--json").stdout) == codes[0]
    wrong = run("explain", "M01")
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.stderr


def test_an_unforeseen_error_is_one_line_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("motia_runtime.cli.create._refuse_unless_empty", fail)
    monkeypatch.delenv("MOTIA_DEBUG", raising=False)
    quiet = run("create", "x")
    assert quiet.exit_code == 1
    assert (
        quiet.stderr
        == "error: this should not happen: ZeroDivisionError: division; run it with --debug for the traceback\n"
    )
    assert "Traceback" in run("create", "x", "--debug").stderr
    monkeypatch.setenv("MOTIA_DEBUG", "1")
    assert "Traceback" in run("create", "x").stderr


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("motia_runtime.cli.create._refuse_unless_empty", interrupt)
    done = run("create", "x")
    assert done.exit_code == 130
    assert done.output.strip() == ""


def test_a_file_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("create", str(tmp_path / "file" / "app"))
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "Not a directory" in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    reader = f"{sys.executable} -m motia_runtime explain | true"
    done = subprocess.run(["sh", "-c", reader], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_colour_follows_no_color_and_the_terminal() -> None:
    plain = motia_process("chekc")
    forced = motia_process("chekc", FORCE_COLOR="1")
    off = motia_process("chekc", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b" not in plain.stderr
    assert "\x1b[31merror: " in forced.stderr
    assert "\x1b" not in off.stderr
    assert plain.returncode == forced.returncode == off.returncode == 2
