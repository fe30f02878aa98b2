"""Texts read as what a schema wants of them: query parameters come as text, their schema speaks of numbers and booleans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from motia_spec.node import JSON

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,308})\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,308})(?:\.[0-9]{1,308})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_BOOLEAN = {"true": True, "false": False, "1": True, "0": False}
_DEEPEST = 32  # references and alternatives followed


def coerce(values: Any, schema: JSON, defs: Mapping[str, JSON]) -> Any:
    """An object of texts, or lists of texts, as JSON data; a single text where the schema wants an array is an array of one; absent
    properties get their defaults. A text that can't be read stays text, so that validation says what is wrong with it."""
    if not isinstance(values, dict):
        return values
    properties = _properties(schema, defs, 0)
    read = {name: _read(value, properties.get(name, True), defs, 0) for name, value in values.items()}
    for name, described in properties.items():
        if name not in read and isinstance(described, dict) and "default" in described:
            read[name] = described["default"]
    return read


def _properties(schema: JSON, defs: Mapping[str, JSON], depth: int) -> dict[str, JSON]:
    schema = _resolve(schema, defs)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return {}
    found: dict[str, JSON] = {}
    parts = schema.get("allOf", [])
    for part in parts if isinstance(parts, list) else ():
        found |= _properties(part, defs, depth + 1)
    own = schema.get("properties", {})
    return found | (own if isinstance(own, dict) else {})


def _resolve(schema: JSON, defs: Mapping[str, JSON]) -> JSON:
    for _ in range(_DEEPEST):
        ref = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(ref, str):
            break
        schema = defs.get(ref.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~"), True)
    return schema


def _types(schema: JSON, defs: Mapping[str, JSON], depth: int) -> list[str]:
    """Types that a schema names, in order."""
    schema = _resolve(schema, defs)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return []
    named = schema.get("type", [])
    found = (
        [named]
        if isinstance(named, str)
        else [t for t in named if isinstance(t, str)]
        if isinstance(named, list)
        else []
    )
    for keyword in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(keyword, [])
        for part in parts if isinstance(parts, list) else ():
            found += _types(part, defs, depth + 1)
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if not found and isinstance(values, list):
        for value in values:
            found.append("string" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number")
    return found


def _read(value: Any, schema: JSON, defs: Mapping[str, JSON], depth: int) -> Any:
    types = _types(schema, defs, depth)
    if "array" in types:
        target = _resolve(schema, defs)
        items = target.get("items", True) if isinstance(target, dict) else True
        if isinstance(value, str):
            value = [value]
        return [_read(item, items, defs, depth + 1) for item in value] if isinstance(value, list) else value
    if not isinstance(value, str):
        return value
    for word in types:
        if word == "string":
            return value
        if word == "boolean" and value in _BOOLEAN:
            return _BOOLEAN[value]
        if word in ("integer", "number") and _INTEGER.match(value):
            return int(value)
        if word == "number" and _NUMBER.match(value):
            return float(value)
        if word == "null" and value in ("", "null"):
            return None
    return value
