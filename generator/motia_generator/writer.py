"""The one module of the generator that touches the disk. Everything is computed before; a refusal comes before the first write.

Only generated files are ever replaced or removed: those that begin with the header (`motia_spec.stamp`). Stubs are written where nothing is.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

import msgspec

from motia_spec.stamp import PACKAGE, REGISTRY, is_generated


class WriteError(Exception):
    """Nothing was written. The message names the file in the way and says what to do."""


class Changes(msgspec.Struct, frozen=True):
    """Paths relative to the project's root, sorted."""

    written: tuple[str, ...] = ()  # generated files that are new or differ
    removed: tuple[str, ...] = ()  # generated files that are no longer made
    stubs: tuple[str, ...] = ()  # files that are the user's from now on

    def __bool__(self) -> bool:
        return bool(self.written or self.removed or self.stubs)


def write(root: Path, generated: dict[str, str], stubs: dict[str, str]) -> Changes:
    """Write what differs, remove what is stale. Each file is replaced as a whole or not at all. Raises `WriteError`, `OSError`."""
    root = Path(os.path.realpath(root))
    changes = _plan(root, generated, stubs)
    for path in sorted(changes.written, key=lambda p: p == REGISTRY):  # last: it says that the others are current
        _replace(root / path, generated[path])
    for path in changes.stubs:
        _create(root / path, stubs[path])
    for path in changes.removed:
        (root / path).unlink(missing_ok=True)
        _remove_empty(root, (root / path).parent)
    return changes


def check(root: Path, generated: dict[str, str]) -> Changes:
    """What `write` would do to generated files. Writes nothing. Raises `WriteError` where it would."""
    return _plan(Path(os.path.realpath(root)), generated, {})


def diff(root: Path, generated: dict[str, str]) -> str:
    """What `write` would change in generated files, as a unified diff. Empty when they are up to date."""
    root = Path(os.path.realpath(root))
    changes = _plan(root, generated, {})
    out: list[str] = []
    for path in sorted({*changes.written, *changes.removed}):
        before = _read(root / path)
        after = generated.get(path)
        out += difflib.unified_diff(
            (before or "").splitlines(keepends=True),
            (after or "").splitlines(keepends=True),
            "/dev/null" if before is None else f"a/{path}",
            "/dev/null" if after is None else f"b/{path}",
        )
    return "".join(out)


def _plan(root: Path, generated: dict[str, str], stubs: dict[str, str]) -> Changes:
    written = []
    for path in sorted(generated):
        _require_inside(root, path)
        before = _read(root / path)
        if before is not None and not is_generated(before):
            raise WriteError(f"{path} is in the way: it is not a generated file; move it, then run `motia gen` again")
        if before != generated[path]:
            written.append(path)
    missing = []
    for path in sorted(stubs):
        _require_inside(root, path)
        if not os.path.lexists(root / path):
            missing.append(path)
    removed = [path for path in _generated_files(root) if path not in generated]
    return Changes(tuple(written), tuple(removed), tuple(missing))


def _require_inside(root: Path, path: str) -> None:
    """Raise `WriteError` unless the path, links followed, is inside the root."""
    real = os.path.realpath(root / path)
    if os.path.isabs(path) or not real.startswith(str(root).rstrip(os.sep) + os.sep):
        raise WriteError(f"{path} leads outside of the project ({real}); nothing is written there")
    folder = os.path.dirname(real)
    while folder != str(root):
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise WriteError(
                f"{os.path.relpath(folder, root)} is in the way of {path}: it is not a folder; move it, then run `motia gen` again"
            )
        folder = os.path.dirname(folder)


def _read(path: Path) -> str | None:
    """The text of a file, None when there is none. What is not text counts as a file of somebody else's."""
    if path.is_dir():
        return ""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""


def _generated_files(root: Path) -> list[str]:
    """Generated files of the package, sorted. Links are not followed."""
    found = []
    for folder, folders, names in os.walk(root / PACKAGE):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if (
                name.endswith((".py", ".pyi", ".typed", ".d.ts"))
                and not path.is_symlink()
                and is_generated(_read(path) or "")
            ):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _replace(path: Path, text: str) -> None:
    """Write a file through a temporary one beside it, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _create(path: Path, text: str) -> None:
    """Write a new file; never over one that has appeared meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _remove_empty(root: Path, folder: Path) -> None:
    """Remove a folder that held nothing but generated files and their compiled forms."""
    while folder != root and folder.is_dir():
        rest = [entry for entry in folder.iterdir() if entry.name != "__pycache__"]
        if rest:
            return
        for compiled in (folder / "__pycache__").glob("*.pyc"):
            compiled.unlink()
        if (folder / "__pycache__").is_dir():
            (folder / "__pycache__").rmdir()
        folder.rmdir()
        folder = folder.parent
