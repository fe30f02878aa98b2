"""TypeScript source text: types that know how to break over lines, literals, comments.

Everything from a spec enters the source through `quote`, `literal`, `key` or `comment`; identifiers come from `motia_generator.names`.
Beyond ASCII only letters are printed as they are, but in comments.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Sequence

import msgspec

from motia_spec.node import JSON

WIDTH = 110  # columns
INDENT = "  "
MOST_ARMS = 500  # combinations of alternatives in an intersection; beyond some 100,000 the compiler gives up

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SAFE = 2**53 - 1  # beyond it a number literal means another number


class Type(msgspec.Struct, frozen=True):
    """A type: a text that is never broken, or a form with parts."""

    text: str = ""
    form: str = "text"  # "text", "object", "union", "intersection", "array", "tuple", "generic"
    parts: tuple[Type, ...] = ()
    heads: tuple[str, ...] = ()  # of an object's members: `name?`; of a tuple's parts: what stands before them
    tails: tuple[str, ...] = ()  # of a tuple's parts: what stands behind them
    docs: tuple[tuple[str, ...], ...] = ()  # of an object's members

    @property
    def arms(self) -> int:
        """How many alternatives there are, those behind names not counted."""
        return len(self.parts) if self.form == "union" else 1

    def flat(self) -> str:
        if self.form == "object":
            return "{ " + "; ".join(f"{h}: {p.flat()}" for h, p in zip(self.heads, self.parts, strict=True)) + " }"
        if self.form == "tuple":
            rows = zip(self.heads, self.parts, self.tails, strict=True)
            return "[" + ", ".join(f"{h}{p._in('array').flat() if t else p.flat()}{t}" for h, p, t in rows) + "]"
        if self.form == "array":
            return f"{self.parts[0]._in('array').flat()}[]"
        if self.form in ("union", "intersection"):
            return (" | " if self.form == "union" else " & ").join(p._in(self.form).flat() for p in self.parts)
        if self.form == "generic":
            return f"{self.text}<{', '.join(part.flat() for part in self.parts)}>"
        return self.text

    def render(self, indent: str, used: int) -> str:
        """The text, broken over lines when `used` columns before it leave too little room, or when members have comments."""
        if not any(self._documented()) and used + len(flat := self.flat()) + 1 <= WIDTH:
            return flat
        inner = indent + INDENT
        if self.form == "object":
            lines = ["{"]
            for head, part, doc in zip(self.heads, self.parts, self.docs or ((),) * len(self.parts), strict=True):
                lines += comment(doc, inner)
                lines.append(f"{inner}{head}:{after(part.render(inner, len(inner) + len(head) + 2))};")
            return "\n".join([*lines, indent + "}"])
        if self.form == "array":
            inside = self.parts[0]._in("array")
            return inside.render(indent, used + 2) + "[]"
        if self.form in ("union", "intersection"):
            mark = "|" if self.form == "union" else "&"
            parts = [p._in(self.form).render(inner + INDENT, len(inner) + 2) for p in self.parts]
            return "\n" + "\n".join(f"{inner}{mark} {p}" for p in parts)
        if self.form == "tuple":
            rows = zip(self.heads, self.parts, self.tails, strict=True)
            lines = [f"{inner}{h}{(p._in('array') if t else p).render(inner, len(inner))}{t}," for h, p, t in rows]
            return "\n".join(["[", *lines, indent + "]"])
        if self.form == "generic":
            lines = [inner + p.render(inner, len(inner)).lstrip() for p in self.parts]
            return "\n".join([f"{self.text}<", ",\n".join(lines), f"{indent}>"])  # no comma after the last
        if self.form == "brackets":
            body = self.parts[0].render(inner, used + 1)
            return f"({body})" if not body.startswith("\n") else f"({body}\n{indent})"
        return self.text

    def _in(self, outer: str) -> Type:
        """In brackets where it would otherwise be read as another type."""
        loose = {"array": ("union", "intersection"), "intersection": ("union",)}.get(outer, ())
        return Type(f"({self.flat()})", "brackets", (self,)) if self.form in loose else self

    def _documented(self) -> Iterable[bool]:
        yield any(self.docs)
        for part in self.parts:
            yield from part._documented()


ANY = Type("any")
NEVER = Type("never")
UNKNOWN = Type("unknown")


def name(identifier: str) -> Type:
    """The type of that name. Only for identifiers, and for texts that are types of ours."""
    return Type(identifier)


def array(item: Type) -> Type:
    return Type(form="array", parts=(item,))


def members(rows: Sequence[tuple[str, Type, tuple[str, ...]]]) -> Type:
    """An object type of (head, type, comment) rows. A head is made by `key`, with "?" behind it where the member may be absent."""
    if not rows:
        return Type("{}")
    return Type(
        form="object",
        parts=tuple(r[1] for r in rows),
        heads=tuple(r[0] for r in rows),
        docs=tuple(r[2] for r in rows),
    )


def union(parts: Iterable[Type]) -> Type:
    """Alternatives, each once, in order; null last, as people write it."""
    found: dict[str, Type] = {}
    for part in parts:
        for one in part.parts if part.form == "union" else (part,):
            found.setdefault(one.flat(), one)
    if "any" in found:
        return ANY
    found.pop("never", None)
    last = [found.pop("null")] if "null" in found else []
    rest = [*found.values(), *last]
    if not rest:
        return NEVER
    return rest[0] if len(rest) == 1 else Type(form="union", parts=tuple(rest))


def intersection(parts: Iterable[Type]) -> Type:
    """All of the parts at once. `any` in it would make all of it `any`, so it is left out; so is what would be too much for the compiler."""
    found: dict[str, Type] = {}
    arms = 1
    for part in parts:
        if part.flat() in ("any", "unknown"):
            continue
        if arms * part.arms > MOST_ARMS:
            if all(arm.form == "object" for arm in part.parts):
                found.setdefault("", members([("[key: string]", UNKNOWN, ())]))  # any property may be there
            continue
        arms *= part.arms
        for one in part.parts if part.form == "intersection" else (part,):
            found.setdefault(one.flat(), one)
    if not found:
        return ANY
    rest = list(found.values())
    return rest[0] if len(rest) == 1 else Type(form="intersection", parts=tuple(rest))


def after(rendered: str) -> str:
    """A rendered type, to stand behind `:` or `=`: with a space before it unless it begins on the next line."""
    return rendered if rendered.startswith("\n") else f" {rendered}"


def quote(value: str) -> str:
    """A string literal. What is neither ASCII nor a letter is escaped: no character of a spec can end it or the line, or look like another."""
    return "".join(
        c if c.isascii() or c.isalnum() else json.dumps(c)[1:-1] for c in json.dumps(value, ensure_ascii=False)
    )


def key(wire: str) -> str:
    """A property's name as it is written in a type."""
    return wire if _IDENTIFIER.fullmatch(wire) else quote(wire)


def literal(value: JSON) -> Type:
    """The type of one value. Numbers that JavaScript does not have are any number."""
    if isinstance(value, str):
        return Type(quote(value))
    if value is None or isinstance(value, bool):
        return Type(json.dumps(value))
    if isinstance(value, int | float):
        return Type(_number(value))
    if isinstance(value, list):
        return Type(form="tuple", parts=tuple(map(literal, value)), heads=("",) * len(value), tails=("",) * len(value))
    return members([(key(name), literal(item), ()) for name, item in value.items()])


def _number(value: float) -> str:
    if not math.isfinite(value) or abs(value) > _SAFE:
        return "number"
    return str(int(value)) if value == int(value) else repr(value)


def comment(parts: Sequence[str], indent: str = "") -> list[str]:
    """The lines of a JSDoc comment from texts that may hold anything; no lines when there is nothing to say. One paragraph per text.

    `*/` would end it, and an `@` could begin a tag, or a directive to the compiler: both are taken apart."""
    paragraphs = [clean for part in parts if (clean := " ".join("".join(map(_printable, part)).split()))]
    lines: list[str] = []
    for paragraph in paragraphs:
        tame = paragraph.replace("*/", "* /").replace("/*", "/ *").replace("@", "(at)")
        lines += ["", *textwrap.wrap(tame, WIDTH - len(indent) - 6, break_long_words=False, break_on_hyphens=False)]
    lines = lines[1:]
    if not lines:
        return []
    if len(lines) == 1:
        return [f"{indent}/** {lines[0]} */"]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]


def _printable(char: str) -> str:
    return char if char.isprintable() else " "
