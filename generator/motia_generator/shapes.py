"""What can be known of a JSON Schema without making types of it: which kinds of values it admits, its constants, its properties as one object.

Schemas here are in the canonical form of `motia_spec.model.Schema`: references lead to `#/$defs/KEY` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from motia_spec.node import JSON

Object = dict[str, Any]  # a schema that is a mapping
Defs = Mapping[str, JSON]

KINDS = frozenset({"null", "boolean", "number", "string", "array", "object"})

# Keywords that restrict values of one kind only. On a schema that does not admit that kind they mean nothing.
OF_KIND = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"),
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
        *("maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
    ),
}  # fmt: skip
KIND_OF = {keyword: kind for kind, keywords in OF_KIND.items() for keyword in keywords}
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
ASSERTIONS = frozenset({"$ref", "type", "enum", "const", *IN_PLACE, *KIND_OF})
FORMATS = {
    "date": "Date",
    "date-time": "DateTime",
    "email": "Email",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "uuid": "UUID",
}  # those that are enforced, by their name in motia_runtime.formats
_IDLE: Object = {
    "minLength": 0, "minItems": 0, "minProperties": 0, "uniqueItems": False, "required": [], "additionalProperties": True,
    "unevaluatedProperties": True, "unevaluatedItems": True, "items": True, "properties": {}, "patternProperties": {},
    "propertyNames": True, "dependentRequired": {}, "dependentSchemas": {}, "allOf": [], "prefixItems": [], "not": False,
}  # fmt: skip


def assertions(schema: JSON) -> Object | bool:
    """The keywords of a schema that can reject something; True when none does, False when nothing passes."""
    if not isinstance(schema, dict):
        return schema is not False
    kept: Object = {}
    for keyword, value in schema.items():
        if keyword not in ASSERTIONS:
            continue
        if keyword in _IDLE and _says_nothing(value, _IDLE[keyword]):
            continue
        if keyword == "format" and value not in FORMATS:
            continue
        kept[keyword] = value
    if "additionalProperties" in schema:
        kept.pop("unevaluatedProperties", None)  # none are left for it: even `true` evaluates every property
    if "if" not in kept or not ("then" in kept or "else" in kept):
        for keyword in ("if", "then", "else"):
            kept.pop(keyword, None)
    if "contains" not in kept:
        kept.pop("minContains", None)
        kept.pop("maxContains", None)
    return kept or True


def _says_nothing(value: JSON, idle: JSON) -> bool:
    """Is a keyword's value the one that rejects nothing? (`0 == False` in Python; here it is not.)"""
    return (value == idle and isinstance(value, bool) == isinstance(idle, bool)) or (idle is True and value == {})


def ref_key(schema: JSON) -> str | None:
    """KEY of a schema's `$ref`, or None."""
    ref = schema.get("$ref") if isinstance(schema, dict) else None
    if not isinstance(ref, str):
        return None
    return ref.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")


def resolve(schema: JSON, defs: Defs) -> tuple[str | None, JSON]:
    """Follow references that stand alone. The key of the last one, and the schema there."""
    key, seen = None, set[str]()
    while isinstance(found := assertions(schema), dict) and set(found) == {"$ref"}:
        key = ref_key(found)
        if key is None or key in seen or key not in defs:
            break
        seen.add(key)
        schema = defs[key]
    return key, schema


def kind_of(value: JSON) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def types_of(schema: Object) -> list[str]:
    """The words of `type`, as a list; empty when there is no `type`."""
    given = schema.get("type", [])
    return [given] if isinstance(given, str) else list(given)


def kinds(schema: JSON, defs: Defs, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The kinds of values that a schema may admit; never fewer than it does."""
    found = assertions(schema)
    if not isinstance(found, dict):
        return KINDS if found else frozenset()
    admitted = KINDS
    if words := types_of(found):
        admitted &= {"number" if word == "integer" else word for word in words}
    if "enum" in found:
        admitted &= {kind_of(value) for value in found["enum"]}
    if "const" in found:
        admitted &= {kind_of(found["const"])}
    key = ref_key(found)
    if key is not None and key not in seen and key in defs:
        admitted &= kinds(defs[key], defs, seen | {key})
    for member in found.get("allOf", ()):
        admitted &= kinds(member, defs, seen)
    for keyword in ("anyOf", "oneOf"):
        if keyword in found:
            admitted &= frozenset[str]().union(*(kinds(member, defs, seen) for member in found[keyword]))
    return admitted


def has_pattern(schema: JSON, defs: Defs, seen: frozenset[str] = frozenset()) -> bool:
    """May the type of a schema's texts hold a regular expression, by `pattern` or by an enforced format?"""
    found = assertions(schema)
    if not isinstance(found, dict):
        return False
    if "pattern" in found or "format" in found:
        return True
    key = ref_key(found)
    if key is not None and key not in seen and key in defs and has_pattern(defs[key], defs, seen | {key}):
        return True
    return any(has_pattern(m, defs, seen) for keyword in ("allOf", "anyOf", "oneOf") for m in found.get(keyword, ()))


class Merged(msgspec.Struct):
    """An object schema with what `allOf` and `$ref` add to it."""

    properties: dict[str, JSON] = {}
    required: list[str] = []  # in order, may name properties that are not described
    mentioned: dict[str, None] = {}  # more names whose presence the gaps judge
    closed: bool = False
    is_map: bool = False  # not all names that matter are known: patternProperties, a schema for additional ones, ...
    evaluated: bool = False  # a part judges every property, so that an outer unevaluatedProperties has none left
    gaps: set[str] = msgspec.field(default_factory=set)  # keywords that the merged form does not say


_MERGED = {"type", "properties", "required", "additionalProperties", "unevaluatedProperties", "allOf", "$ref"}
_EVALUATES = {"additionalProperties", "unevaluatedProperties"}


def merge(schema: Object, defs: Defs, seen: frozenset[str] = frozenset()) -> Merged:
    """One object out of a schema whose values are objects. What it can't say exactly it leaves out, and lists."""
    out = Merged(dict(schema.get("properties", {})), list(schema.get("required", ())))
    rest = set(schema) - _MERGED
    out.gaps |= rest
    closed = schema.get("additionalProperties") is False
    if isinstance(schema.get("additionalProperties"), dict):
        out.is_map = True
        out.gaps.add("additionalProperties")
    out.is_map |= "patternProperties" in schema
    parts: list[tuple[str, JSON]] = [("allOf", member) for member in schema.get("allOf", ())]
    key = ref_key(schema)
    if key is not None:
        if key in seen or key not in defs:
            out.gaps.add("$ref")
        else:
            parts.append(("$ref", defs[key]))
            seen |= {key}
    for keyword, part in parts:
        found = assertions(part)
        out.evaluated |= isinstance(part, dict) and not part.keys().isdisjoint(_EVALUATES)
        if not isinstance(found, dict):
            if not found:
                out.gaps.add(keyword)
            continue
        inner = merge(found, defs, seen)
        if inner.gaps or inner.closed or inner.is_map:
            out.gaps.add(keyword)
        out.is_map |= inner.is_map
        out.evaluated |= inner.evaluated
        for name, described in inner.properties.items():
            if name in out.properties and out.properties[name] != described:
                out.properties[name] = True
                out.gaps.add(keyword)
            else:
                out.properties[name] = described
        out.mentioned |= inner.mentioned
        out.required += [name for name in inner.required if name not in out.required]
    mentions = _Mentions()
    judges = {*IN_PLACE, "const", "enum", "dependentRequired", "dependentSchemas"}
    _mention({k: schema[k] for k in rest & judges}, defs, mentions)
    for name in mentions.inside & set(out.properties):
        if looks_inside(out.properties[name], defs):
            out.properties[name] = True
            out.gaps.add("properties")
    if not closed:
        out.mentioned |= mentions.names
    has_default = any(isinstance(described, dict) and "default" in described for described in out.properties.values())
    out.is_map |= mentions.counts and (has_default or not closed)
    out.is_map |= not closed and schema.get("minProperties", 0) > len(out.required)
    out.is_map |= has_default and not {"maxProperties", "propertyNames"}.isdisjoint(schema)
    if closed and parts and set(out.properties) != set(schema.get("properties", {})):
        out.gaps.add("additionalProperties")
    elif closed:
        out.closed = True
    if schema.get("unevaluatedProperties") is False and not (out.is_map or out.evaluated or out.gaps | rest):
        out.closed = True
    elif "unevaluatedProperties" in schema:
        out.gaps.add("unevaluatedProperties")
    return out


class _Mentions(msgspec.Struct):
    """What parts of a schema that judge the same object speak of."""

    names: dict[str, None] = {}
    inside: set[str] = msgspec.field(default_factory=set)  # names whose values they judge by what is in them
    counts: bool = False  # they judge properties that they don't name


_COUNTS = {"minProperties", "maxProperties", "patternProperties", "propertyNames", *_EVALUATES}


def _mention(part: JSON, defs: Defs, out: _Mentions, seen: frozenset[str] = frozenset()) -> None:
    found = assertions(part)
    if not isinstance(found, dict):
        return
    out.counts |= not _COUNTS.isdisjoint(found)
    for value in [found["const"]] if "const" in found else found.get("enum", ()):
        if isinstance(value, dict):
            out.counts = True
            out.inside |= value.keys()
    for name, described in found.get("properties", {}).items():
        out.names[name] = None
        if looks_inside(described, defs):
            out.inside.add(name)
    out.names |= dict.fromkeys(found.get("required", ()))
    for name, needed in found.get("dependentRequired", {}).items():
        out.names |= dict.fromkeys([name, *needed])
    out.names |= dict.fromkeys(found.get("dependentSchemas", ()))
    key = ref_key(found)
    if key is not None and key in defs and key not in seen:
        _mention(defs[key], defs, out, seen | {key})
    for keyword in ("allOf", "anyOf", "oneOf"):
        for member in found.get(keyword, ()):
            _mention(member, defs, out, seen)
    for keyword in ("not", "if", "then", "else"):
        _mention(found.get(keyword, True), defs, out, seen)
    for member in found.get("dependentSchemas", {}).values():
        _mention(member, defs, out, seen)


def looks_inside(schema: JSON, defs: Defs) -> bool:
    """Does a schema judge objects or arrays by more than that they are some?"""
    found = assertions(schema)
    return isinstance(found, dict) and set(found) != {"type"} and not kinds(found, defs).isdisjoint({"object", "array"})


def tag_of(schema: JSON, defs: Defs) -> dict[str, str]:
    """Required properties of an object schema that are one constant string: wire name -> value."""
    _, target = resolve(schema, defs)
    found = assertions(target)
    if not isinstance(found, dict) or not is_class(found, defs):
        return {}
    merged = merge(found, defs)
    tags = {}
    for name in merged.required:
        described = assertions(merged.properties.get(name, True))
        if isinstance(described, dict) and set(described) <= {"type", "const", "enum"}:
            values = [described["const"]] if "const" in described else described.get("enum", [])
            if (
                len(values) == 1
                and isinstance(values[0], str)
                and types_of(described) in ([], ["string"])
                and len(described) <= 2
            ):
                tags[name] = values[0]
    return tags


def is_class(schema: JSON, defs: Defs) -> bool:
    """Can a class with named fields hold the values?"""
    found = assertions(schema)
    if not isinstance(found, dict) or kinds(found, defs) != {"object"} or {"enum", "const"} & set(found):
        return False
    merged = merge(found, defs)
    return (
        bool(merged.properties)
        and not merged.is_map
        and all(map(is_wire_name, [*merged.properties, *merged.required, *merged.mentioned]))
    )


def is_wire_name(name: str) -> bool:
    """Can msgspec rename a field to this?"""
    return not any(char in '"\\' or char < " " or "\ud800" <= char <= "\udfff" for char in name)
