"""Python source text: expressions that know how to break over lines, strings, docstrings.

Everything from a spec enters source through `quote`, `literal` or `docstring`; identifiers come from `names`. What is printed here is what
`ruff format` would print (line length 88, its default), so nobody's formatter ever changes a generated file.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from motia_spec.node import JSON

WIDTH = 88  # columns
INDENT = "    "


class Expr(msgspec.Struct, frozen=True):
    """An expression: a text that is never broken, or a head with brackets around parts, or alternatives joined by `|`."""

    head: str
    parts: tuple[Expr, ...] = ()
    brackets: str = ""  # "[]", "()", "{}"; "|" for alternatives; empty for a plain text

    def flat(self) -> str:
        if not self.brackets:
            return self.head
        if self.brackets == "|":
            return " | ".join(part.flat() for part in self.parts)
        inner = ", ".join(part.flat() for part in self.parts)
        return f"{self.head}{self.brackets[0]}{inner}{self.brackets[1]}"

    def render(self, indent: str, used: int, after: int = 0) -> str:
        """The text, broken over lines when `used` columns before it and `after` behind it leave too little room."""
        flat = self.flat()
        if used + columns(flat) + after <= WIDTH or not self.brackets or not self.parts:
            return flat
        if self.brackets == "|":
            return Expr("Union", self.parts, "[]").render(indent, used, after)
        inner = indent + INDENT
        comma = "" if self.brackets == "[]" and len(self.parts) == 1 else ","
        lines = [f"{inner}{part.render(inner, len(inner), len(comma))}{comma}" for part in self.parts]
        return "\n".join([f"{self.head}{self.brackets[0]}", *lines, f"{indent}{self.brackets[1]}"])


def columns(line: str) -> int:
    """The width of a text on the screen: wide characters take two columns, as the formatter counts."""
    if line.isascii():
        return len(line)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def text(source: str) -> Expr:
    return Expr(source)


def index(head: str, *parts: Expr) -> Expr:
    return Expr(head, parts, "[]")


def call(head: str, *parts: Expr) -> Expr:
    return Expr(head, parts, "()")


def either(parts: Iterable[Expr]) -> Expr:
    """Alternatives, each once, in order; None last, as people write it."""
    flat: dict[str, Expr] = {}
    for part in parts:
        for one in part.parts if part.brackets == "|" else (part,):
            flat.setdefault(one.flat(), one)
    if "Any" in flat:
        return flat["Any"]
    last = [flat.pop(name) for name in ("None", "UnsetType") if name in flat]
    all_parts = [*flat.values(), *last]
    return all_parts[0] if len(all_parts) == 1 else Expr("", tuple(all_parts), "|")


def keyword(name: str, value: Expr) -> Expr:
    """`name=value` inside a call."""
    if not value.brackets:
        return text(f"{name}={value.head}")
    return Expr(f"{name}={value.head}", value.parts, value.brackets)


def assignment(name: str, annotation: Expr | None, value: Expr | None, indent: str = "") -> str:
    """`name: annotation = value`, one statement, with its indent and without a line end."""
    start = f"{indent}{name}" + (": " if annotation else " = ")
    if annotation is None:
        assert value is not None
        return start + value.render(indent, len(start))
    whole = value.flat() if value else ""
    behind = columns(f" = {whole}") if value else 0
    if len(start) + columns(annotation.flat()) + behind <= WIDTH:
        return start + annotation.flat() + (f" = {whole}" if value else "")
    if value is None:
        return start + annotation.render(indent, len(start))
    if len(start) + columns(annotation.flat()) + len(" = ") + len(value.head) + 1 <= WIDTH and value.brackets:
        left = f"{start}{annotation.flat()} = "
        return left + value.render(indent, len(left))
    left = start + annotation.render(indent, WIDTH)
    used = len(left.rpartition("\n")[2]) + len(" = ")
    return f"{left} = {value.render(indent, used)}"


def quote(value: str) -> str:
    """A string literal as the formatter writes it: double quotes unless that needs more escapes. Pure ASCII where not printable."""
    mark = "'" if value.count('"') > value.count("'") else '"'
    body = repr(value + "'\"")  # both quotes inside: repr then uses single ones and escapes only those
    body = body[1:-1].removesuffix("\\'\"").replace("\\'", "'")
    return mark + body.replace(mark, "\\" + mark) + mark


def literal(value: JSON) -> Expr:
    """A JSON value as a Python expression."""
    if isinstance(value, str):
        return text(quote(value))
    if isinstance(value, list):
        return Expr("", tuple(literal(item) for item in value), "[]")
    if isinstance(value, dict):
        pairs = []
        for key, item in value.items():
            expr = literal(item)
            pairs.append(Expr(f"{quote(key)}: {expr.head}", expr.parts, expr.brackets))
        return Expr("", tuple(pairs), "{}")
    return text(repr(value))


def docstring(parts: Sequence[str], indent: str = "") -> list[str]:
    """The lines of a docstring from texts that may hold anything; no lines when there is nothing to say. One paragraph per text."""
    paragraphs = [clean for part in parts if (clean := " ".join("".join(map(_printable, part)).split()))]
    if not paragraphs:
        return []
    body = "\n\n".join(
        "\n".join(textwrap.wrap(p, WIDTH - len(indent) - 6, break_long_words=False, break_on_hyphens=False))
        for p in paragraphs
    ).replace("\\", "\\\\")
    if '"""' in body or body.startswith('"') or body.endswith('"'):
        body = body.replace('"', "'")
    lines = body.split("\n")
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(indent + line if line else "" for line in lines[1:]), f'{indent}"""']


def _printable(char: str) -> str:
    return char if char.isprintable() else " "
