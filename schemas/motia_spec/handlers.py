"""From `steps/auth.py:require_user` to a Handler: a file inside the project and a function in it. No file is opened here."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import Handler
from motia_spec.names import handler_candidates
from motia_spec.place import Place
from motia_spec.tree import Word

ENDINGS = (".py", ".ts", ".js")
FOLDER = "steps"

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_MOST_LISTED = 20_000  # names of the steps folder that are looked at


class Handlers:
    """The handlers of one project. Lives as long as one compilation, so that each folder is looked at once."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, str] = {}
        self._names: frozenset[str] | None = None

    def named(self, word: Word) -> Handler | Diagnostic:
        """The handler that the spec names, or what is wrong with the name."""
        path, colon, function = word.text.rpartition(":")
        if not colon or path.endswith("/"):
            path, function = word.text, ""
        if (
            _DRIVE.match(word.text)
            or "\\" in word.text
            or "\0" in word.text
            or word.text.startswith("/")
            or "//" in word.text
        ):
            return self._outside(word)
        path = posixpath.normpath(path)
        if path.startswith("../"):
            return self._outside(word)
        if not path.endswith(ENDINGS):
            return error(
                "M501",
                word.place,
                f"{word.text!r} is not a handler: write a file ending in .py, .ts or .js, then :function if it is not `handler`",
                hint="for example steps/create_order.py:handler; modules and commands are not accepted",
                path=word.path,
            )
        if colon and not (function.isidentifier() and function.isascii()):
            return error(
                "M501",
                word.place,
                f"{function!r} is not the name of a function",
                hint="write FILE:FUNCTION",
                path=word.path,
            )
        if self.leaves(path):
            return self._outside(word)
        return Handler(path=path, function=function or "handler", explicit=True, place=word.place)

    def default(self, step: str, place: Place, path: str) -> Handler | Diagnostic:
        """Where the handler of a step is by convention: `steps/<snake_name>.py`, or the file in its stead that exists.
        `path`: the step's JSON Pointer, for the finding that this file is a link out of the project."""
        candidates = handler_candidates(step)
        present = self._listed()
        name = next((name for name in candidates if name in present), candidates[0])
        file = f"{FOLDER}/{name}"
        return self._outside(Word(file, place, path)) if self.leaves(file) else Handler(path=file, place=place)

    def leaves(self, path: str) -> bool:
        """Does a path lead out of the project through a symbolic link?"""
        folder, name = posixpath.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(os.path.join(self._root, folder))
        full = os.path.join(real, name)
        if os.path.islink(full):
            full = os.path.realpath(full)
        return not full.startswith(self._root + os.sep)

    def _listed(self) -> frozenset[str]:
        if self._names is None:
            try:
                names = os.listdir(os.path.join(self._root, FOLDER))
            except OSError:
                names = []
            self._names = frozenset(names[:_MOST_LISTED])
        return self._names

    def _outside(self, word: Word) -> Diagnostic:
        return error(
            "M502",
            word.place,
            f"the handler {word.text!r} is not inside the project",
            hint="write a path relative to the project, like steps/create_order.py; links out of it are not followed",
            path=word.path,
        )
