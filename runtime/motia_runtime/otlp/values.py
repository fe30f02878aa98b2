"""Attributes in the JSON of OTLP, and who sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

TEXT = 4_096  # characters of a text
SAMPLED = 1  # of the flags
INTEGERS = range(-(2**63), 2**63)

Value: TypeAlias = str | int | float | bool


def attributes_of(pairs: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value_of(value)} for key, value in pairs]


def value_of(value: Any) -> dict[str, Any]:
    """An AnyValue, of anything that is JSON."""
    if isinstance(value, str):
        return {"stringValue": value[:TEXT]}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        if value not in INTEGERS:
            return {"stringValue": str(value)[:TEXT]}
        return {"intValue": str(value)}  # 64 bits are text in the JSON of protobuf
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes_of(value.items())}}
    return {}  # null


def nanos(seconds: float) -> str:
    return str(round(seconds * 1e9))


def resource_of(attributes: Mapping[str, str], scope: str, version: str, name: str, items: list[Any]) -> dict[str, Any]:
    """What one resource and one scope send: `scope` is "scopeSpans", `name` "spans"."""
    told = {"scope": {"name": "motia", "version": version}, name: items}
    return {"resource": {"attributes": attributes_of(attributes.items())}, scope: [told]}
