"""The vocabulary of JSON Schema 2020-12: which keywords hold schemas, which hold data, and what each one's value may be."""

from __future__ import annotations

from motia_spec import patterns
from motia_spec.node import JSON, ListNode, MapNode, Node, ScalarNode

DIALECTS = ("https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#")
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
CHECKED_FORMATS = ("date", "date-time", "email", "ipv4", "ipv6", "uuid")  # all others are annotations
MOST_ENUM = 10_000  # items

IN_PLACE = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
)  # applied to the value itself
ONE = frozenset(
    [
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "items",
        "unevaluatedItems",
        "contains",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    ]
)
MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
DROPPED = frozenset(["$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment", "$defs", "definitions"])

_NUMBERS = frozenset(["multipleOf", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"])
_COUNTS = frozenset(
    ["maxLength", "minLength", "maxItems", "minItems", "maxContains", "minContains", "maxProperties", "minProperties"]
)
_TEXTS = frozenset(
    [
        "pattern",
        "format",
        "title",
        "description",
        "contentEncoding",
        "contentMediaType",
        "$schema",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$comment",
        "$ref",
        "$dynamicRef",
    ]
)
SENSITIVE = "x-sensitive"  # of ours: what has it is never shown in records, logs and traces
_FLAGS = frozenset(["uniqueItems", "deprecated", "readOnly", "writeOnly", SENSITIVE])
_ANY = frozenset(["const", "default", "$vocabulary"])

ALL = (ONE | MANY | NAMED | DROPPED | _NUMBERS | _COUNTS | _TEXTS | _FLAGS | _ANY) | frozenset(
    ["type", "enum", "required", "dependentRequired", "examples", "$ref", "$dynamicRef"]
)

FOREIGN = {  # keyword of another dialect: what to write instead
    "nullable": 'write type: [string, "null"]',
    "example": "write examples: [...]",
    "dependencies": "write dependentRequired or dependentSchemas",
    "additionalItems": "write items beside prefixItems",
    "id": "leave it out, or describe it under properties",
    "discriminator": "write oneOf with a const in each branch",
    "$recursiveRef": "write $dynamicRef or $ref",
    "$recursiveAnchor": "write $dynamicAnchor or $anchor",
}

_ORDERED = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minimum", "maximum"),
)


def fault(key: str, node: Node) -> str | None:
    """What is wrong with a keyword's value, or None. Schemas inside of it are not looked at."""
    if key in _NUMBERS:
        value = _scalar(node)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"{key} must be a number, not {kind(node)}"
        return f"multipleOf must be greater than 0, not {value}" if key == "multipleOf" and value <= 0 else None
    if key in _COUNTS:
        value = _scalar(node)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            return f"{key} must be a whole number from 0, not {kind(node)}"
        return None
    if key in _TEXTS:
        return None if isinstance(_scalar(node), str) else f"{key} must be a string, not {kind(node)}"
    if key in _FLAGS:
        return None if isinstance(_scalar(node), bool) else f"{key} must be true or false, not {kind(node)}"
    if key in ONE:
        if key == "items" and isinstance(node, ListNode):
            return "items must be one schema; a list of schemas is written prefixItems"
        return None if is_schema(node) else f"{key} must be a schema, not {kind(node)}"
    if key in MANY:
        if not isinstance(node, ListNode) or not node.items:
            return f"{key} must be a list of at least one schema, not {kind(node)}"
        return None
    if key in NAMED:
        return None if isinstance(node, MapNode) else f"{key} must map names to schemas, not {kind(node)}"
    if key == "type":
        return _type_fault(node)
    if key in ("enum", "examples"):
        return (
            None
            if isinstance(node, ListNode) and (node.items or key == "examples")
            else f"{key} must be a list of values"
        )
    if key == "required":
        return _names_fault("required", node)
    if key == "dependentRequired":
        if not isinstance(node, MapNode):
            return f"dependentRequired must map names to lists of names, not {kind(node)}"
        faults = (_names_fault(f"dependentRequired of {name!r}", value) for name, _, value in node.items())
        return next((f for f in faults if f), None)
    return None


def disorder(schema: MapNode) -> tuple[str, str] | None:
    """(keyword, message) of a lower bound above its upper bound, or None."""
    for low, high in _ORDERED:
        below, above = schema.get(low), schema.get(high)
        if below is None or above is None:
            continue
        lower, upper = _scalar(below), _scalar(above)
        if isinstance(lower, int | float) and isinstance(upper, int | float) and lower > upper:
            return low, f"{low} {lower} is greater than {high} {upper}, so no value fits"
    return None


def is_schema(node: Node) -> bool:
    return isinstance(node, MapNode) or isinstance(_scalar(node), bool)


def kind(node: Node) -> str:
    """A value in the words of a message."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    value = _scalar(node)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:37]}..."


def pattern_fault(pattern: str) -> tuple[str, str] | None:
    """("invalid" | "unsafe", why), or None when the pattern may be run."""
    found = patterns.check(pattern)
    if found is None:
        return None
    sort, _, why = found.partition(": ")
    return sort, why


def _scalar(node: Node) -> JSON:
    return node.value if isinstance(node, ScalarNode) else []


def _type_fault(node: Node) -> str | None:
    values = [_scalar(item) for item in node.items] if isinstance(node, ListNode) else [_scalar(node)]
    if not values or len({str(value) for value in values}) < len(values):
        return "type must name at least one type, and each once"
    for value in values:
        if value not in TYPES:
            shown = kind(node) if not isinstance(node, ListNode) else repr(value)
            return f"{shown} is not a type; allowed are {', '.join(TYPES)}"
    return None


def _names_fault(what: str, node: Node) -> str | None:
    if not isinstance(node, ListNode):
        return f"{what} must be a list of property names, not {kind(node)}"
    names = [_scalar(item) for item in node.items]
    if not all(isinstance(name, str) for name in names):
        return f"{what} must be a list of property names"
    if len(set(map(str, names))) < len(names):
        return f"{what} names a property twice"
    return None
