"""Default values of optional properties, as expressions that fit the property's type."""

from __future__ import annotations

import math
from typing import Any

from motia_generator.scalars import is_type
from motia_generator.shapes import Defs, assertions, types_of
from motia_generator.source import Expr, call, literal
from motia_spec.node import JSON

LARGEST = 1 << 62


def default_of(schema: JSON, expr: Expr, defs: Defs) -> Expr | None:
    """The value that is filled in when the property is absent; None when there is none, or when it does not fit the schema.

    A value that has to be made anew each time comes as `Expr("lambda", (value,))`.
    """
    if not isinstance(schema, dict) or "default" not in schema:
        return None
    value: Any = schema["default"]
    if isinstance(value, float) and (math.isinf(value) or math.isnan(value)):
        return None
    found = assertions(schema)
    if found is True:
        fits = True
    elif isinstance(found, dict) and set(found) == {"type"} and not isinstance(value, list | dict):
        fits = is_type(value, types_of(found))
    else:
        fits = _is_valid(schema, value, defs)
    if not fits:
        return None
    if isinstance(value, float) and value == math.floor(value) and abs(value) < LARGEST:
        value = int(value)
    if isinstance(value, list | dict):
        return Expr("lambda", (call("convert", literal(value), expr),))
    return literal(value)


def _is_valid(schema: JSON, value: JSON, defs: Defs) -> bool:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Registry

    assert isinstance(schema, dict)
    whole = {**schema, "$defs": dict(defs)}
    try:
        checker = Draft202012Validator.FORMAT_CHECKER
        Draft202012Validator(whole, registry=Registry(), format_checker=checker).validate(value)
    except (ValidationError, RecursionError):
        return False
    return True
