"""The spec against its JSON Schema (motia.schema.json), with every fault at its place.

The schema is compiled once to closures over nodes. Only the part of JSON Schema that it uses is supported, and compiling refuses
everything else, so the schema can't say something that isn't checked. Why not `jsonschema`: it takes seconds for a thousand steps,
and its errors know neither keys nor places.

Annotations of ours: `x-motia-error` (what a pattern wants, in words), `x-motia-code` (the code of such a finding), `x-motia-key`
(what the keys of a map are), `x-motia-instead` (remedies for keys that are known mistakes), `x-motia-distinct` (names that differ
in case only are refused) and `x-motia-letters` (beyond ASCII only letters, digits and marks).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path as File
from typing import Any

import msgspec

from motia_spec import wording
from motia_spec.checks import Check, Report, any_of, map_check, scalar_check, sequence_check
from motia_spec.diagnostics import Diagnostic, by_place
from motia_spec.node import ListNode, MapNode, Node
from motia_spec.place import Place
from motia_spec.wording import Path

Schema = dict[str, Any]

SCHEMA_FILE = File(__file__).with_name("motia.schema.json")

_ANNOTATIONS = frozenset(
    ["$schema", "$defs", "title", "description", "examples", "x-motia-code", "x-motia-error", "x-motia-letters"]
)
_OF_SCALARS = frozenset(
    ["enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum"]
)
_OF_LISTS = frozenset(["items", "minItems", "maxItems", "uniqueItems"])
_OF_MAPS = frozenset(
    [
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "required",
        "minProperties",
        "maxProperties",
        "x-motia-distinct",
        "x-motia-key",
        "x-motia-instead",
    ]
)
_HANDLED = _ANNOTATIONS | _OF_SCALARS | _OF_LISTS | _OF_MAPS | {"type", "$ref", "allOf", "anyOf"}
_ALL_TYPES = frozenset(["object", "array", "string", "integer", "number", "boolean", "null"])


def validate_spec(node: MapNode) -> list[Diagnostic]:
    """All faults of a spec, ordered by place; empty when it fits the schema."""
    report = Report()
    compiled()(node, None, None, report)
    return by_place(report.diagnostics())


def schema() -> Schema:
    """The JSON Schema of the spec, as editors read it. A fresh copy."""
    loaded: Schema = msgspec.json.decode(SCHEMA_FILE.read_bytes())
    return loaded


@cache
def compiled() -> Check:
    return compile_schema(schema())


def compile_schema(root: Schema) -> Check:
    """The check that `root` describes. ValueError when it uses what isn't supported."""
    return _Compiler(root).compile(root)


class _Compiler:
    def __init__(self, root: Schema) -> None:
        self.root = root
        self.done: dict[str, Check] = {}

    def compile(self, schema: Schema, elsewhere: dict[str, str] | None = None) -> Check:
        """`elsewhere`: for keys that this map doesn't have, who has them."""
        unknown = schema.keys() - _HANDLED
        if unknown:
            raise ValueError(f"unsupported in the schema of the spec: {sorted(unknown)}")
        types = _types(schema)
        parts: list[Check] = []
        if "$ref" in schema:
            parts.append(self.reference(schema["$ref"]))
        of_scalar = scalar_check(schema) if schema.keys() & _OF_SCALARS else None
        of_list = sequence_check(schema, self.inner(schema, "items")) if schema.keys() & _OF_LISTS else None
        of_map = self.map(schema, elsewhere) if schema.keys() & _OF_MAPS else None
        if of_scalar or of_list or of_map or types is not None:
            parts.append(_by_type(types, of_scalar, of_list, of_map, schema.get("x-motia-error", "")))
        if "anyOf" in schema:
            parts.append(self.any_of(schema["anyOf"]))
        if "allOf" in schema:
            parts += self.all_of(schema["allOf"])
        return _sequence(parts)

    def inner(self, schema: Schema, key: str) -> Check | None:
        value = schema.get(key)
        return self.compile(value) if isinstance(value, dict) else None

    def map(self, schema: Schema, elsewhere: dict[str, str] | None) -> Check:
        properties = {key: self.compile(value) for key, value in schema.get("properties", {}).items()}
        patterns = {key: self.compile(value) for key, value in schema.get("patternProperties", {}).items()}
        names = self.inner(schema, "propertyNames")
        return map_check(
            schema,
            properties,
            patterns,
            self.inner(schema, "additionalProperties"),
            names,
            self.example,
            elsewhere or {},
        )

    def any_of(self, branches: list[Schema]) -> Check:
        """Branches must be told apart by type, so that a fault is one of the branch that was meant."""
        by_type: dict[str, Check] = {}
        for branch in branches:
            check = self.compile(branch)
            for name in _types(branch) or _ALL_TYPES:
                if name in by_type:
                    raise ValueError("two branches of an anyOf in the schema of the spec have one type")
                by_type[name] = check
        return any_of(by_type)

    def all_of(self, parts: list[Schema]) -> list[Check]:
        """Conditions on the value of one key become one look-up."""
        plain = [part for part in parts if "if" not in part]
        cases = [part for part in parts if "if" in part]
        checks = [self.compile(part) for part in plain]
        if cases:
            key, branches = _cases(cases)
            owners: dict[str, list[str]] = {}
            for name, branch in branches.items():
                for property_name in self.target(branch)["properties"]:
                    owners.setdefault(property_name, []).append(name)
            elsewhere = {name: f"{' and '.join(kinds)} steps" for name, kinds in owners.items()}
            table = {name: self.compile(self.target(branch), elsewhere) for name, branch in branches.items()}
            checks.append(_switch(key, table))
        return checks

    def reference(self, pointer: str) -> Check:
        if pointer not in self.done:
            inner: list[Check] = []

            def late(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
                inner[0](node, path, key, report)

            self.done[pointer] = late  # for schemas that contain themselves
            inner.append(self.compile(self.target({"$ref": pointer})))
            self.done[pointer] = inner[0]
        return self.done[pointer]

    def target(self, schema: Schema) -> Schema:
        """The schema itself, or what its `$ref` points at."""
        if "$ref" not in schema:
            return schema
        value: Any = self.root
        for token in schema["$ref"].removeprefix("#/").split("/"):
            value = value[token]
        found: Schema = value
        return found

    def example(self, schema: Schema) -> object:
        """The first example of a property: its own, or that of what it refers to. None when there is none."""
        examples = schema.get("examples") or self.target(schema).get("examples") or [None]
        return examples[0]


def _types(schema: Schema) -> frozenset[str] | None:
    """The JSON types that `type` allows; None when it says nothing."""
    declared = schema.get("type")
    if declared is None:
        return None
    names = frozenset([declared] if isinstance(declared, str) else declared)
    return names | {"integer"} if "number" in names else names


def _cases(parts: list[Schema]) -> tuple[str, dict[str, Schema]]:
    """`{if: {required: [K], properties: {K: {const: V}}}, then: S}` ... as (K, {V: S})."""
    branches: dict[str, Schema] = {}
    keys: set[str] = set()
    for part in parts:
        condition = part["if"]
        [(key, test)] = condition["properties"].items()
        if part.keys() != {"if", "then"} or condition != {
            "required": [key],
            "properties": {key: {"const": test["const"]}},
        }:
            raise ValueError("a condition in the schema of the spec is not about the value of one key")
        keys.add(key)
        branches[test["const"]] = part["then"]
    [key] = keys
    return key, branches


def _switch(key: str, table: dict[str, Check]) -> Check:
    def check(node: Node, path: Path | None, key_place: Place | None, report: Report) -> None:
        chosen = node.get(key) if isinstance(node, MapNode) else None
        branch = table.get(getattr(chosen, "value", None) or "")
        if branch is not None:
            branch(node, path, key_place, report)

    return check


def _sequence(parts: list[Check]) -> Check:
    if len(parts) == 1:
        return parts[0]

    def check(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
        for part in parts:
            part(node, path, key, report)

    return check


def _by_type(
    types: frozenset[str] | None, of_scalar: Check | None, of_list: Check | None, of_map: Check | None, wanted: str
) -> Check:
    """Refuse what `types` doesn't allow, then the checks for what it is."""
    take_map = types is None or "object" in types
    take_list = types is None or "array" in types
    scalars = _ALL_TYPES if types is None else types

    def check(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
        if isinstance(node, MapNode):
            right, inner = take_map, of_map
        elif isinstance(node, ListNode):
            right, inner = take_list, of_list
        else:
            right, inner = wording.json_type(node) in scalars, of_scalar
        if not right:
            report.wrong_type(node, path, key, scalars, wanted)
        elif inner is not None:
            inner(node, path, key, report)

    return check
