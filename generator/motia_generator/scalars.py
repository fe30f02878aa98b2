"""Types of single values: numbers, strings, constants; with the bounds that msgspec can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from motia_generator.shapes import FORMATS, Object, assertions
from motia_generator.source import Expr, call, either, index, literal, text
from motia_spec.node import JSON

EXACT = 2**53  # integers below are doubles without loss
INT64 = 2**63 - 1
LONGEST = 2**31  # lengths beyond mean nothing to msgspec

# Keywords that say the same wherever they stand beside each other, so that an allOf of them is one schema.
INDEPENDENT = {
    *("type", "minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def is_type(value: JSON, words: Iterable[str]) -> bool:
    """Is a value of one of these JSON Schema types?"""
    for word in words:
        if word == "integer":
            if isinstance(value, int | float) and not isinstance(value, bool) and value == math.floor(value):
                return True
        elif word == "number":
            if isinstance(value, int | float) and not isinstance(value, bool):
                return True
        elif isinstance(
            value, {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}[word]
        ):
            return True
    return False


def annotated(expr: Expr, meta: dict[str, str]) -> Expr:
    if not meta:
        return expr
    return index("Annotated", expr, call("Meta", *(text(f"{name}={value}") for name, value in meta.items())))


def number(own: Object, *, integer: bool) -> tuple[Expr, set[str]]:
    """A number with its bounds, and the keywords that did not fit."""
    gaps: set[str] = set()
    meta: dict[str, str] = {}
    lower = _bound(own, "minimum", "exclusiveMinimum", integer, gaps, up=True)
    upper = _bound(own, "maximum", "exclusiveMaximum", integer, gaps, up=False)
    meta |= lower | upper
    step = own.get("multipleOf")
    if step is not None:
        if integer and step == int(step) and 0 < step < INT64:
            meta["multiple_of"] = repr(int(step))
        else:
            gaps.add("multipleOf")
    return annotated(text("int" if integer else "float"), meta), gaps


def _bound(own: Object, plain: str, exclusive: str, integer: bool, gaps: set[str], *, up: bool) -> dict[str, str]:
    """The tighter of an inclusive and an exclusive bound: msgspec takes one. `up` for the lower bound."""
    found: list[tuple[float | int, bool, str]] = []
    for keyword in (plain, exclusive):
        if keyword not in own:
            continue
        value = own[keyword]
        if abs(value) >= (INT64 if integer else EXACT):
            gaps.add(keyword)
            continue
        is_exclusive = keyword == exclusive
        if integer and value != int(value):
            value, is_exclusive = (math.ceil(value) if up else math.floor(value)), False
        found.append((int(value) if integer else value, is_exclusive, keyword))
    if not found:
        return {}
    value, is_exclusive, _ = (max if up else min)(found, key=lambda f: (f[0], f[1] if up else not f[1]))
    name = ("gt" if is_exclusive else "ge") if up else ("lt" if is_exclusive else "le")
    return {name: repr(value)}


def string(own: Object) -> tuple[Expr, set[str]]:
    """A string with its lengths, pattern and format, and the keywords that did not fit."""
    gaps: set[str] = set()
    meta: dict[str, str] = {}
    if too_long(own.get("minLength", 0), own.get("maxLength")):
        gaps |= {"minLength", "maxLength"} & set(own)
    else:
        if own.get("minLength"):
            meta["min_length"] = repr(int(own["minLength"]))
        if "maxLength" in own:
            meta["max_length"] = repr(int(own["maxLength"]))
    base = text("str")
    if "pattern" in own:
        if _compiles(own["pattern"]):
            meta["pattern"] = literal(own["pattern"]).head
            gaps |= {"format"} & set(own)
        else:
            gaps.add("pattern")
    elif "format" in own:
        base = text(f"formats.{FORMATS[own['format']]}")
    return annotated(base, meta), gaps


def too_long(least: float, most: float | None) -> bool:
    return least >= LONGEST or (most or 0) >= LONGEST


def _compiles(pattern: str) -> bool:
    try:
        pattern.encode()
        re.compile(pattern)
    except (re.error, UnicodeEncodeError, OverflowError, RecursionError):
        return False
    return True


def constants(values: list[JSON]) -> tuple[Expr, bool]:
    """The type of some constants, and whether it admits nothing else. Literal holds text, 64-bit integers and null."""
    parts: list[Expr] = []
    fitting: list[Expr] = []
    exact = bool(values)
    kinds = {type(v) for v in values}
    for value in values:
        if value is None:
            continue
        if isinstance(value, bool):
            parts.append(text("bool"))
            exact &= {True, False} <= {v for v in values if isinstance(v, bool)}
        elif (
            isinstance(value, int | float)
            and value == math.floor(value)
            and abs(value) <= INT64
            and not _has_fraction(values)
        ):
            fitting.append(text(repr(int(value))))
        elif isinstance(value, int | float):
            parts.append(text("float"))
            exact = False
        elif isinstance(value, str) and _encodes(values):
            fitting.append(literal(value))
        else:
            exact = False
            parts.append(
                text("str")
                if isinstance(value, str)
                else index("list", text("Any"))
                if isinstance(value, list)
                else index("dict", text("str"), text("Any"))
            )
    if fitting:
        parts.insert(0, index("Literal", *dict.fromkeys(fitting)))
    if type(None) in kinds:
        parts.append(text("None"))
    return (either(parts) if parts else text("Any")), exact


def _has_fraction(values: list[JSON]) -> bool:
    """A number that Literal can't hold makes all numbers floats."""
    return any(
        isinstance(v, int | float) and not isinstance(v, bool) and (v != math.floor(v) or abs(v) > INT64)
        for v in values
    )


def _encodes(values: list[JSON]) -> bool:
    return not any(isinstance(v, str) and any("\ud800" <= c <= "\udfff" for c in v) for v in values)


def constant_members(members: list[JSON]) -> list[JSON] | None:
    """The values of a union whose members are all constants; None when one is not."""
    values: list[JSON] = []
    for member in members:
        found = assertions(member)
        if not isinstance(found, dict) or set(found) - {"type"} not in ({"const"}, {"enum"}):
            return None
        own = [found["const"]] if "const" in found else found["enum"]
        word = found.get("type", [])
        words = [word] if isinstance(word, str) else word
        values += [v for v in own if not words or is_type(v, words)]
    return values or None
