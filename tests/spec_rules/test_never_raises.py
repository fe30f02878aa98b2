"""Whatever a spec or a schema file holds, the outcome is a project or findings: never an exception, never a hang."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motia_spec import compile_project
from motia_spec.graph import build_graph

SPEC: dict[str, Any] = {
    "name": "fuzz",
    "defaults": {"timeout": "10s", "retry": "slow", "api": {"middleware": ["steps/m.py:f"]}},
    "policies": {"retry": {"slow": {"attempts": 3, "delay": "1s", "max": "1m", "skip": ["E"]}}},
    "secrets": ["A"],
    "schemas": {
        "Order": {"$ref": "./order.json"},
        "Local": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "pattern": "^a+$", "default": "a"}},
        },
    },
    "topics": {
        "a": {"schema": {"$ref": "#/schemas/Local"}},
        "b": {"external": "in"},
        "c": {"schema": {"enum": [1, 2]}},
    },
    "state": {"orders": {"schema": {"$ref": "#/schemas/Order"}, "ttl": "7d", "history": 3}},
    "streams": {"live": {"access": "steps/m.py:see", "schema": {"type": "object"}}},
    "steps": {
        "Api": {
            "type": "api",
            "method": "POST",
            "path": "/x/{id}",
            "body": {"$ref": "#/schemas/Order"},
            "responses": {"200": {"type": "object"}},
            "emits": ["a", {"topic": "c", "label": "x"}],
        },
        "Event": {
            "type": "event",
            "subscribes": ["a", "b"],
            "orderBy": "data.id",
            "concurrency": {"limit": 1, "key": "data.id"},
            "uses": {"state": ["orders"]},
        },
        "Cron": {"type": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin", "emits": ["a"]},
        "Ask": {
            "type": "noop",
            "subscribes": ["c"],
            "emits": ["a"],
            "manual": {
                "input": {"type": "object"},
                "timeout": "1h",
                "onTimeout": {"topic": "a", "data": {"id": "{data.id}"}},
            },
        },
    },
    "flows": {"main": {"steps": ["Api", "Event"]}},
}

FILE: dict[str, Any] = {
    "$id": "https://example.com/order.json",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
    },
    "patternProperties": {"^x-": {"anyOf": [{"type": "string"}, {"const": 1}]}},
    "if": {"required": ["a"]},
    "then": {"minProperties": 2, "maxProperties": 5},
    "examples": [{"id": "x"}],
    "$defs": {
        "Item": {"$anchor": "item", "type": "object", "properties": {"n": {"minimum": 1, "maximum": 2, "default": 1}}}
    },
}

HOSTILE = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        10**15,
        "",
        " ",
        "x",
        "é",
        "a" * 300,
        "../..",
        "#",
        "#/",
        "#/$defs",
        "#/schemas/Local",
        "#item",
        "./order.json",
        "order.json#/$defs/Item",
        "http://x",
        "${X}",
        "(a+)+",
        "1h",
        "0s",
        "* * * * * *",
        "data.id.x",
        "a.b.c",
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        {"$ref": "#"},
        {"$ref": 1},
        {"$dynamicRef": "#item"},
        {"allOf": [{"$ref": "#"}]},
        {"type": ["string", "null"]},
        {"const": {"a": [1]}},
        ["a", "a"],
        {"x": 1},
        {"state": "orders"},
        {"stream": "nope"},
        {"topic": "zzz"},
        "os:system",
        "steps/a.py",
        "steps/\u0000.py",
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def changed(value: Any, path: tuple[Any, ...], replacement: Any) -> Any:
    result = copy.deepcopy(value)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = replacement
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def compile_and_draw(folder: Path, spec: Any, file: Any) -> None:
    (folder / "order.json").write_text(json.dumps(file))
    compiled = compile_project(folder, text=json.dumps(spec), environ={})
    assert compiled.diagnostics, "there are no handler files"
    without = compile_project(folder, text=json.dumps(spec), environ={}, handlers=False)
    if without.project is not None:
        build_graph(without.project, state=True, streams=True)
    for finding in compiled.diagnostics:
        assert finding.message
        assert finding.place.line >= 1


@settings(max_examples=100, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(places(SPEC)), value=HOSTILE)
def test_a_changed_spec(folder: Path, path: tuple[Any, ...], value: Any) -> None:
    compile_and_draw(folder, changed(SPEC, path, value), FILE)


@settings(max_examples=120, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(places(FILE)), value=HOSTILE)
def test_a_changed_schema_file(folder: Path, path: tuple[Any, ...], value: Any) -> None:
    compile_and_draw(folder, SPEC, changed(FILE, path, value))
