"""One generated Python module: its header, the imports its code needs, its code."""

from __future__ import annotations

import re
from collections.abc import Iterable

from motia_generator.source import INDENT, WIDTH, docstring
from motia_spec.stamp import HEADER, PACKAGE

# Where the names that generated code may use come from. A name that is not used is not imported.
STANDARD = {
    "collections.abc": ("AsyncIterator", "Awaitable", "Callable", "Iterator", "Mapping"),
    "typing": (
        *("TYPE_CHECKING", "Annotated", "Any", "ClassVar", "Literal", "Never", "NotRequired", "TypeAlias", "TypedDict"),
        *("Union", "overload"),
    ),
}
THIRD_PARTY = {
    "motia_runtime": ("context", "formats", "handler"),
    "motia_runtime.handler": ("Model",),
    "msgspec": ("UNSET", "Meta", "UnsetType", "convert", "field"),
}
OWN = {PACKAGE: ("events", "groups", "schemas")}

_MODULES = {*THIRD_PARTY["motia_runtime"], *OWN[PACKAGE]}
_STRINGS = re.compile(r'"""(?:[^\\]|\\.)*?"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', re.DOTALL)
_NAMES = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_DIGITS = re.compile(r"([0-9]+)")


def member_key(name: str) -> tuple[object, ...]:
    """The order of names in an import: constants, classes, the rest, each in natural order."""
    kind = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    natural = tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in _DIGITS.split(name))
    return kind, natural, name


def from_import(module: str, names: Iterable[str], indent: str = "") -> str:
    """`from module import a, b`, broken over lines when it is long."""
    members = sorted(names, key=member_key)
    line = f"{indent}from {module} import {', '.join(members)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{indent}from {module} import (", *(f"{indent}{INDENT}{m}," for m in members), f"{indent})"])


def module(doc: Iterable[str], body: str, *, modules: tuple[str, ...] = ()) -> str:
    """The text of a module. `body` is its statements; `modules` are those it refers to by name, as `schemas` in `schemas.Order`."""
    used = set(_NAMES.findall(_STRINGS.sub('""', body)))
    sections = [["from __future__ import annotations"]]
    for section in (STANDARD, THIRD_PARTY, OWN):
        lines = ["import builtins"] if section is STANDARD and "builtins" in used else []
        for source, members in section.items():
            wanted = [m for m in members if m in used and (m in modules or m not in _MODULES)]
            if wanted:
                lines.append(from_import(source, wanted))
        sections.append(lines)
    imports = "\n\n".join("\n".join(lines) for lines in sections if lines)
    head = [HEADER, *docstring(list(doc))]
    text = "\n".join(head) + "\n\n" + imports + "\n"
    if not body:
        return text
    gap = "\n\n" if body.startswith(("class ", "def ", "@")) else "\n"
    return text + gap + body.rstrip("\n") + "\n"
