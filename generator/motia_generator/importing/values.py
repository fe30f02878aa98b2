"""What configs evaluate to, whichever language they are written in, and what is said of what can't be."""

from __future__ import annotations

from typing import Any

import msgspec

from motia_spec.node import JSON


class Note(msgspec.Struct, frozen=True, order=True):
    """Something that was not carried over as it stands. `file` is relative to the project."""

    file: str
    line: int
    text: str


class Unknown(msgspec.Struct, frozen=True):
    """A value that can't be known without running the code. `why` names what stands there."""

    why: str
    line: int
    file: str = ""


class Code(msgspec.Struct, frozen=True):
    """A function: one that a file exports under a name, or (with an empty `name`) one that nobody else can call."""

    file: str
    name: str
    line: int


class Shape(msgspec.Struct, frozen=True):
    """A schema, by way of zod, pydantic, or JSON Schema as it is. `value` may refer to `#/schemas/NAME`."""

    value: JSON
    optional: bool = False  # in an object: may be absent
    members: dict[str, Shape] | None = None  # of an object's schema in zod: what `extend`, `pick` and so on work on
    key: Any = None  # what a shared one was made from, so that it is made once


Value = Any  # str, int, float, bool, None, list, dict[str, Value]; Unknown, Code, Shape; and what a module offers, such as `zod.Zod`


def is_plain(value: Value) -> bool:
    """Is it JSON through and through?"""
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def first_unknown(value: Value) -> Unknown | None:
    """The first thing in a value that is not known."""
    if isinstance(value, Unknown):
        return value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for item in inside if (found := first_unknown(item)) is not None), None)


def json_schema(value: Value) -> JSON | Unknown:
    """The JSON Schema that a value is: a shape's, or a mapping that is one already, shapes in it included."""
    if isinstance(value, Shape):
        return value.value
    if isinstance(value, (bool, dict)):
        unknown = first_unknown(value)
        return unknown if unknown is not None else _plain(value)
    return value if isinstance(value, Unknown) else Unknown("something that is no schema", 1)


def _plain(value: Value) -> JSON:
    if isinstance(value, Shape):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
