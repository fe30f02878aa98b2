"""What can be said of a JSON Schema without running it: the types it allows, the properties it has, and whether one value or another
schema's values can never fit. Everything here errs towards "may fit": a complaint is a proof."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from motia_spec.keywords import TYPES
from motia_spec.node import JSON
from motia_spec.tree import unescape

Defs = Mapping[str, JSON]

_DEEP = 16  # references and combinations followed
_TEMPLATE = re.compile(r"\{[^{}]+\}")
_ALL = frozenset(TYPES)


class Members(msgspec.Struct):
    """The properties of an object schema, those of its $ref and allOf included."""

    properties: dict[str, JSON]
    required: set[str]
    closed: bool = False  # others are refused
    sure: bool = True  # nothing else adds properties: no anyOf, patternProperties, ...
    open: bool = False  # others are described or expressly allowed


def parts(schema: JSON, defs: Defs, depth: int = 0) -> list[dict[str, JSON]]:
    """The schemas that all apply to the same value: itself, what it refers to, and its allOf."""
    if not isinstance(schema, dict) or depth > _DEEP:
        return []
    found = [schema]
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        found += parts(defs.get(unescape(ref.removeprefix("#/$defs/"))), defs, depth + 1)
    both = schema.get("allOf")
    for part in both if isinstance(both, list) else []:
        found += parts(part, defs, depth + 1)
    return found


def types(schema: JSON, defs: Defs, depth: int = 0) -> frozenset[str]:
    """The types a value may have. An integer counts as a number too."""
    if schema is False:
        return frozenset()
    allowed = _ALL
    if depth > _DEEP:
        return allowed
    for part in parts(schema, defs):
        wanted = part.get("type")
        if wanted is not None:
            names = {str(name) for name in (wanted if isinstance(wanted, list) else [wanted])}
            allowed &= names | ({"integer"} if "number" in names else set())
        values = _values(part)
        if values is not None:
            allowed &= frozenset[str]().union(*(kinds(value) for value in values))
        for keyword in ("anyOf", "oneOf"):
            branches = part.get(keyword)
            if isinstance(branches, list):
                allowed &= frozenset[str]().union(*(types(branch, defs, depth + 1) for branch in branches))
    return allowed


def members(schema: JSON, defs: Defs) -> Members:
    found = Members({}, set())
    for part in parts(schema, defs):
        properties = part.get("properties")
        if isinstance(properties, dict):
            for name, inner in properties.items():
                found.properties.setdefault(name, inner)
        required = part.get("required")
        found.required |= {str(name) for name in required} if isinstance(required, list) else set()
        found.closed = (
            found.closed or part.get("additionalProperties") is False or part.get("unevaluatedProperties") is False
        )
        if part.get("additionalProperties", False) is not False or "patternProperties" in part:
            found.open = True
        if part.keys() & {"anyOf", "oneOf", "if", "then", "else", "patternProperties", "dependentSchemas"}:
            found.sure = False
    return found


def missing(schema: JSON, path: Sequence[str], defs: Defs, depth: int = 0) -> tuple[str, list[str]] | None:
    """(the name that is not there, the names that are) when no value of the schema has the path; None when one may have it."""
    if not path or depth > _DEEP:
        return None
    if "object" not in types(schema, defs):
        return path[0], []
    found = members(schema, defs)
    if path[0] in found.properties:
        return missing(found.properties[path[0]], path[1:], defs, depth + 1)
    branches = _branches(schema, defs)
    if found.open or (not found.properties and not found.closed and not branches):
        return None
    faults = [missing(branch, path, defs, depth + 1) for branch in branches]
    if None in faults:
        return None
    return path[0], sorted({*found.properties, *(name for fault in faults if fault for name in fault[1])})


def conflict(source: JSON, target: JSON, defs: Defs, depth: int = 0) -> str | None:
    """Why no value of `source` fits `target`, or None when one may."""
    if depth > _DEEP:
        return None
    given, wanted = types(source, defs), types(target, defs)
    if not given & wanted:
        return f"it is {_spell(given)}, and the topic takes {_spell(wanted)}"
    ours, theirs = _choices(source, defs), _choices(target, defs)
    if ours is not None and theirs is not None and not any(value in theirs for value in ours):
        return f"it is one of {_list(ours)}, and the topic takes {_list(theirs)}"
    if given & wanted != {"object"}:
        return None
    one, other = members(source, defs), members(target, defs)
    for name in sorted(other.required - set(one.properties)):
        if one.closed and one.sure:
            return f"the topic requires {name!r}, which it never has"
    for name in sorted(one.required - set(other.properties)):
        if other.closed and other.sure:
            return f"it always has {name!r}, which the topic refuses"
    for name in sorted((one.required | other.required) & set(one.properties) & set(other.properties)):
        reason = conflict(one.properties[name], other.properties[name], defs, depth + 1)
        if reason is not None:
            return f"in {name!r}: {reason}"
    return None


def refused(value: JSON, schema: JSON, defs: Defs, depth: int = 0) -> str | None:
    """Why a literal can't fit, or None when it may. Strings with {…} in them are templates and may become anything."""
    if depth > _DEEP or (isinstance(value, str) and _TEMPLATE.search(value)):
        return None
    wanted = types(schema, defs)
    if not kinds(value) & wanted:
        return f"it is {_spell(kinds(value))}, and the schema takes {_spell(wanted)}"
    choices = _choices(schema, defs)
    if choices is not None and not isinstance(value, dict | list) and value not in choices:
        return f"it is {value!r}, and the schema takes {_list(choices)}"
    if isinstance(value, list):
        for part in parts(schema, defs):
            if "items" in part and "prefixItems" not in part:
                for index, item in enumerate(value):
                    reason = refused(item, part["items"], defs, depth + 1)
                    if reason is not None:
                        return f"in item {index}: {reason}"
    if isinstance(value, dict):
        return _refused_object(value, schema, defs, depth)
    return None


def _refused_object(value: dict[str, JSON], schema: JSON, defs: Defs, depth: int) -> str | None:
    found = members(schema, defs)
    for name in sorted(found.required - set(value)):
        return f"it lacks {name!r}, which is required"
    for name in sorted(set(value) - set(found.properties)):
        if found.closed and found.sure:
            return f"it has {name!r}, which is not among {', '.join(sorted(found.properties)) or 'none'}"
    for name in sorted(set(value) & set(found.properties)):
        reason = refused(value[name], found.properties[name], defs, depth + 1)
        if reason is not None:
            return f"in {name!r}: {reason}"
    return None


def kinds(value: JSON) -> frozenset[str]:
    """The type names of a value."""
    if value is None:
        return frozenset({"null"})
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return frozenset({"integer", "number"})
    if isinstance(value, float):
        return frozenset({"number"})
    if isinstance(value, str):
        return frozenset({"string"})
    return frozenset({"array"}) if isinstance(value, list) else frozenset({"object"})


def _branches(schema: JSON, defs: Defs) -> list[JSON]:
    found: list[JSON] = []
    for part in parts(schema, defs):
        for keyword in ("anyOf", "oneOf"):
            branches = part.get(keyword)
            found += branches if isinstance(branches, list) else []
        found += [part[keyword] for keyword in ("then", "else") if keyword in part]
    return found


def _values(part: dict[str, JSON]) -> list[JSON] | None:
    if "const" in part:
        return [part["const"]]
    values = part.get("enum")
    return values if isinstance(values, list) else None


def _choices(schema: JSON, defs: Defs) -> list[JSON] | None:
    """The only values that fit, when const or enum says so."""
    for part in parts(schema, defs):
        values = _values(part)
        if values is not None:
            return values
    return None


def _spell(names: frozenset[str]) -> str:
    shown = names - {"integer"} if "number" in names else names
    return " or ".join(sorted(shown)) or "nothing"


def _list(values: list[JSON]) -> str:
    shown = ", ".join(repr(value) for value in values[:6])
    return shown + (f" and {len(values) - 6} more" if len(values) > 6 else "")
