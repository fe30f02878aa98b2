"""From a path to a Project and its findings. `check`, `gen`, `graph`, `dev` and `start` all begin here.

Four layers: reading, the spec's schema, meaning (references, values), rules. The first layer with errors is the last: what comes after
it would only repeat them. All findings of a layer come together.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from motia_spec import rules
from motia_spec.diagnostics import Diagnostic, Severity, SpecError, by_place, error
from motia_spec.document import Budget, read_document
from motia_spec.limits import MAX_FILE
from motia_spec.load import Loaded, load_spec
from motia_spec.lower import lower
from motia_spec.model import Project
from motia_spec.node import Node
from motia_spec.place import Place
from motia_spec.sources import Sources
from motia_spec.tree import Cursor, pointers
from motia_spec.validate import validate_spec


class Compiled:
    """The outcome of one compilation. `project` is None when errors prevented it."""

    def __init__(
        self, project: Project | None, diagnostics: list[Diagnostic], sources: Sources, files: tuple[str, ...]
    ) -> None:
        self.project = project
        self.diagnostics = by_place(diagnostics)
        self.sources = sources  # the lines that diagnostics point at
        self.files = files  # every file read, relative to the root, also when there is no project: watch these

    @property
    def ok(self) -> bool:
        """There are no errors; there may be warnings."""
        return not _errors(self.diagnostics)

    def require(self) -> Project:
        """The project. SpecError when there are errors."""
        if self.project is None or not self.ok:
            raise SpecError([d for d in self.diagnostics if d.severity is Severity.ERROR])
        return self.project


def compile_project(
    path: str | Path,
    *,
    environ: Mapping[str, str] | None = None,
    overlay: str | None = None,
    text: str | None = None,
    handlers: bool = True,
) -> Compiled:
    """Read and check the spec at `path`, a motia.yaml or its folder.

    `environ` is for variables and secrets, by default the process's own; `overlay` names an environment's overlay; `text` is the spec
    itself, when it is not what the disk has; handlers=False leaves out the rules about handler files. Raises nothing for any input.
    """
    with _without_collector():
        return _compile(
            load_spec(path, environ, overlay, text), os.environ if environ is None else environ, handlers=handlers
        )


def _compile(loaded: Loaded, environ: Mapping[str, str], *, handlers: bool) -> Compiled:
    found = list(loaded.diagnostics)
    node = loaded.node
    if node is None or _errors(found):
        return Compiled(None, found, loaded.sources, loaded.files)
    found += validate_spec(node)
    if _errors(found):
        return Compiled(None, found, loaded.sources, loaded.files)
    reader = _SchemaFiles(loaded)
    lowered = lower(loaded.root, loaded.files, node, reader.read)
    found += lowered.diagnostics
    files = lowered.project.files
    if _errors(found):
        return Compiled(None, _located(found, node), loaded.sources, files)
    checking = rules.Checking(lowered.project, Cursor(node), lowered.samples, environ, loaded.sources)
    found += rules.check(checking, handlers=handlers)
    return Compiled(None if _errors(found) else lowered.project, _located(found, node), loaded.sources, files)


class _SchemaFiles:
    """Reads the files that `$ref`s lead to, within one budget for all of them."""

    def __init__(self, loaded: Loaded) -> None:
        self._root = loaded.root
        self._sources = loaded.sources
        self._budget = Budget()

    def read(self, path: str) -> tuple[Node | None, list[Diagnostic]]:
        found: list[Diagnostic] = []
        try:
            with (self._root / path).open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as fault:
            reason = (fault.strerror or "it is no file").lower()
            return None, [error("M001", Place(path, 1, 1), f"can't read {path}: {reason}", hint="check the rights")]
        node = read_document(data, path, sources=self._sources, budget=self._budget, diagnostics=found)
        return (None if _errors(found) else node), found


def _located(found: list[Diagnostic], node: Node) -> list[Diagnostic]:
    """Findings about schemas know only their place; the JSON Pointer is looked up for those that stand in the spec."""
    known = pointers(node, {d.place for d in found if not d.path})
    return [d if d.path else msgspec.structs.replace(d, path=known.get(d.place, "")) for d in found]


def _errors(diagnostics: list[Diagnostic]) -> bool:
    return any(d.severity is Severity.ERROR for d in diagnostics)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A compilation makes many small objects and no cycles; looking for cycles among them costs a fifth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


__all__ = ["Compiled", "Sources", "compile_project"]
