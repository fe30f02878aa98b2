"""JSON Schemas to test with: awkward ones by hand, and strategies that draw schemas, and instances that may or may not fit them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from motia_generator import generate
from motia_runtime.codec import Codec
from motia_runtime.types import Types, load_types
from motia_spec.model import Project, Schema, StateGroup, Topic

REF_A = {"$ref": "#/$defs/A"}
REF_B = {"$ref": "#/$defs/B"}


def project(schema: Any, defs: Mapping[str, Any] | None = None, root: Path = Path("/nowhere")) -> Project:
    """A project with one topic of this schema."""
    topic = Topic(name="t", schema=Schema(id="topic:t", value=schema))
    states = {k: StateGroup(name=k, schema=Schema(id=f"state:{k}", value={"$ref": f"#/$defs/{k}"})) for k in defs or {}}
    return Project(root=root, files=(), name="test", defs=dict(defs or {}), topics={"t": topic}, state=states)


def codec(schema: Any, defs: Mapping[str, Any] | None = None) -> tuple[Codec, tuple[str, ...]]:
    """The codec of a schema through its generated type, and its gaps."""
    made = project(schema, defs)
    types: Types = load_types(made, generate)
    gaps: dict[str, tuple[str, ...]] = types._gaps
    return types.codec(made.topics["t"].schema), gaps.get("topic:t", ())


def _object(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}

# name -> (schema, definitions, keywords that the type does not enforce)
AWKWARD: dict[str, tuple[Any, dict[str, Any], set[str]]] = {
    "closed": (_object({"a": STRING}, "a", additionalProperties=False), {}, set()),
    "nested definitions": (_object({"a": REF_A}, "a"), {"A": _object({"b": REF_B}, "b"), "B": _object({"c": INTEGER})}, set()),
    "recursive": (REF_A, {"A": _object({"next": REF_A, "v": INTEGER}, "v")}, set()),
    "mutually recursive": (REF_A, {"A": _object({"b": REF_B}), "B": _object({"a": {"type": "array", "items": REF_A}})}, set()),
    "allOf": ({"allOf": [_object({"a": STRING}, "a"), _object({"b": INTEGER}, "b")]}, {}, set()),
    "allOf of a reference": ({"allOf": [REF_A, _object({"b": INTEGER}, "b")]}, {"A": _object({"a": STRING}, "a")}, set()),
    "allOf, closed by unevaluated": ({"allOf": [REF_A], "type": "object", "unevaluatedProperties": False}, {"A": _object({"a": STRING})}, set()),
    "allOf in conflict": ({"allOf": [_object({"a": STRING}), _object({"a": {"minLength": 2}})]}, {}, {"allOf"}),
    "allOf with a closed member": ({"allOf": [_object({"a": STRING}, additionalProperties=False), _object({"b": INTEGER})]}, {}, {"allOf"}),
    "a value with a name that is not described": ({"allOf": [_object({"b": STRING}), {"enum": [{"a": 1}, {"b": "x"}]}]}, {}, {"allOf"}),
    "a value with an open object inside": (
        _object({"a": _object({"c": STRING})}, additionalProperties=False, enum=[{"a": {"b": 1}}]),
        {},
        {"additionalProperties", "enum", "properties"},
    ),
    "scalar anyOf": ({"anyOf": [{"type": "string", "minLength": 2}, {"type": "integer"}, {"type": "null"}]}, {}, set()),
    "objects anyOf": ({"anyOf": [_object({"a": STRING}, "a"), _object({"b": STRING}, "b")]}, {}, {"anyOf"}),
    "tagged": (
        {"oneOf": [REF_A, REF_B]},
        {"A": _object({"kind": {"const": "a"}, "x": INTEGER}, "kind"), "B": _object({"kind": {"const": "b"}, "y": STRING}, "kind", "y")},
        set(),
    ),
    "tagged, and alone": (
        _object({"one": REF_A, "any": {"oneOf": [REF_A, REF_B]}}),
        {"A": _object({"kind": {"const": "a"}}, "kind"), "B": _object({"kind": {"const": "b"}}, "kind")},
        {"required"},
    ),
    "tagged by two": (
        {"type": "array", "items": {"oneOf": [REF_A, REF_B]}},
        {"A": _object({"k": {"const": "a"}, "m": {"const": "x"}}, "k", "m"), "B": _object({"k": {"const": "b"}, "m": {"const": "y"}}, "k", "m")},
        set(),
    ),
    "tag not required": ({"oneOf": [_object({"k": {"const": "a"}}), _object({"k": {"const": "b"}})]}, {}, {"oneOf"}),
    "recursive tagged": (
        REF_A,
        {
            "A": {"oneOf": [REF_B, _object({"op": {"const": "num"}, "v": NUMBER}, "op", "v")]},
            "B": _object({"op": {"const": "neg"}, "of": {"anyOf": [REF_A, {"type": "null"}]}}, "op", "of"),
        },
        set(),
    ),
    "pattern beside list": ({"type": ["string", "array"], "pattern": "^a"}, {}, {"pattern"}),
    "pattern beside map": ({"anyOf": [{"type": "string", "pattern": "^a"}, {"type": ["object", "null"]}]}, {}, {"anyOf"}),
    "pattern beside list, by reference": (
        {"oneOf": [{"type": "array", "items": REF_A}, REF_A, REF_B]},
        {"A": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "B": _object({"a": REF_A}, "a")},
        {"oneOf"},
    ),
    "pattern beside class": ({"anyOf": [{"type": "string", "pattern": "^a"}, REF_A]}, {"A": _object({"a": STRING}, "a")}, set()),
    "additional properties, then unevaluated": (_object({}, additionalProperties=True, unevaluatedProperties=False), {}, set()),
    "alternatives, then unevaluated": (
        {"type": "object", "oneOf": [_object({"a": STRING}, "a"), _object({"b": STRING}, "b")], "unevaluatedProperties": False},
        {}, {"oneOf", "unevaluatedProperties"},
    ),
    "nullable, alternatives, then unevaluated": (
        {"type": ["object", "null"], "properties": {"b": STRING}, "oneOf": [_object({"a": STRING}, "a"), REF_A], "unevaluatedProperties": False},
        {"A": {"type": "null"}}, {"oneOf", "properties", "unevaluatedProperties"},
    ),
    "additional properties within, then unevaluated": (
        {"type": "object", "allOf": [_object({"a": STRING}, additionalProperties=True)], "unevaluatedProperties": False}, {}, {"unevaluatedProperties"},
    ),
    "counted properties": (_object({"a": STRING}, "a", minProperties=2), {}, {"properties", "required"}),
    "counted, of a reference": ({**REF_A, "minProperties": 1}, {"A": _object({"a": STRING})}, {"$ref", "minProperties"}),
    "unique objects": ({"type": "array", "items": REF_A, "uniqueItems": True}, {"A": _object({"a": STRING})}, {"items", "uniqueItems"}),
    "names that others depend on": (_object({"a": STRING}, dependentRequired={"a": ["z"]}), {}, {"dependentRequired"}),
    "judged inside": (
        _object({"p": REF_A}, **{"if": {"required": ["p"]}, "then": {"properties": {"p": {"required": ["z"]}}}}), {"A": _object({"a": STRING})},
        {"if", "then", "properties"},
    ),
    "default of a name that must not be": (_object({"a": STRING, "b": {"type": "string", "default": "x"}}, **{"not": {"required": ["b"]}}), {}, {"not"}),
    "default that does not fit": (_object({"a": {"type": "integer", "minimum": 1, "default": 0}}), {}, set()),
    "mixed enum": ({"enum": ["a", 1, None, True]}, {}, {"enum"}),
    "enum of texts": ({"type": "string", "enum": ["a", 'b"c', "d\\", ""]}, {}, set()),
    "enum beyond its type": ({"type": "string", "enum": ["a", 1]}, {}, set()),
    "enum of whole floats": ({"enum": [1.0, 2]}, {}, set()),
    "constants oneOf": ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, {}, set()),
    "nullable": (_object({"a": {"type": ["string", "null"]}, "b": {"type": ["integer", "null"]}}, "a"), {}, set()),
    "patternProperties": ({"type": "object", "patternProperties": {"^x-": INTEGER}, "additionalProperties": STRING}, {}, {"patternProperties", "additionalProperties"}),
    "properties and typed others": (_object({"a": INTEGER}, additionalProperties=STRING), {}, {"properties", "additionalProperties"}),
    "map": ({"type": "object", "additionalProperties": INTEGER, "minProperties": 1}, {}, set()),
    "formats": (_object({f.replace("-", ""): {"type": "string", "format": f} for f in ("date", "date-time", "uuid", "ipv4", "ipv6", "email")}), {}, set()),
    "format and pattern": ({"type": "string", "format": "date", "pattern": "^2"}, {}, {"format"}),
    "defaults": (_object({"a": {"type": "string", "default": "x"}, "b": {"type": "array", "items": INTEGER, "default": [1]}, "c": {"type": "integer", "default": "no"}}), {}, set()),
    "bounds": (_object({"i": {"type": "integer", "minimum": 0.5, "exclusiveMaximum": 9, "multipleOf": 2}, "n": {"type": "number", "exclusiveMinimum": 0, "minimum": 0, "maximum": 2.5}}), {}, set()),
    "bounds too large": ({"type": "integer", "minimum": 2**70}, {}, {"minimum"}),
    "multipleOf of numbers": ({"type": "number", "multipleOf": 0.5}, {}, {"multipleOf"}),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, {}, {"uniqueItems"}),
    "odd names": (_object({"x-y": INTEGER, "1st": INTEGER, "class": INTEGER, "": INTEGER, "ﬁ": INTEGER, "Ａ": INTEGER, "A": INTEGER, "a": INTEGER, "_a": INTEGER}, "x-y"), {}, set()),
    "names of types": (_object({n: {"type": ["integer", "null"], "default": 1} for n in ("str", "int", "list", "field", "Meta", "get", "keys", "convert", "formats", "self")}), {}, set()),
    "names that can't be": (_object({'a"b': INTEGER, "c": STRING}, "c"), {}, {"properties", "required"}),
    "dunder names": (_object({"__class__": STRING, "__init__": STRING, "__struct_fields__": STRING}), {}, set()),
    "names like classes": (_object({"Struct": REF_A, "int": REF_A, "Meta": REF_B}), {"A": _object({"Model": STRING}), "B": _object({"Any": STRING})}, set()),
    "open tuple": ({"type": "array", "prefixItems": [STRING, INTEGER]}, {}, {"prefixItems"}),
    "closed tuple": ({"type": "array", "prefixItems": [STRING, INTEGER], "items": False, "minItems": 2}, {}, set()),
    "if then else": (_object({"a": STRING, "b": INTEGER}, **{"if": {"required": ["a"]}, "then": {"required": ["b"]}}), {}, {"if", "then"}),
    "dependentRequired, not": (_object({"a": STRING, "b": STRING}, dependentRequired={"a": ["b"]}, **{"not": {"required": ["c"]}}), {}, {"dependentRequired", "not"}),
    "true and false": (_object({"yes": True, "no": False}), {}, {"false"}),
    "required but not described": (_object({"a": STRING}, "a", "b"), {}, set()),
    "required and closed": (_object({"a": STRING}, "b", additionalProperties=False), {}, {"required"}),
    "no type": ({"properties": {"a": STRING}, "minLength": 2}, {}, {"properties", "minLength"}),
    "contains": ({"type": "array", "contains": {"const": 1}, "maxContains": 2}, {}, {"contains", "maxContains"}),
    "propertyNames": ({"type": "object", "propertyNames": {"maxLength": 2}}, {}, {"propertyNames"}),
    "siblings of $ref": ({**REF_A, "maximum": 5}, {"A": {"type": "integer", "minimum": 1}}, {"maximum"}),
    "oneOf that overlaps": ({"oneOf": [INTEGER, NUMBER]}, {}, {"oneOf"}),
    "array root": ({"type": "array", "items": REF_A, "maxItems": 2}, {"A": _object({"a": INTEGER})}, set()),
    "scalar root": ({"type": "string", "pattern": "^a", "maxLength": 3}, {}, set()),
    "nothing but null": ({"type": "null"}, {}, set()),
    "alias of itself": (REF_A, {"A": {"type": "array", "items": REF_A}}, {"$ref"}),
    "key with a slash": ({"$ref": "#/$defs/a~1b~0c"}, {"a/b~c": _object({"a": INTEGER})}, set()),
}  # fmt: skip

TEXTS = ("", "a", "b", "ab", "abc", "2024-02-30", "2024-02-29", "x-a", "é")
NAMES = ("a", "b", "kind", "x-y", "class")
NUMBERS = (0, 1, 2, -1, 3, 1.0, 0.5, 2.5, 27.0, 1e300, 2**53 + 1, 2**63, 2**64)


def plain_values() -> st.SearchStrategy[Any]:
    """JSON values over a small alphabet, so that they often meet what a schema asks for."""
    scalars = st.sampled_from([None, True, False, *TEXTS, *NUMBERS])
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
        max_leaves=6,
    )


def schemas() -> st.SearchStrategy[Any]:
    """Schemas over the whole vocabulary, with references to A and B."""
    text = st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 4),
            "pattern": st.sampled_from(["^a", "b$", "[0-9]"]),
            "format": st.sampled_from(["date", "uuid", "unknown"]),
        },
    )
    number = st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.sampled_from([0, 1, 0.5, -3, 2**53, 2**64]),
            "maximum": st.sampled_from([2, 2.5, 100, 2**53]),
            "exclusiveMinimum": st.sampled_from([0, 1, 0.5]),
            "exclusiveMaximum": st.sampled_from([3, 2.5]),
            "multipleOf": st.sampled_from([1, 2, 0.5, 1.5]),
        },
    )
    constant = st.one_of(
        st.builds(
            lambda v: {"enum": v},
            st.lists(st.sampled_from([None, True, False, "a", "b", 1, 2, 1.5, [], {"a": 1}]), min_size=1, max_size=4),
        ),
        st.builds(lambda v: {"const": v}, st.sampled_from([None, True, "a", "b", 1, 0.5, [1]])),
    )
    leaves = st.one_of(
        text,
        number,
        constant,
        st.sampled_from(
            [
                *(True, False, {}, {"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, REF_A, REF_B),
                *({"type": ["string", "array"], "pattern": "^a"}, {"type": ["object", "string"], "format": "date"}),
            ]
        ),
    )
    return st.recursive(leaves, _composed, max_leaves=7)


def _composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    filled = st.builds(
        lambda s, v: {**s, "default": v} if isinstance(s, dict) else s,
        inner,
        st.sampled_from(["", "a", 0, 1, True, None, [], {}]),
    )
    properties = st.dictionaries(st.sampled_from(NAMES), st.one_of(inner, inner, filled), max_size=4)
    names = st.lists(st.sampled_from(NAMES), unique=True, max_size=2)
    objects = st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": properties,
            "required": names,
            "additionalProperties": st.one_of(st.booleans(), inner),
            "unevaluatedProperties": st.booleans(),
            "patternProperties": st.builds(lambda s: {"^a": s}, inner),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 3),
            "propertyNames": st.just({"maxLength": 2}),
            "dependentRequired": st.just({"a": ["b"]}),
            "dependentSchemas": st.builds(lambda s: {"a": s}, inner),
        },
    )
    arrays = st.fixed_dictionaries(
        {"type": st.just("array")},
        optional={
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "contains": inner,
            "unevaluatedItems": st.booleans(),
        },
    )
    tagged = st.builds(
        lambda parts, keyword: {
            keyword: [_object({**p, "kind": {"const": f"k{i}"}}, "kind") for i, p in enumerate(parts)]
        },
        st.lists(properties, min_size=2, max_size=3),
        st.sampled_from(["oneOf", "anyOf"]),
    )
    combined = st.builds(
        lambda k, v: {k: v}, st.sampled_from(["allOf", "anyOf", "oneOf"]), st.lists(inner, min_size=1, max_size=3)
    )
    conditional = st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, inner, inner, inner)
    beside = st.builds(
        lambda a, b: {**a, **b} if isinstance(b, dict) else a, objects, st.one_of(combined, conditional, inner)
    )
    negated = st.builds(lambda s: {"not": s}, inner)
    return st.one_of(objects, objects, arrays, tagged, combined, conditional, beside, negated)


def fitting(schema: Any, defs: Mapping[str, Any], rng: random.Random, depth: int = 0) -> Any:
    """A value that tries to fit a schema; keywords that only forbid are left to chance."""
    if depth > 6 or not isinstance(schema, dict):
        return rng.choice([None, "a", 1, {}, []])
    if "$ref" in schema:
        return fitting(
            defs[schema["$ref"].removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")], defs, rng, depth + 1
        )
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for keyword in ("oneOf", "anyOf"):
        if keyword in schema and "properties" not in schema:
            return fitting(rng.choice(schema[keyword]), defs, rng, depth + 1)
    if "allOf" in schema:
        parts = [fitting(part, defs, rng, depth + 1) for part in schema["allOf"]]
        merged = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}
        return merged or parts[0]
    words = schema.get("type", "object" if "properties" in schema else "null")
    word = words if isinstance(words, str) else rng.choice(words)
    if word == "object":
        described = schema.get("properties", {})
        wanted = [
            n
            for n in (*described, *schema.get("required", ()))
            if n in schema.get("required", ()) or rng.random() < 0.6
        ]
        found = {n: fitting(described.get(n, True), defs, rng, depth + 1) for n in wanted}
        if rng.random() < 0.3 or schema.get("minProperties", 0) > len(found):
            found[rng.choice(NAMES)] = fitting(schema.get("additionalProperties", True), defs, rng, depth + 1)
        return found
    if word == "array":
        prefix = [fitting(s, defs, rng, depth + 1) for s in schema.get("prefixItems", ())]
        more = rng.randint(0, 2) if schema.get("items") is not False else 0
        return prefix + [fitting(schema.get("items", True), defs, rng, depth + 1) for _ in range(more)]
    return {
        "string": rng.choice(TEXTS),
        "integer": rng.choice(NUMBERS),
        "number": rng.choice(NUMBERS),
        "boolean": True,
        "null": None,
    }[word]


def mutated(value: Any, rng: random.Random) -> Any:
    """A value with one thing about it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        how = rng.randrange(3)
        if how == 0:
            return {k: v for k, v in value.items() if k != name}
        if how == 1:
            return {**value, rng.choice(NAMES): rng.choice([None, 1, "a"])}
        return {**value, name: mutated(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        return [*value[:index], mutated(value[index], rng), *value[index + rng.randint(0, 1) :]]
    return rng.choice([None, True, 0, 1, 1.0, -1, 27.5, "", "a", [], {}, 2**64, {"a": 1}])
