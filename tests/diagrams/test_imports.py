"""Who does not draw does not pay for the `graphviz` package, whose import takes about 85 ms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.process import motia, running_app, write_project

SPEC = """
name: small
steps:
  Hello: {type: api, method: GET, path: /hello}
"""
HELLO = """
async def handler(request, ctx):
    return {"greeting": "hi"}
"""
TOLD = {"PYTHONPROFILEIMPORTTIME": "1"}  # Python lists each module it imports, on stderr
DRAWS = re.compile(r"^import time: .*\| +graphviz$", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, hello=HELLO)


@pytest.mark.parametrize(("args", "draws"), [(["check"], False), (["gen"], False), (["graph"], True)])
def test_only_the_command_that_draws_imports_graphviz(project: Path, args: list[str], draws: bool) -> None:
    done = motia(project, *args, env=TOLD)
    assert done.returncode == 0
    assert bool(DRAWS.search(done.stderr)) == draws


def test_start_does_not_import_graphviz(project: Path) -> None:
    with running_app(project, "start", env=TOLD) as app:
        assert app.stop() == 0
    assert re.search(r"^import time: .*\| +litestar$", app.output, re.MULTILINE), "imports are told"
    assert not DRAWS.search(app.output)
