"""File patterns of `include:`, matched inside the project only and with a bound on how much of the disk is looked at."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

from motia_spec.limits import MAX_GLOB_ENTRIES

_SKIPPED = frozenset(("node_modules", "__pycache__", "motia_types"))  # and all that begin with a dot


class BadPattern(ValueError):
    """A pattern that is no relative path inside the project. The message says why."""


class TooManyEntries(Exception):
    """A pattern looked at more of the disk than MAX_GLOB_ENTRIES."""


class Globber:
    """Finds files. One for each `load_spec`, since the bound is for the whole spec."""

    def __init__(self, root: Path) -> None:
        self.root = root  # resolved
        self.left = MAX_GLOB_ENTRIES

    def find(self, base: Path, pattern: str) -> list[Path]:
        """Files that match, sorted; `base` is the folder the pattern stands in. A pattern without wildcards gives its one path,
        there or not. Raises BadPattern, TooManyEntries."""
        parts = _parts(pattern)
        if not is_glob(pattern):
            return [self.inside(base.joinpath(*parts), pattern)]
        found = {base}
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            step: set[Path] = set()
            for folder in found:
                step |= self.one(folder, part, last)
            found = step
        return sorted(self.inside(path, pattern) for path in found if os.path.isfile(path))

    def one(self, folder: Path, part: str, last: bool) -> set[Path]:
        """What one segment of a pattern reaches from `folder`."""
        if part == "..":
            return {folder.parent}
        if part == "**":
            below = {folder}
            queue = [folder]
            while queue:
                inner = [path for path, is_folder in self.entries(queue.pop()) if is_folder and not path.is_symlink()]
                queue += inner
                below |= set(inner)
            return {path for at in below for path, _ in self.entries(at)} if last else below
        if not is_glob(part):
            return {folder / part}
        matches = re.compile(fnmatch.translate(part)).match
        return {path for path, is_folder in self.entries(folder) if matches(path.name) and (last or is_folder)}

    def entries(self, folder: Path) -> list[tuple[Path, bool]]:
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.left -= 1
                    if self.left < 0:
                        raise TooManyEntries
                    if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                        found.append((folder / entry.name, entry.is_dir()))
        except OSError:
            return []
        return found

    def inside(self, path: Path, pattern: str) -> Path:
        """`path`, without `..`; BadPattern when it or what it links to is outside the project."""
        lexical = Path(os.path.normpath(path))
        if not lexical.is_relative_to(self.root) or not Path(os.path.realpath(lexical)).is_relative_to(self.root):
            raise BadPattern(f"{pattern!r} leads outside the project")
        return lexical


def is_glob(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")


def _parts(pattern: str) -> list[str]:
    if not pattern or "\0" in pattern or "\\" in pattern or ":" in pattern or pattern.startswith(("/", "~")):
        raise BadPattern(f"{pattern!r} is not a relative path with forward slashes")
    return [part for part in pattern.split("/") if part not in ("", ".")]
