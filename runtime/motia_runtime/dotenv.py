"""`.env` files for development: KEY=VALUE lines, read into the environment without overriding what is already there.

    # a comment
    export API_KEY=abc          # `export` is allowed, so that a shell can source the file too
    GREETING="two\\nlines"       # double quotes: \\n \\r \\t \\" \\\\ \\$ are escapes; may span lines
    PATTERN='a$b # c'           # single quotes: as it is; may span lines
    EMPTY=

There is no interpolation: the spec has its own, with places. Nothing here is run.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["Dotenv", "DotenvError", "parse_dotenv"]

MAX_SIZE = 1 << 20  # bytes; a larger .env is a mistake

_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_BARE = re.compile(r"[^\n]*")
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")
_SKIP = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n|[ \t]*(?:#[^\n]*)?$)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class DotenvError(ValueError):
    """A line of a .env file can't be read. The message names file, line and what is expected there."""


def parse_dotenv(text: str, name: str = ".env") -> dict[str, str]:
    """The variables of a .env file, in its order; of a repeated key the last counts. Raises DotenvError."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if blank := _SKIP.match(text, at):
            if blank.end() == at:
                break
            at = blank.end()
            continue
        line = text.count("\n", 0, at) + 1
        key = _KEY.match(text, at)
        if key is None:
            shown = text[at:].split("\n", 1)[0].split("=", 1)[0].strip()[:40]
            raise DotenvError(
                f"{name}:{line}: expected KEY=VALUE, a comment or an empty line, found {shown!r}; "
                "a KEY is letters, digits and _, not starting with a digit"
            )
        value, at = _value(text, key.end(), f"{name}:{line}: {key[1]}")
        if "\0" in value:
            raise DotenvError(f"{name}:{line}: {key[1]} holds a NUL byte; no environment variable can")
        found[key[1]] = value
    return found


class Dotenv:
    """The `.env` of a process, below its environment: names that the environment had before win. Lives as long as the process."""

    def __init__(self, path: Path, environ: MutableMapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._own: dict[str, str] = {}  # what is in the environment because the file says so

    def load(self) -> set[str]:
        """Have the environment as the file says now, and give the names that changed. A missing file is an empty one. Raises `DotenvError`;
        then nothing has changed."""
        environ, old = self._environ, self._own
        ours = {key for key, value in old.items() if environ.get(key) == value}  # the app may have set one itself
        new = {key: value for key, value in self._read().items() if key in ours or key not in environ}
        for key in ours - new.keys():
            del environ[key]
        environ.update(new)
        self._own = new
        return {key for key in ours | new.keys() if old.get(key) != new.get(key)}

    def _read(self) -> dict[str, str]:
        name = self._path.name
        try:
            raw = self._path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise DotenvError(f"{name}: can't be read: {error.strerror}") from error
        if len(raw) > MAX_SIZE:
            raise DotenvError(f"{name}: {len(raw)} bytes; at most {MAX_SIZE} are read")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise DotenvError(f"{name}:{line}: not UTF-8; save the file as UTF-8") from error
        return parse_dotenv(text, name)


def _value(text: str, at: int, where: str) -> tuple[str, int]:
    quote = text[at : at + 1]
    if quote in ('"', "'"):
        quoted = (_DOUBLE if quote == '"' else _SINGLE).match(text, at)
        if quoted is None:
            raise DotenvError(f"{where}: the {quote} is never closed")
        rest = _REST.match(text, quoted.end())
        if rest is None:
            raise DotenvError(f"{where}: only a comment may follow the closing {quote}")
        value = quoted[1]
        if quote == '"':
            value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), value, flags=re.DOTALL)
        return value, rest.end()
    bare = _BARE.match(text, at)
    assert bare is not None  # it matches the empty string
    value = re.split(r"(?:^|[ \t])#", bare[0], maxsplit=1)[0].strip()
    return value, min(bare.end() + 1, len(text))
