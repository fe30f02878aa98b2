"""Keys of events: what a key path of the spec (`data.customer.id`) finds in one event's data, as text that equal values share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from motia_runtime.handler import Model

_encode = msgspec.json.Encoder(order="sorted").encode


def path_of(key: str) -> tuple[str, ...]:
    """The property names of a key path, which the spec's rules have checked: it begins with `data`."""
    return tuple(key.split(".")[1:])


def found_at(value: Any, path: tuple[str, ...]) -> Any:
    """What is there; None when nothing is."""
    for name in path:
        if not isinstance(value, Model | Mapping):
            return None
        value = value.get(name)
    return value


def key_of(value: Any, path: tuple[str, ...]) -> str | None:
    """The JSON text of what is there, the same for values that JSON Schema holds equal (1 and 1.0). None when nothing or null is."""
    found = found_at(value, path)
    return None if found is None else _encode(_plain(found)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.to_builtins(value))
    return value
