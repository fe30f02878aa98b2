"""Texts of the spec with places in them for values of an event: `{data.customer.id}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_PLACE = re.compile(r"\{(data(?:\.[^{}.]+)*)\}")


class NothingThere(LookupError):
    """The event has no value for a place in a text of the spec."""


def filled(template: Any, data: Any) -> Any:
    """The template with every place in its texts filled in, at any depth. A text that is one place becomes the value itself, of whatever type;
    within a text, a value that is no text stands as JSON. Braces around anything but `data` and what is below it stay as they are. Both are
    plain JSON. Raises `NothingThere`."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole is not None:
            return _value(whole[1], data)
        return _PLACE.sub(lambda place: _text(_value(place[1], data)), template)
    if isinstance(template, Mapping):
        return {name: filled(inner, data) for name, inner in template.items()}
    if isinstance(template, list | tuple):
        return [filled(inner, data) for inner in template]
    return template


def _value(path: str, data: Any) -> Any:
    found = data
    for name in path.split(".")[1:]:
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise NothingThere(f"the event has nothing at {{{path}}}")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
