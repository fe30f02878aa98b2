"""Generated types and second tier together accept and reject exactly what the reference validator does."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_schemas import AWKWARD, codec, fitting, mutated, plain_values, project, schemas
from jsonschema import Draft202012Validator
from referencing import Registry

from motia_generator.names import Scope
from motia_generator.typescript.schema_types import SchemaTypes
from motia_runtime.codec import Codec
from motia_runtime.handler import ValidationFailed
from motia_runtime.reference import FORMATS

EXAMPLES = int(os.environ.get("MOTIA_EXAMPLES", "60"))  # drawn schemas; raise it to hunt
FILLED = ("defaults", "names of types")  # of AWKWARD: those with a default that is filled in


def reference(schema: Any, defs: Mapping[str, Any]) -> Draft202012Validator:
    whole = {**schema, "$defs": dict(defs)} if isinstance(schema, dict) else schema
    return Draft202012Validator(whole, registry=Registry(), format_checker=FORMATS)


def accepts(made: Codec, value: Any) -> bool:
    try:
        decoded = made.decode(json.dumps(value).encode())
    except ValidationFailed as refused:
        faults = refused.faults
    else:
        faults = []
        made.decode(made.encode(decoded))  # what was decoded can be sent on, even without what its type does not name
    assert len(faults) <= 20
    return not faults


def agree(schema: Any, defs: Mapping[str, Any], made: Codec, value: Any) -> None:
    assert accepts(made, value) == reference(schema, defs).is_valid(value), (schema, defs, value)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_schemas_agree_with_the_reference(name: str) -> None:
    schema, defs, expected_gaps = AWKWARD[name]
    made, gaps = codec(schema, defs)
    assert set(gaps) == expected_gaps
    rng = random.Random(name)
    valid = 0
    for _ in range(40):
        value = fitting(schema, defs, rng)
        for candidate in (value, mutated(value, rng)):
            agree(schema, defs, made, candidate)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("motia_runtime.codec.FULL_REPORT", -1)
                agree(schema, defs, made, candidate)
            valid += reference(schema, defs).is_valid(candidate)
    assert valid or name in ("required and closed", "bounds too large")


@pytest.mark.parametrize("full_report", [64 * 1024, -1])  # -1: each text is treated as a long one
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), schemas(), schemas(), st.integers(), st.lists(plain_values(), max_size=4))
def test_drawn_schemas_agree_with_the_reference(
    full_report: int, schema: Any, a: Any, b: Any, seed: int, values: list[Any]
) -> None:
    defs = {"A": a, "B": b}
    if not grounded(schema, defs):
        return  # $ref: A, A: {$ref: B}, B: {$ref: A} judges nothing; the spec refuses it
    made, _ = codec(schema, defs)
    rng = random.Random(seed)
    for _ in range(6):
        value = fitting(schema, defs, rng)
        values += [value, mutated(value, rng)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motia_runtime.codec.FULL_REPORT", full_report)
        for value in values:
            agree(schema, defs, made, value)


def filled_in(schema: Any, defs: Mapping[str, Any]) -> set[str]:
    """Names of properties that TypeScript handlers are told are always there."""
    made = project(schema, defs)
    given_schema = made.topics["t"].schema
    assert given_schema is not None
    return set(SchemaTypes(made, Scope(frozenset()))._filled(given_schema.value))


@pytest.mark.parametrize("name", AWKWARD)
def test_what_is_said_to_be_filled_in_is(name: str) -> None:
    schema, defs, _ = AWKWARD[name]
    made, _ = codec(schema, defs)
    rng, names = random.Random(name), filled_in(schema, defs)
    assert bool(names) == (name in FILLED)
    for value in [{}, *(fitting(schema, defs, rng) for _ in range(20))]:
        if names and isinstance(value, dict) and accepts(made, value):
            assert names <= json.loads(made.encode(made.decode(json.dumps(value).encode()))).keys()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), schemas(), schemas(), st.integers())
def test_what_is_said_to_be_filled_in_is_for_drawn_schemas(schema: Any, a: Any, b: Any, seed: int) -> None:
    defs = {"A": a, "B": b}
    if not grounded(schema, defs) or not (names := filled_in(schema, defs)):
        return
    made, _ = codec(schema, defs)
    rng = random.Random(seed)
    for value in [{}, *(fitting(schema, defs, rng) for _ in range(6))]:
        if isinstance(value, dict) and accepts(made, value):
            assert names <= json.loads(made.encode(made.decode(json.dumps(value).encode()))).keys()


def grounded(schema: Any, defs: Mapping[str, Any]) -> bool:
    """Does following references in place ever end?"""

    def ends(s: Any, seen: tuple[str, ...]) -> bool:
        if not isinstance(s, dict):
            return True
        key = s["$ref"].removeprefix("#/$defs/") if "$ref" in s else None
        if key in seen:
            return False
        inner = [defs[key]] if key else []
        below = seen + ((key,) if key else ())
        parts = [p for k in ("allOf", "anyOf", "oneOf") for p in s.get(k, ())]
        parts += [s[k] for k in ("not", "if", "then", "else") if k in s] + list(s.get("dependentSchemas", {}).values())
        return all(ends(p, below) for p in inner) and all(ends(p, seen) for p in parts)

    return all(ends(s, ()) for s in (schema, *defs.values()))
