"""JSON Schema to TypeScript: exact where TypeScript can say it, wider where not, never narrower.

What it can't say is left out: bounds, patterns, formats, `not`, conditions, how many properties. The engine validates all values anyway.
A schema that admits values of any kind is `any`, even if it says something about those that are objects. An object type does not say
that further properties may be there: TypeScript lets values have them, and finds the misspelt ones in literals.
"""

from __future__ import annotations

from motia_generator import shapes
from motia_generator.defaults import default_of
from motia_generator.names import Scope, class_name
from motia_generator.shapes import KINDS, Object, assertions, kind_of, kinds
from motia_generator.source import Expr
from motia_generator.typescript.text import (
    ANY,
    NEVER,
    UNKNOWN,
    Type,
    array,
    intersection,
    key,
    literal,
    members,
    name,
    union,
)
from motia_spec.model import Project, Schema
from motia_spec.node import JSON

_PLAIN = {"string": "string", "number": "number", "boolean": "boolean", "null": "null"}
_ORDER = ("string", "number", "boolean", "object", "array", "null")
_OBJECTS = ("properties", "required", "additionalProperties", "patternProperties", "propertyNames")
_ARRAYS = ("items", "prefixItems")


class SchemaTypes:
    """Types for the schemas of a project. `scope` holds the names that are taken in the module. Lives as long as one generation."""

    def __init__(self, project: Project, scope: Scope) -> None:
        self._defs = project.defs
        self._scope = scope
        self._names: dict[str, str] = {}  # key of a shared schema -> name
        self._sites: dict[str, Type] = {}  # id of a schema that has an alias of its own
        self._reach: dict[str, frozenset[str]] = {}
        self.aliases: dict[str, tuple[tuple[str, ...], Type]] = {}  # name -> comment, type
        section = [(self._scope.unique(class_name(n)), schema) for n, schema in project.schemas.items()]
        for given, schema in section:
            found = shapes.ref_key(schema.value)
            if found is not None and found in self._defs and found not in self._names:
                self._names[found] = given
        for shared in self._defs:
            if shared not in self._names:
                self._names[shared] = self._scope.unique(class_name(shared.rpartition("/")[2] or shared))
        for shared, value in self._defs.items():
            self.aliases[self._names[shared]] = _doc(value), self.of(value, within=shared)
        for given, schema in section:
            self.aliases.setdefault(given, (_doc(schema.value), self.of(schema.value)))

    def site(self, schema: Schema | None, hint: str) -> Type:
        """The type at one place of the spec; what is longer than a name gets an alias, called `hint` when that is free. `any` without a schema."""
        if schema is None:
            return ANY
        found = self._sites.get(schema.id)
        if found is None:
            found = self.of(schema.value)
            if found.form in ("object", "union", "intersection", "tuple"):
                alias = self._scope.unique(hint)
                self.aliases[alias] = _doc(schema.value), found
                found = name(alias)
            self._sites[schema.id] = found
        return found

    def given(self, schema: Schema | None, hint: str) -> Type:
        """As `site`, for what a handler is given: the properties with a default that the engine fills in are there."""
        found = self.site(schema, hint)
        filled = [] if schema is None or found is ANY else self._filled(schema.value)
        return Type("Filled", "generic", (found, union(map(literal, filled)))) if filled else found

    def _filled(self, schema: JSON) -> list[str]:
        """Names of properties, of the value itself: those of the class that the engine reads it as (`motia_generator.schema_types`)."""
        _, value = shapes.resolve(schema, self._defs)
        found = assertions(value)
        if not isinstance(found, dict) or "$ref" in found or not shapes.is_class(found, self._defs):
            return []
        merged = shapes.merge(found, self._defs)
        optional = set(merged.properties) - set(merged.required) - set(merged.mentioned)
        return [
            wire
            for wire, part in merged.properties.items()
            if wire in optional and default_of(part, Expr("Any"), self._defs) is not None
        ]

    def query(self, schema: Schema) -> Type:
        """Query parameters: those with a default are always there, the engine fills them in."""
        _, value = shapes.resolve(schema.value, self._defs)
        found = assertions(value)
        if isinstance(found, dict) and "properties" in found:
            filled = [n for n, p in found["properties"].items() if isinstance(p, dict) and "default" in p]
            found = {**found, "required": list(dict.fromkeys([*found.get("required", ()), *filled]))}
        return self.of(found)

    def of(
        self, schema: JSON, admitted: frozenset[str] = KINDS, within: str | None = None, *, beside: bool = False
    ) -> Type:
        """The type of a schema, as far as it admits these kinds of values. `within`: the shared schema whose own alias this is, or a part of it
        that stands in no object or array: there a name must not lead back to itself. `beside`: others say more about the same value."""
        found = assertions(schema)
        if not isinstance(found, dict):
            return self._kinds({}, admitted, beside) if found else NEVER
        admitted &= kinds(found, self._defs)
        if "const" in found or "enum" in found:
            values = [found["const"]] if "const" in found else found["enum"]
            return union(literal(v) for v in values if kind_of(v) in admitted)
        parts: list[Type] = []
        shared = shapes.ref_key(found)
        if shared is not None:
            parts.append(self._reference(shared, within))
        says_more = any(k in found for k in (*_OBJECTS, *_ARRAYS))
        said = says_more + (shared is not None) + len(found.get("allOf", ())) + ("anyOf" in found) + ("oneOf" in found)
        inner = beside or said > 1
        parts += [self.of(member, admitted, within, beside=inner) for member in found.get("allOf", ())]
        for keyword in ("anyOf", "oneOf"):
            if keyword in found:
                parts.append(union(self.of(m, admitted, within, beside=inner) for m in found[keyword]))
        if says_more or not parts or all(p is ANY for p in parts):
            parts.insert(0, self._kinds(found, admitted, beside))
        return intersection(parts)

    def _reference(self, shared: str, within: str | None) -> Type:
        if shared not in self._names or (within is not None and within in self._reachable(shared)):
            return ANY
        return name(self._names[shared])

    def _reachable(self, shared: str) -> frozenset[str]:
        """The shared schemas that this one is, itself included: by references outside of objects and arrays."""
        found = self._reach.get(shared)
        if found is None:
            seen, todo = {shared}, [shared]
            while todo:
                for further in _heads(self._defs.get(todo.pop(), True)):
                    if further not in seen:
                        seen.add(further)
                        todo.append(further)
            found = self._reach[shared] = frozenset(seen)
        return found

    def _kinds(self, found: Object, admitted: frozenset[str], beside: bool) -> Type:
        """A union over kinds of values, with what the schema itself says about objects and arrays."""
        if admitted == KINDS:
            return ANY
        parts = []
        for kind in _ORDER:
            if kind in admitted:
                plain = _PLAIN.get(kind)
                if kind == "object" and beside and not any(k in found for k in _OBJECTS):
                    plain = "object"  # an index of its own would take the types of all properties that the others name
                parts.append(name(plain) if plain else self._object(found) if kind == "object" else self._array(found))
        return union(parts)

    def _object(self, found: Object) -> Type:
        described: Object = found.get("properties", {})
        required = found.get("required", [])
        further = found.get("additionalProperties", True)
        if not described and not required and isinstance(names := self._names_of(found), list):
            described, further = dict.fromkeys(names, further), False
        rows = []
        for wire in dict.fromkeys([*described, *required]):
            part = self.of(described[wire]) if wire in described else UNKNOWN
            mark = "" if wire in required else "?"
            rows.append((key(wire) + mark, part, _doc(described.get(wire, True))))
        patterns = list(found.get("patternProperties", {}).values())
        closed = assertions(further) is False
        if rows and not isinstance(assertions(further), dict) and not (closed and patterns):
            return members(rows)
        values = [self.of(p) for p in patterns] + ([] if closed else [self.of(further)])
        for head, part, _ in rows:  # an index has to hold for the named ones as well
            values.append(ANY if part.flat() == "unknown" else part)
            if head.endswith("?"):
                values.append(name("undefined"))
        return members([*rows, ("[key: string]", union(values), ())])

    def _names_of(self, found: Object) -> list[str] | None:
        """The names that an object's properties may have, when the schema lists them all."""
        _, value = shapes.resolve(found.get("propertyNames", True), self._defs)
        given = assertions(value)
        values = given.get("enum") if isinstance(given, dict) else None
        return values if isinstance(values, list) and all(isinstance(v, str) for v in values) else None

    def _array(self, found: Object) -> Type:
        rest = found.get("items", True)
        prefix = found.get("prefixItems", [])
        if not prefix:
            inside = self.of(rest)
            return name("[]") if inside is NEVER else array(inside)
        least = found.get("minItems", 0)
        parts, heads, tails = [], [], []
        for number, item in enumerate(prefix):
            parts.append(self.of(item))
            heads.append("")
            tails.append("" if number < least else "?")
        if assertions(rest) is not False:
            parts.append(array(self.of(rest)))
            heads.append("...")
            tails.append("")
        return Type(form="tuple", parts=tuple(parts), heads=tuple(heads), tails=tuple(tails))


def _heads(schema: JSON) -> set[str]:
    """The shared schemas that a schema refers to outside of objects and arrays."""
    found = assertions(schema)
    if not isinstance(found, dict) or "const" in found or "enum" in found:
        return set()
    shared = shapes.ref_key(found)
    heads = set() if shared is None else {shared}
    return heads.union(*(_heads(m) for keyword in ("allOf", "anyOf", "oneOf") for m in found.get(keyword, ())))


def _doc(schema: JSON) -> tuple[str, ...]:
    if not isinstance(schema, dict):
        return ()
    return tuple(t for t in (schema.get("title"), schema.get("description")) if isinstance(t, str) and t.strip())
