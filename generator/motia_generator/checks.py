"""What is left for the second tier when a type has accepted a value: its schema without the parts that types enforce.

A part is left out only where the type at its very place says all of it; reached by properties of classes, items of lists and references.
Everything else stays as it is.
"""

from __future__ import annotations

from motia_generator import shapes
from motia_generator.schema_types import SchemaTypes, Typ
from motia_generator.shapes import Object, assertions, kinds
from motia_spec.node import JSON

# Beside these, it matters which names are described.
_NAMED = {"additionalProperties", "unevaluatedProperties"}
# Beside these, a list is not typed item by item.
_WHOLE = {"contains", "prefixItems", "unevaluatedItems", "$ref", *shapes.IN_PLACE}


class Checks:
    """Makes the checks of a project's sites. `defs` are the definitions that they refer to besides the project's."""

    def __init__(self, types: SchemaTypes) -> None:
        self._types = types
        self._prefix = "checked-"
        while any(key.startswith(self._prefix) for key in types.defs):
            self._prefix += "-"
        self.defs: dict[str, JSON] = {}

    def of(self, schema: JSON, typ: Typ) -> JSON:
        """What is left of a schema whose values this type has accepted. True: nothing."""
        if not self._types.gaps(typ):
            return True
        found = assertions(schema)
        if not isinstance(found, dict):
            return schema
        key = shapes.ref_key(found)
        if set(found) == {"$ref"} and key is not None and (key, False) in typ.refs and not typ.gaps:
            return {"$ref": f"#/$defs/{self._definition(key)}"}
        return self._inside(found)

    def _definition(self, key: str) -> str:
        """The name of a definition's check, made when first asked for."""
        number = list(self._types.definitions).index(key)
        name = f"{self._prefix}{number}"
        if name not in self.defs:
            self.defs[name] = True  # it may refer to itself
            found = assertions(self._types.defs[key])
            definition = self._types.definitions[key]
            if isinstance(found, dict) and set(found) == {"$ref"}:
                self.defs[name] = self.of(self._types.defs[key], definition.typ)
            else:
                self.defs[name] = self._inside(found) if isinstance(found, dict) else found
        return name

    def _inside(self, found: Object) -> JSON:
        admitted = kinds(found, self._types.defs)
        if admitted == {"object"} and shapes.is_class(found, self._types.defs):
            typed = shapes.merge(
                found, self._types.defs
            ).properties  # not what is said here, where other parts judge it
            described = found.get("properties", {})
            parts = {n: self._part(part) if typed.get(n) is part else part for n, part in described.items()}
            if _NAMED.isdisjoint(found):
                parts = {name: part for name, part in parts.items() if part is not True}
            return _without({**found, "properties": parts}, "properties")
        if admitted == {"array"} and "items" in found and _WHOLE.isdisjoint(found):
            if "uniqueItems" in found and kinds(found["items"], self._types.defs) & {"array", "object"}:
                return found
            return _without({**found, "items": self._part(found["items"])}, "items")
        return found

    def _part(self, schema: JSON) -> JSON:
        typ = self._types.built(schema)
        return schema if typ is None else self.of(schema, typ)


def _without(found: Object, keyword: str) -> Object:
    return {k: v for k, v in found.items() if k != "type" and not (k == keyword and v in (True, {}))}
