"""Our validator accepts and refuses what the reference validator does, on a real spec and on thousands of ways to break it."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from motia_spec.load import load_spec
from motia_spec.node import JSON, ListNode, MapNode, Node, ScalarNode
from motia_spec.place import NOWHERE
from motia_spec.validate import schema, validate_spec

SPEC = Path(__file__).with_name("whole.yaml")
BEYOND_JSON_SCHEMA = {"M108"}  # names that differ only by case
ROUNDS = 450

# 3000.0 is an integer in JSON Schema; for us it is a slip.
_strict = Draft202012Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
)
REFERENCE = extend(Draft202012Validator, type_checker=_strict)(schema())  # type: ignore[no-untyped-call]  # of jsonschema

VALUES: list[JSON] = [
    None, True, False, 0, 1, -1, 2.5, 3.0, 65536, 10**15, "", "x", "on", "30s", "1MiB", "api", "event", "GET", "order.created", "a b", " a", "a ",
    "__proto__", "constructor", "x" * 70, "ä", "-a", "a\n", "_motia.x", "$ref", "*", "nats://h", [], {}, ["x"], [1], ["x", "x"], {"x": 1},
    {"type": "noop"}, {"type": "api"}, {"$ref": "#/schemas/Order"}, {"state": "orders"}, {"topic": "order.paid", "label": "l"}, [{}], [[]],
]  # fmt: skip
KEYS = [
    "x",
    "type",
    "method",
    "path",
    "emits",
    "timeout",
    "x-note",
    "$ref",
    "__x__",
    "__x",
    "constructor",
    "201",
    "600",
    "a/b",
    "attempts",
    "a\n",
]


def node(value: JSON) -> Node:
    if isinstance(value, dict):
        return MapNode({key: (NOWHERE, node(inner)) for key, inner in value.items()}, NOWHERE)
    return ListNode([node(item) for item in value], NOWHERE) if isinstance(value, list) else ScalarNode(value, NOWHERE)


def accepts(value: dict[str, JSON]) -> bool:
    tree = node(value)
    assert isinstance(tree, MapNode)
    return {d.code for d in validate_spec(tree)} <= BEYOND_JSON_SCHEMA


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in it."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from spots(inner)


def broken(spec: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """A copy with one or two changes: a value replaced, a key added, renamed or removed, an item repeated."""
    spec = copy.deepcopy(spec)
    for _ in range(dice.choice((1, 1, 2))):
        where, key = dice.choice(list(spots(spec)))
        match dice.randrange(5):
            case 0 | 1:
                where[key] = copy.deepcopy(dice.choice(VALUES))
            case 2:
                del where[key]
            case 3 if isinstance(where, dict):
                where[dice.choice(KEYS)] = copy.deepcopy(dice.choice(VALUES))
            case 3:
                where.append(where[key])
            case _ if isinstance(where, dict):
                where[dice.choice(KEYS)] = where.pop(key)
            case _:
                where.insert(0, copy.deepcopy(dice.choice(VALUES)))
    return spec


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    loaded = load_spec(SPEC, {})
    assert loaded.node is not None, loaded.diagnostics
    value = loaded.node.plain()
    assert isinstance(value, dict)
    return value


def test_the_whole_spec_fits(whole: dict[str, Any]) -> None:
    assert accepts(whole)
    assert REFERENCE.is_valid(whole)


@pytest.mark.parametrize("seed", range(3))
def test_broken_specs(whole: dict[str, Any], seed: int) -> None:
    dice = random.Random(seed)
    refused = 0
    for _ in range(ROUNDS // 3):
        spec = broken(whole, dice)
        expected = REFERENCE.is_valid(spec)
        assert accepts(spec) == expected, json.dumps(spec)
        refused += not expected
    assert ROUNDS // 12 < refused < ROUNDS // 3, "both answers are seen"
