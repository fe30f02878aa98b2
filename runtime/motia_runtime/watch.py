"""Which saves matter to a running app: the spec, what it includes, `.env`, and the project's handlers and schema files, when their content changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from motia_runtime.bind import GENERATED

SUFFIXES = (".yaml", ".yml", ".json", ".py", ".env", ".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs")
POSITIONS = "motia-workbench.json"  # where the Workbench keeps what was dragged; nothing that runs
DEBOUNCE = 60  # milliseconds that a burst of saves may last
STEP = 15  # milliseconds between looks

_IGNORED = frozenset(
    {".git", ".motia", ".venv", "venv", "node_modules", "__pycache__", GENERATED, ".mypy_cache", ".ruff_cache"}
)


class _Filter(DefaultFilter):
    def __init__(self) -> None:
        super().__init__(ignore_dirs=tuple(_IGNORED))

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(SUFFIXES) and not path.endswith(f"/{POSITIONS}") and super().__call__(change, path)


def changes(root: Path, stop: asyncio.Event) -> AsyncIterator[set[str]]:
    """Sets of changed files, relative to the project, until `stop` is set. Editors touch, rename and rewrite; only new content counts."""
    # as the watcher will name it: from the file system's root, with symbolic links as they are
    return _changes(root.absolute(), stop)


async def _changes(root: Path, stop: asyncio.Event) -> AsyncIterator[set[str]]:
    seen = {path: _digest(path) for path in await asyncio.to_thread(_files, root)}
    async for batch in awatch(
        root,
        watch_filter=_Filter(),
        debounce=DEBOUNCE,
        step=STEP,
        stop_event=stop,
        recursive=True,
        rust_timeout=1_000,
        yield_on_timeout=False,
    ):
        changed = set()
        for _, name in batch:
            path = Path(name)
            digest = _digest(path)
            if seen.get(path) != digest:
                seen[path] = digest
                changed.add(path.relative_to(root).as_posix())
        if changed:
            yield changed


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _IGNORED]
        found += [Path(folder, name) for name in files if name.endswith(SUFFIXES)]
    return found


def _digest(path: Path) -> bytes:
    """Of the content; empty when there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return b""
