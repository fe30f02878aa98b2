"""Faults as people read them: a JSON Pointer (RFC 6901), the keyword, and a sentence that quotes what was found, shortly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from motia_runtime.handler import Fault
from motia_spec.keywords import SENSITIVE

MOST_FAULTS = 20  # per value
_SHOWN = 60  # characters of a value


def pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def position(value: Any, path: Iterable[str | int]) -> tuple[int, ...]:
    """Where in a document a path leads, as numbers that sort in the order of the text."""
    where = []
    for part in path:
        if isinstance(value, dict):
            where.append(next((i for i, key in enumerate(value) if key == part), 0))
        else:
            where.append(int(part))
        value = value[part]
    return tuple(where)


def fault_of(error: Any) -> Fault:
    """A fault from an error of `jsonschema`."""
    keyword = str(error.validator or "false")
    if isinstance(error.schema, dict) and error.schema.get(SENSITIVE) is True:
        return Fault(pointer(error.absolute_path), keyword, f"does not fit `{keyword}`")
    return Fault(pointer(error.absolute_path), keyword, _detail(keyword, error.validator_value, error.instance, error))


def _detail(keyword: str, wanted: Any, found: Any, error: Any) -> str:
    say = _SENTENCES.get(keyword)
    if say is not None:
        return say(wanted, found)
    if keyword == "required":
        missing = next((name for name in wanted if f"{name!r} is a required property" == error.message), None)
        return f"{shown(missing)} is required" if missing is not None else str(error.message)[:200]
    if keyword in ("additionalProperties", "unevaluatedProperties") and wanted is False:
        known = error.schema.get("properties", {})
        if keyword == "additionalProperties" and "patternProperties" not in error.schema:
            extra = [name for name in found if name not in known]
            allowed = ", ".join(map(shown, list(known)[:20])) or "none"
            return f"{', '.join(map(shown, extra[:5]))} not allowed (allowed: {allowed})"
        return "has properties that the schema does not allow"
    return f"{shown(found)} does not fit `{keyword}`"


def shown(value: Any) -> str:
    """A value in an error, as JSON and never longer than a line."""
    import json

    if isinstance(value, dict):
        return f"an object with {len(value)} properties" if value else "an empty object"
    if isinstance(value, list):
        return f"an array of {len(value)}" if value else "an empty array"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**_SHOWN:
        return "a huge number"
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= _SHOWN + 2 else text[:_SHOWN] + '..."'


def kind(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for python, name in ((int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, python):
            return name
    return "object"


def _list(values: Any) -> str:
    return ", ".join(map(shown, values[:20])) + (", ..." if len(values) > 20 else "")


_SENTENCES: dict[str, Callable[[Any, Any], str]] = {
    "type": lambda w, f: f"expected {w if isinstance(w, str) else ' or '.join(w)}, found {kind(f)}",
    "enum": lambda w, f: f"{shown(f)} is not one of {_list(w)}",
    "const": lambda w, f: f"{shown(f)} is not {shown(w)}",
    "minimum": lambda w, f: f"{shown(f)} is less than {w}",
    "maximum": lambda w, f: f"{shown(f)} is more than {w}",
    "exclusiveMinimum": lambda w, f: f"{shown(f)} is not more than {w}",
    "exclusiveMaximum": lambda w, f: f"{shown(f)} is not less than {w}",
    "multipleOf": lambda w, f: f"{shown(f)} is not a multiple of {w}",
    "minLength": lambda w, f: f"{len(f)} characters are fewer than {w}",
    "maxLength": lambda w, f: f"{len(f)} characters are more than {w}",
    "pattern": lambda w, f: f"{shown(f)} does not match {w!r}",
    "format": lambda w, f: f"{shown(f)} is not a valid {w}",
    "minItems": lambda w, f: f"{len(f)} items are fewer than {w}",
    "maxItems": lambda w, f: f"{len(f)} items are more than {w}",
    "uniqueItems": lambda _, f: "has an item twice",
    "minProperties": lambda w, f: f"{len(f)} properties are fewer than {w}",
    "maxProperties": lambda w, f: f"{len(f)} properties are more than {w}",
    "anyOf": lambda w, f: f"{shown(f)} fits none of the {len(w)} alternatives",
    "not": lambda _, f: f"{shown(f)} is what the schema excludes",
    "contains": lambda _, f: "has too few or too many of the items it must contain",
    "false": lambda _, f: "is not allowed here",
}
