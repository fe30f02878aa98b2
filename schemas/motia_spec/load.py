"""A spec from disk: the file, what it includes, the overlay of the environment, variables replaced. Nothing is checked against
the schema here; whoever calls `load_spec` validates `Loaded.node` next."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from motia_spec import merge
from motia_spec.diagnostics import Diagnostic, Severity, error, warning
from motia_spec.document import Budget, read_document
from motia_spec.globs import BadPattern, Globber, TooManyEntries, is_glob
from motia_spec.interpolate import interpolate
from motia_spec.limits import MAX_FILE, MAX_FILES, MAX_GLOB_ENTRIES, MAX_INCLUDE_DEPTH
from motia_spec.node import ListNode, MapNode, ScalarNode
from motia_spec.place import NOWHERE, Place
from motia_spec.scalars import clip
from motia_spec.sources import Sources

DEFAULT_NAME = "motia.yaml"
OVERLAY_VARIABLE = "MOTIA_ENV"

_OVERLAY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Loaded(msgspec.Struct, frozen=True):
    """A spec as read. `node` is None when an error stops it from meaning anything; `diagnostics` then says why."""

    root: Path  # the project: the folder of the spec, resolved
    files: tuple[str, ...]  # every file read, relative to root, in the order of reading
    node: MapNode | None
    diagnostics: list[Diagnostic]
    sources: Sources


def load_spec(
    path: str | Path, environ: Mapping[str, str] | None = None, overlay: str | None = None, text: str | None = None
) -> Loaded:
    """Read the spec at `path` (the file, or its folder).

    `environ` is for variables and MOTIA_ENV, by default the process's own. `overlay` names the overlay and wins over MOTIA_ENV; ""
    means none. `text` is the spec itself (from stdin, from an editor); `path` then only says where it belongs.
    """
    at = Path(path)
    if os.path.isdir(at) or (text is not None and not at.suffix):
        at = at / DEFAULT_NAME
    environ = os.environ if environ is None else environ
    try:
        loading = _Loading(at, environ)
    except (OSError, ValueError):  # a NUL in the path
        unusable = error("M001", NOWHERE, f"{clip(str(at), 200)!r} is not a path", hint="give the path of a YAML file")
        return Loaded(Path.cwd(), (), None, [unusable], Sources())
    return loading.load(overlay, text)


class _Loading:
    def __init__(self, spec: Path, environ: Mapping[str, str]) -> None:
        self.spec = Path(os.path.realpath(spec.parent)) / spec.name
        self.root = self.spec.parent
        self.environ = environ
        self.diagnostics: list[Diagnostic] = []
        self.sources = Sources()
        self.budget = Budget()
        self.globber = Globber(self.root)
        self.seen: set[str] = set()  # resolved paths
        self.files: list[str] = []

    def load(self, overlay: str | None, text: str | None) -> Loaded:
        node = self.read(self.spec, Place(self.spec.name, 1, 1), text)
        if node is not None:
            node = self.include_all(node, self.root, 1)
            node = self.apply_overlay(node, overlay)
            node = interpolate(node, self.environ, self.sources, self.diagnostics)
        if any(d.severity is Severity.ERROR for d in self.diagnostics):
            node = None
        return Loaded(self.root, tuple(self.files), node, self.diagnostics, self.sources)

    def read(self, path: Path, place: Place, text: str | None = None) -> MapNode | None:
        """The map in one file. `place` is where the file is asked for."""
        name = self.name(path)
        source: bytes | str | None = text if text is not None else self.read_bytes(path, place)
        if source is None:
            return None
        self.seen.add(os.path.realpath(path))
        self.files.append(name)
        return read_document(source, name, sources=self.sources, budget=self.budget, diagnostics=self.diagnostics)

    def read_bytes(self, path: Path, place: Place) -> bytes | None:
        name = self.name(path)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self.report("M001", place, f"{clip(name, 200)} is not a file", "give the path of a YAML file")
                return None
            with path.open("rb") as file:
                return file.read(MAX_FILE + 1)
        except (OSError, ValueError) as fault:
            reason = (getattr(fault, "strerror", None) or "not a path").lower()
            self.report("M001", place, f"can't read {clip(name, 200)}: {reason}", self.remedy(path))
            return None

    def name(self, path: Path) -> str:
        """`path` as diagnostics show it. A name that isn't UTF-8 on disk loses what can't be shown."""
        return path.relative_to(self.root).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def remedy(self, path: Path) -> str:
        if path != self.spec:
            return "check the name and the rights"
        other = next(
            (
                p.name
                for p in (path.with_name("motia.yml"), path.with_suffix(".yml"), path.with_suffix(".yaml"))
                if os.path.isfile(p)
            ),
            None,
        )
        return f"there is a {other}: give its name" if other else "`motia create` makes a project with one"

    def include_all(self, node: MapNode, folder: Path, depth: int) -> MapNode:
        """`node` with the files that its `include:` names, and theirs."""
        for pattern, place in self.patterns(node):
            if depth > MAX_INCLUDE_DEPTH:
                message = f"includes are nested deeper than {MAX_INCLUDE_DEPTH} files"
                self.report("M024", place, message, "include the files from the spec itself")
                return node
            for path in self.find(folder, pattern, place):
                if len(self.files) >= MAX_FILES:
                    self.report("M024", place, f"more than {MAX_FILES} files", "join small files")
                    return node
                added = self.read(path, place)
                if added is not None:
                    node = merge.include(node, self.include_all(added, path.parent, depth + 1), self.diagnostics)
        entries = {key: entry for key, entry in node.entries.items() if key != "include"}
        return MapNode(entries, node.place)

    def patterns(self, node: MapNode) -> list[tuple[str, Place]]:
        value = node.get("include")
        if value is None:
            return []
        value = interpolate(
            MapNode({"include": (value.place, value)}, value.place), self.environ, self.sources, self.diagnostics
        ).get("include")
        items = value.items if isinstance(value, ListNode) else []
        found = [(i.value, i.place) for i in items if isinstance(i, ScalarNode) and isinstance(i.value, str)]
        if not isinstance(value, ListNode) or len(found) < len(items):
            place = node.key_place("include")
            self.report("M027", place, "include takes a list of file patterns", "write `include: [flows/*.yaml]`")
        return found

    def find(self, folder: Path, pattern: str, place: Place) -> list[Path]:
        try:
            paths = self.globber.find(folder, pattern)
        except BadPattern as bad:
            self.report("M022", place, str(bad), "include files by a path relative to this file, inside the project")
            return []
        except TooManyEntries:
            message = f"{pattern!r} looks at more than {MAX_GLOB_ENTRIES:,} files and folders"
            self.report("M024", place, message, "name the folder: `flows/*.yaml`")
            return []
        if is_glob(pattern):
            if not paths:
                hint = "check the pattern, or remove it"
                self.diagnostics.append(warning("M023", place, f"{pattern!r} matches no file", hint=hint))
            paths = [path for path in paths if path != self.spec and not self.is_overlay(path)]
        return [path for path in paths if os.path.realpath(path) not in self.seen]

    def is_overlay(self, path: Path) -> bool:
        """Whether `path` has the name of an overlay: never taken by a wildcard, or each environment would get all of them."""
        return (
            path.parent == self.root and path.name.startswith(f"{self.spec.stem}.") and path.suffix == self.spec.suffix
        )

    def apply_overlay(self, node: MapNode, overlay: str | None) -> MapNode:
        name = overlay if overlay is not None else self.environ.get(OVERLAY_VARIABLE, "")
        if not name:
            return node
        start = Place(self.spec.name, 1, 1)
        if not _OVERLAY_NAME.fullmatch(name):
            message = f"{clip(name)!r} is not the name of an environment"
            self.report("M026", start, message, "letters, digits, `-` and `_`, as in `production`")
            return node
        path = self.spec.with_name(f"{self.spec.stem}.{name}{self.spec.suffix}")
        if not os.path.exists(path):
            message = f"there is no {path.name} for the environment {name}"
            if overlay is None:
                hint = f"add the file, or unset {OVERLAY_VARIABLE}"
                self.diagnostics.append(warning("M026", start, message, hint=hint))
            else:
                self.report("M026", start, message, "add the file, or leave the environment out")
            return node
        if not Path(os.path.realpath(path)).is_relative_to(self.root):
            self.report("M022", start, f"{path.name} leads outside the project", "put the file itself there")
            return node
        over = self.read(path, start)
        if over is None:
            return node
        if "include" in over.entries:
            self.report(
                "M027", over.key_place("include"), "an overlay can't include files", "include them from the spec"
            )
        return merge.overlay(node, over)

    def report(self, code: str, place: Place, message: str, hint: str) -> None:
        self.diagnostics.append(error(code, place, message, hint=hint))
