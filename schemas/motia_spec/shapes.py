"""What can be said of a JSON Schema without running it: the types it allows, the properties it has, and whether one value or another
schema's values can never fit. Everything here errs towards "may fit": a complaint is a proof.

Schemas may refer to each other so that walking all ways through them takes exponential time; each question about a schema is therefore
answered once and remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from motia_spec.keywords import TYPES
from motia_spec.node import JSON
from motia_spec.tree import unescape

_DEEP = 32  # properties in properties that are compared
_TEMPLATE = re.compile(r"\{[^{}]+\}")
_ALL = frozenset(TYPES)

Missing = tuple[str, list[str]] | None


class Members(msgspec.Struct):
    """The properties of an object schema, those of its $ref and allOf included."""

    properties: dict[str, JSON]
    required: set[str]
    closed: bool = False  # others are refused
    sure: bool = True  # nothing else adds properties: no anyOf, patternProperties, ...
    open: bool = False  # others are described or expressly allowed


class Shapes:
    """Answers for the schemas of one project, which must not change meanwhile: they are told apart by identity."""

    def __init__(self, defs: Mapping[str, JSON]) -> None:
        self._defs = defs
        self._types: dict[int, frozenset[str]] = {}
        self._members: dict[int, Members] = {}
        self._missing: dict[tuple[int, tuple[str, ...]], Missing] = {}
        self._conflicts: dict[tuple[int, int], str | None] = {}

    def types(self, schema: JSON) -> frozenset[str]:
        """The types a value may have. An integer counts as a number too."""
        if not isinstance(schema, dict):
            return frozenset() if schema is False else _ALL
        known = self._types.get(id(schema))
        if known is not None:
            return known
        self._types[id(schema)] = _ALL  # while it is being answered: a schema within itself says nothing new
        allowed = _ALL
        for part in self._parts(schema):
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
                    allowed &= frozenset[str]().union(*(self.types(branch) for branch in branches))
        self._types[id(schema)] = allowed
        return allowed

    def members(self, schema: JSON) -> Members:
        found = self._members.get(id(schema))
        if found is not None:
            return found
        found = self._members[id(schema)] = Members({}, set())
        for part in self._parts(schema):
            properties = part.get("properties")
            if isinstance(properties, dict):
                for name, inner in properties.items():
                    found.properties.setdefault(name, inner)
            required = part.get("required")
            found.required |= {str(name) for name in required} if isinstance(required, list) else set()
            closed = part.get("additionalProperties") is False or part.get("unevaluatedProperties") is False
            found.closed = found.closed or closed
            if part.get("additionalProperties", False) is not False or "patternProperties" in part:
                found.open = True
            if part.keys() & {"anyOf", "oneOf", "if", "then", "else", "patternProperties", "dependentSchemas"}:
                found.sure = False
        return found

    def missing(self, schema: JSON, path: Sequence[str]) -> Missing:
        """(the name that is not there, the names that are) when no value of the schema has the path; None when one may have it."""
        if not path:
            return None
        key = (id(schema), tuple(path))
        if key not in self._missing:
            self._missing[key] = None  # while it is being answered
            self._missing[key] = self._find_missing(schema, path)
        return self._missing[key]

    def _find_missing(self, schema: JSON, path: Sequence[str]) -> Missing:
        if "object" not in self.types(schema):
            return path[0], []
        found = self.members(schema)
        if path[0] in found.properties:
            return self.missing(found.properties[path[0]], path[1:])
        branches = self._branches(schema)
        if found.open or (not found.properties and not found.closed and not branches):
            return None
        faults = [self.missing(branch, path) for branch in branches]
        if None in faults:
            return None
        names = {fault[0] for fault in faults if fault}
        name = names.pop() if len(names) == 1 else path[0]  # deeper down, when all branches agree
        return name, sorted({*found.properties, *(known for fault in faults if fault for known in fault[1])})

    def types_at(self, schema: JSON, path: Sequence[str]) -> frozenset[str]:
        """The types that a value may have at a path of properties."""
        for name in path:
            properties = self.members(schema).properties
            if name not in properties:
                return _ALL
            schema = properties[name]
        return self.types(schema)

    def conflict(self, source: JSON, target: JSON) -> str | None:
        """Why no value of `source` fits `target`, or None when one may."""
        key = (id(source), id(target))
        if key not in self._conflicts:
            self._conflicts[key] = None  # while it is being answered
            self._conflicts[key] = self._find_conflict(source, target)
        return self._conflicts[key]

    def _find_conflict(self, source: JSON, target: JSON) -> str | None:
        given, wanted = self.types(source), self.types(target)
        if not given & wanted:
            return f"it is {_spell(given)}, and the topic takes {_spell(wanted)}"
        ours, theirs = self._choices(source), self._choices(target)
        if ours is not None and theirs is not None and not any(_among(value, theirs) for value in ours):
            return f"it is one of {_list(ours)}, and the topic takes {_list(theirs)}"
        if given & wanted != {"object"}:  # other types fit, whatever the properties
            return None
        one, other = self.members(source), self.members(target)
        for name in sorted(other.required - set(one.properties)):
            if one.closed and one.sure:
                return f"the topic requires {name!r}, which it never has"
        for name in sorted(one.required - set(other.properties)):
            if other.closed and other.sure:
                return f"it always has {name!r}, which the topic refuses"
        for name in sorted((one.required | other.required) & set(one.properties) & set(other.properties)):
            reason = self.conflict(one.properties[name], other.properties[name])
            if reason is not None:
                return f"in {name!r}: {reason}"
        return None

    def refused(self, value: JSON, schema: JSON, *, templates: bool = False, depth: int = 0) -> str | None:
        """Why a literal can't fit, or None when it may. With `templates`, strings with {…} in them may become anything."""
        if depth > _DEEP or (templates and isinstance(value, str) and _TEMPLATE.search(value)):
            return None
        wanted = self.types(schema)
        if not kinds(value) & wanted:
            return f"it is {_spell(kinds(value))}, and the schema takes {_spell(wanted)}"
        choices = self._choices(schema)
        if choices is not None and not isinstance(value, dict | list) and not _among(value, choices):
            return f"it is {value!r}, and the schema takes {_list(choices)}"
        if isinstance(value, list):
            for part in self._parts(schema):
                if "items" in part and "prefixItems" not in part:
                    for index, item in enumerate(value):
                        reason = self.refused(item, part["items"], templates=templates, depth=depth + 1)
                        if reason is not None:
                            return f"in item {index}: {reason}"
        if isinstance(value, dict):
            return self._refused_object(value, schema, templates, depth)
        return None

    def _refused_object(self, value: dict[str, JSON], schema: JSON, templates: bool, depth: int) -> str | None:
        found = self.members(schema)
        for name in sorted(found.required - set(value)):
            return f"it lacks {name!r}, which is required"
        for name in sorted(set(value) - set(found.properties)):
            if found.closed and found.sure:
                return f"it has {name!r}, which is not among {', '.join(sorted(found.properties)) or 'none'}"
        for name in sorted(set(value) & set(found.properties)):
            reason = self.refused(value[name], found.properties[name], templates=templates, depth=depth + 1)
            if reason is not None:
                return f"in {name!r}: {reason}"
        return None

    def _parts(self, schema: JSON) -> list[dict[str, JSON]]:
        """The schemas that all apply to the same value: itself, what it refers to, and its allOf. Each once."""
        found: dict[int, dict[str, JSON]] = {}
        waiting = [schema]
        while waiting:
            part = waiting.pop()
            if not isinstance(part, dict) or id(part) in found:
                continue
            found[id(part)] = part
            both = part.get("allOf")
            waiting += reversed(both) if isinstance(both, list) else []
            ref = part.get("$ref")
            if isinstance(ref, str):
                waiting.append(self._defs.get(unescape(ref.removeprefix("#/$defs/"))))
        return list(found.values())

    def _branches(self, schema: JSON) -> list[JSON]:
        found: list[JSON] = []
        for part in self._parts(schema):
            for keyword in ("anyOf", "oneOf"):
                branches = part.get(keyword)
                found += branches if isinstance(branches, list) else []
            found += [part[keyword] for keyword in ("then", "else") if keyword in part]
        return found

    def _choices(self, schema: JSON) -> list[JSON] | None:
        """The only values that fit, when const or enum says so."""
        for part in self._parts(schema):
            values = _values(part)
            if values is not None:
                return values
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


def _values(part: dict[str, JSON]) -> list[JSON] | None:
    if "const" in part:
        return [part["const"]]
    values = part.get("enum")
    return values if isinstance(values, list) else None


def _among(value: JSON, values: list[JSON]) -> bool:
    """JSON's equality: true is not 1."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


def _spell(names: frozenset[str]) -> str:
    shown = names - {"integer"} if "number" in names else names
    return " or ".join(sorted(shown)) or "nothing"


def _list(values: list[JSON]) -> str:
    shown = ", ".join(repr(value) for value in values[:6])
    return shown + (f" and {len(values) - 6} more" if len(values) > 6 else "")
