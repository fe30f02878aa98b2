"""Small projects in a folder, compiled as a user's would be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from motia_spec import Compiled, Diagnostic, compile_project

Compile = Callable[..., Compiled]


class Findings:
    """What a compilation found, for short assertions: `found.only("M301")` is the one finding of that code."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.codes = [d.code for d in compiled.diagnostics]
        self.errors = [d.code for d in compiled.diagnostics if d.severity == "error"]

    def all(self, code: str) -> list[Diagnostic]:
        return [d for d in self.compiled.diagnostics if d.code == code]

    def only(self, code: str) -> Diagnostic:
        found = self.all(code)
        assert len(found) == 1, self.describe()
        return found[0]

    def quoted(self, code: str) -> str:
        """The text that the one finding of that code underlines."""
        place = self.only(code).place
        line = self.compiled.sources.line(place.file, place.line)
        assert line is not None
        return line[place.column - 1 : place.column - 1 + place.width]

    def describe(self) -> str:
        return "\n".join(f"{d.place} {d.code} {d.message} | {d.hint}" for d in self.compiled.diagnostics)


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Findings]:
    """Compile a spec. `files`: further files by path; handlers=True looks at handler files."""

    def run(
        text: str,
        files: Mapping[str, str] | None = None,
        *,
        handlers: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> Findings:
        (tmp_path / "motia.yaml").write_text(dedent(text))
        for name, content in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(dedent(content))
        return Findings(compile_project(tmp_path, environ=environ or {}, handlers=handlers))

    return run
