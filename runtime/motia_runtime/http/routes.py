"""Which step a path means.

Litestar's own routing is not used for steps: in 2.25 an `@asgi` handler with a path parameter answers 500 (`KeyError` of the method), its trie
does not step back from a literal segment that leads nowhere, and it routes the decoded path, so that "%2F" inside a parameter splits it
(docs/decisions/0003-http-server.md). Here paths are compared segment by segment as they were sent, decoded after splitting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes

from motia_runtime.http.problems import Refused

T = TypeVar("T")

_UNQUOTED = "!$&'()*+,;=:@~-._"  # may stand in a segment as it is (RFC 3986, pchar)
_DOTS = frozenset({".", ".."})
_SEPARATOR = re.compile(r"[/\\]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def decode_segment(segment: bytes) -> str:
    """One segment of a path, percent-decoded. Raises `Refused` (400) for a broken escape, invalid UTF-8 or NUL."""
    if b"%" not in segment:
        return segment.decode("ascii")
    if _BAD_ESCAPE.search(segment):
        raise Refused(400, "The path holds a % that is not followed by two hexadecimal digits.")
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "The path is not valid UTF-8.") from None
    if "\0" in text:
        raise Refused(400, "The path holds a NUL.")
    return text


class _Node(Generic[T]):
    __slots__ = ("literal", "param", "rest", "route")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[T]] = {}
        self.param: _Node[T] | None = None
        self.route: T | None = None
        self.rest: T | None = None


class Routes(Generic[T]):
    """Path templates ("/orders/{id}", "/files/{rest:path}") to values. A literal segment goes before a parameter, a parameter before
    the rest; a choice that leads nowhere is taken back. One trailing slash more or less makes no difference."""

    def __init__(self) -> None:
        self._literal: dict[bytes, T] = {}
        self._root: _Node[T] = _Node()
        self._deep = False  # some template has parameters

    def add(self, template: str, value: T) -> None:
        segments = split(template)
        if not any(s.startswith("{") for s in segments):
            path = ("/" + "/".join(quote(s, safe=_UNQUOTED) for s in segments)).encode()
            self._literal[path] = value
            if segments:
                self._literal[path + b"/"] = value
        node = self._root
        for segment in segments:
            if segment.startswith("{"):
                self._deep = True
                if segment.endswith(":path}"):
                    node.rest = value
                    return
                if node.param is None:
                    node.param = _Node()
                node = node.param
            else:
                node = node.literal.setdefault(segment, _Node())
        node.route = value

    def literals(self) -> Iterable[tuple[bytes, T]]:
        """The paths, as they are sent, that mean a template without parameters."""
        return self._literal.items()

    def find(self, raw_path: bytes) -> tuple[T, list[str]] | None:
        """The value of the template that `raw_path` (still percent-encoded) fits, and its parameters in order. `Refused` for a malformed path."""
        value = self._literal.get(raw_path)
        if value is not None:
            return value, []
        if not self._deep and b"%" not in raw_path:
            return None
        segments = [decode_segment(s) for s in raw_path[1:].split(b"/")]
        if not segments[-1]:
            segments.pop()
        return _walk(self._root, segments, 0, [])


def split(template: str) -> list[str]:
    """The segments of a template: "/orders/{id}" is orders, {id}."""
    return [s for s in template.split("/") if s]


def shape(template: str) -> str:
    """The template without names: two templates of one shape match the same paths."""
    segments = (("{:path}" if s.endswith(":path}") else "{}") if s.startswith("{") else s for s in split(template))
    return "/" + "/".join(segments)


def _walk(node: _Node[T], segments: list[str], at: int, values: list[str]) -> tuple[T, list[str]] | None:
    # As deep as the deepest template at most, with at most two ways on from each segment.
    if at == len(segments):
        return None if node.route is None else (node.route, values)
    segment = segments[at]
    below = node.literal.get(segment)
    if below is not None:
        found = _walk(below, segments, at + 1, values)
        if found is not None:
            return found
    if segment and node.param is not None:
        found = _walk(node.param, segments, at + 1, [*values, segment])
        if found is not None:
            return found
    if node.rest is None:
        return None
    rest = "/".join(segments[at:])
    if rest[:1] in ("/", "\\") or not _DOTS.isdisjoint(_SEPARATOR.split(rest)):
        raise Refused(400, 'The path holds an empty segment, "." or "..".')  # a handler may join it to a folder
    return (node.rest, [*values, rest]) if rest else None
