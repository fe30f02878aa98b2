"""Our client of streams: run in real Node and in a real React, compiled strictly, served by an app, and shipped."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from motia_runtime.client import FILES, FOLDER, SERVED, client_pages
from motia_runtime.http.app import build_app
from motia_runtime.testing import _call
from motia_runtime.version import __version__
from motia_spec.model import Project, Stream

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "stream-client.md"
PACKAGE = HERE / "node_modules" / "motia-stream"  # as `conftest.node` puts it there
_BLOCK = re.compile(r"^```(js|tsx?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Node = Callable[..., None]


@pytest.mark.parametrize(("file", "builtin"), [("client", ""), ("client", "1"), ("react", "")])
def test_in_node(node: Node, file: str, builtin: str) -> None:
    own = ["--experimental-websocket"] if builtin else []  # Node 22 has it without being asked, and knows the flag
    node(*own, "--test", f"{file}.test.mjs", BUILTIN=builtin)


def test_types_are_those_of_the_code_and_refuse_what_they_should(node: Node) -> None:
    for name in ("motia-stream", "react"):  # a .js beside its .d.ts is not looked at
        shutil.copy(FOLDER / f"{name}.js", PACKAGE / f"{name}.impl.js")
    shown = HERE / "node_modules" / "shown"
    shutil.rmtree(shown, ignore_errors=True)
    shown.mkdir()
    (shown / "package.json").write_text('{"type": "module"}')
    blocks = _BLOCK.findall(PAGE.read_text())
    assert len(blocks) > 2, f"{PAGE.name} shows no code any more"
    for number, (kind, text) in enumerate(blocks):
        (shown / f"block{number}.{kind}").write_text(text + "export {};\n")
    node("node_modules/typescript/bin/tsc", "-p", ".")


async def test_an_app_with_streams_serves_it() -> None:
    project = Project(root=Path("/"), files=(), name="t", streams={"orders": Stream(name="orders")})
    app = build_app(project, types=None, runner=None, ready=lambda: True)  # type: ignore[arg-type]  # no steps
    for name, kind in FILES.items():
        answer = await _call(app, "GET", SERVED + name, {"host": "localhost"}, b"")
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.body == (FOLDER / name).read_bytes()
    without = build_app(Project(root=Path("/"), files=(), name="t"), types=None, runner=None, ready=lambda: True)  # type: ignore[arg-type]  # no steps
    assert (await _call(without, "GET", SERVED + "motia-stream.js", {"host": "localhost"}, b"")).status == 404


def test_it_is_whole_and_needs_nothing() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    assert package["version"] == __version__
    named = [path for entry in package["exports"].values() for path in entry.values()]
    assert sorted(named) == sorted(f"./{name}" for name in FILES)
    assert "dependencies" not in package
    code = (FOLDER / "motia-stream.js").read_text()
    assert not re.search(r"^import |\brequire\(|\bimport\((?!\"\./)(?!\"ws\")", code, re.MULTILINE)
    assert {page.rpartition("/")[2] for page in client_pages()} == set(FILES)
