"""The second tier's judge: `jsonschema` for draft 2020-12, with the enforced formats and nothing to fetch.

Imported late: `jsonschema` takes 150 ms to import, and an app whose types are exact and whose clients make no mistakes never needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry

from motia_runtime.formats import PATTERNS
from motia_spec.node import JSON

FORMATS = FormatChecker(formats=())


def _check_format(name: str, pattern: str) -> None:
    compiled = re.compile(pattern)

    @FORMATS.checks(name)
    def check(value: object) -> bool:
        return not isinstance(value, str) or compiled.search(value) is not None


for _name, _pattern in PATTERNS.items():
    _check_format(_name, _pattern)


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`uniqueItems` in linear time; jsonschema compares every pair when items are objects."""
    if unique and validator.is_type(instance, "array"):
        seen = set()
        for item in instance:
            key = _hashable(item)
            if key in seen:
                yield ValidationError("has an item twice")
                return
            seen.add(key)


def _hashable(value: Any) -> Any:
    """Equal for values that are equal to JSON Schema: 1 is 1.0, but not true."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return value


_Validator: Any = extend(Draft202012Validator, {"uniqueItems": _unique_items})  # type: ignore[no-untyped-call]  # its stub leaves it out


def validator(schema: JSON, defs: Mapping[str, JSON]) -> Any:
    """A validator of one schema in canonical form against its definitions."""
    whole = {**schema, "$defs": dict(defs)} if isinstance(schema, dict) else schema
    return _Validator(whole, registry=Registry(), format_checker=FORMATS)
