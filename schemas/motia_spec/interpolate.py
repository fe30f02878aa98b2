"""`${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in values; never in keys, never inside JSON Schemas.

One pass, no nesting, no expressions: what a variable holds is data and isn't read again. As in a shell, `:-` and `:?` also apply to
a variable that is set but empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.limits import MAX_FILE
from motia_spec.node import ListNode, MapNode, Node, Scalar, ScalarNode
from motia_spec.place import Place
from motia_spec.scalars import clip
from motia_spec.sources import Sources

# Where values are JSON Schemas, or free: left as written. "*" is any key.
_LEFT_ALONE: dict[str, Any] = {
    "schemas": None,
    **{section: {"*": {"schema": None}} for section in ("topics", "state", "streams")},
    "steps": {"*": {"body": None, "query": None, "responses": None, "manual": {"input": None}}},
}
_EXPRESSION = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")  # linear: an open brace ends the search for a closing one
_PARTS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:[-?])(.*))?", re.DOTALL)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FORMS = "the forms are ${VAR}, ${VAR:-default} and ${VAR:?message}; $$ is a dollar sign"


class EnvScalar(ScalarNode):
    """A scalar that came from the environment. Messages quote `source`, never the value: it may be a secret."""

    __slots__ = ("source",)

    def __init__(self, value: Scalar, place: Place, source: str) -> None:
        super().__init__(value, place)
        self.source = source


def interpolate(root: MapNode, environ: Mapping[str, str], sources: Sources, diagnostics: list[Diagnostic]) -> MapNode:
    """`root` with variables replaced. Parts without any are the same objects as before."""
    done = _Interpolation(environ, sources, diagnostics).node(root, _LEFT_ALONE, "")
    assert isinstance(done, MapNode)
    return done


class _Interpolation:
    def __init__(self, environ: Mapping[str, str], sources: Sources, diagnostics: list[Diagnostic]) -> None:
        self.environ = environ
        self.sources = sources
        self.diagnostics = diagnostics
        self.left = MAX_FILE  # characters that variables may still add

    def node(self, node: Node, left_alone: dict[str, Any], path: str) -> Node:
        if isinstance(node, MapNode):
            return self.map(node, left_alone, path)
        if isinstance(node, ListNode):
            items = [self.node(item, {}, f"{path}/{index}") for index, item in enumerate(node.items)]
            return node if all(a is b for a, b in zip(items, node.items, strict=True)) else ListNode(items, node.place)
        assert isinstance(node, ScalarNode)
        if isinstance(node.value, str) and "$" in node.value:
            return self.scalar(node, node.value, path)
        return node

    def map(self, node: MapNode, left_alone: dict[str, Any], path: str) -> MapNode:
        entries = {}
        changed = False
        for key, (place, value) in node.entries.items():
            inner = left_alone.get(key, left_alone.get("*", {}))
            if inner is None or (path == "" and key.startswith("x-")):
                entries[key] = (place, value)
                continue
            done = self.node(value, inner, f"{path}/{escape(key)}")
            changed = changed or done is not value
            entries[key] = (place, done)
        return MapNode(entries, node.place) if changed else node

    def scalar(self, node: ScalarNode, text: str, path: str) -> Node:
        matches = list(_EXPRESSION.finditer(text))
        if not matches:
            return node
        out: list[str] = []
        end = 0
        for found in matches:
            value = self.expression(found, node.place, path)
            if value is None:
                return node  # one finding is enough for one value
            self.left -= len(value)
            if self.left < 0:
                message = f"variables add more than {MAX_FILE >> 10} KiB to the spec"
                self.report("M002", found[0], node.place, path, message, "keep large data in files outside the spec")
                return node
            out += [text[end : found.start()], value]
            end = found.end()
        out.append(text[end:])
        result = "".join(out)
        if all(found[0] == "$$" for found in matches):
            return ScalarNode(result, node.place)
        whole = matches[0].span() == (0, len(text))
        return EnvScalar(_typed(result) if whole else result, node.place, text)

    def expression(self, found: re.Match[str], where: Place, path: str) -> str | None:
        """What `found` stands for; None after reporting that it stands for nothing."""
        if found[0] == "$$":
            return "$"
        parts = _PARTS.fullmatch(found[1]) if found[1] is not None else None
        if parts is None:
            shown = found.string[found.start() : found.start() + 40] if found[1] is None else found[0]
            self.report("M021", found[0], where, path, f"{clip(shown)} is not a variable", _FORMS)
            return None
        name, operator, rest = parts.groups()
        value = self.environ.get(name)
        if value is None or (value == "" and operator):
            if operator == ":-":
                return str(rest)
            state = "not set" if value is None else "empty"
            reason = f": {clip(rest, 200)}" if operator and rest else ""
            self.report(
                "M020",
                found[0],
                where,
                path,
                f"the environment variable {name} is {state}{reason}",
                f"set {name}, or give a default: ${{{name}:-...}}",
            )
            return None
        return value

    def report(self, code: str, expression: str, where: Place, path: str, message: str, hint: str) -> None:
        line = self.sources.line(where.file, where.line) or ""
        column = line.find(expression, where.column - 1, where.column - 1 + where.width)
        place = Place(where.file, where.line, column + 1, len(expression)) if column >= 0 else where
        self.diagnostics.append(error(code, place, message, hint=hint, path=path))


def _typed(value: str) -> Scalar:
    if value in ("true", "false"):
        return value == "true"
    return int(value) if _INTEGER.fullmatch(value) else value


def escape(key: str) -> str:
    """One token of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
