"""motia.schema.json itself: what editors complete and explain, and what `limits` promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from motia_spec import keywords
from motia_spec.validate import compile_schema, schema

SCHEMA = schema()


def resolve(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    target: Any = SCHEMA
    for token in value["$ref"].removeprefix("#/").split("/"):
        target = target[token]
    return {**target, **value}


def keys(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key that a schema defines, at any depth, with the schema of its value."""
    if not isinstance(schema, dict):
        return
    for section in ("properties", "patternProperties", "$defs"):
        for key, inner in schema.get(section, {}).items():
            if section != "$defs" and path.rpartition("/")[2] != "if":
                yield f"{path}/{section}/{key}", inner
            yield from keys(inner, f"{path}/{section}/{key}")
    for key in ("items", "additionalProperties"):
        yield from keys(schema.get(key), f"{path}/{key}")
    for key in ("anyOf", "allOf"):
        for index, inner in enumerate(schema.get(key, [])):
            yield from keys(inner, f"{path}/{key}/{index}")


KEYS = list(keys(SCHEMA))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_there_are_keys_to_look_at() -> None:
    assert len(KEYS) > 150
    assert "/$defs/ApiStep/properties/path" in dict(KEYS)


@pytest.mark.parametrize("path", [path for path, _ in KEYS])
def test_each_key_is_explained_with_examples(path: str) -> None:
    value = resolve(dict(KEYS)[path])
    assert len(value["description"]) > 10
    assert value["examples"]


def test_examples_fit() -> None:
    for path, value in KEYS:
        validator = Draft202012Validator({**resolve(value), "$defs": SCHEMA["$defs"]})
        assert [list(validator.iter_errors(example)) for example in resolve(value)["examples"]] == [[]] * len(
            resolve(value)["examples"]
        ), path


def test_nothing_is_fetched() -> None:
    text = json.dumps(SCHEMA)
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert all(ref.startswith(("#/$defs/", "#/schemas/", "./")) for ref in references)
    assert "$id" not in SCHEMA


def test_it_knows_every_keyword_of_json_schema_that_is_read_later() -> None:
    assert set(SCHEMA["$defs"]["JsonSchema"]["properties"]) == set(keywords.ALL)
    assert SCHEMA["$defs"]["JsonSchema"]["properties"]["enum"]["maxItems"] == keywords.MOST_ENUM
    assert set(SCHEMA["$defs"]["JsonSchema"]["x-motia-instead"]) == set(keywords.FOREIGN)


@pytest.mark.parametrize(
    "unsupported",
    [
        {"minLengthh": 1},
        {"not": {}},
        {"oneOf": []},
        {"anyOf": [{"type": "string"}, {"type": ["string", "null"]}]},
        {"pattern": "^a$"},
        {"enum": [1]},
        {"allOf": [{"if": {"properties": {"a": {"const": "x"}}}, "then": {}}]},
    ],
)
def test_what_would_not_be_checked_can_not_be_in_it(unsupported: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        compile_schema(unsupported)
