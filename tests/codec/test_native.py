"""msgspec 0.22 corrupts memory when it frees `Annotated[str, Meta(pattern=...)] | list[...]` (or dict): no generated type may be that."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from json_schemas import AWKWARD, project, schemas
from test_agreement import EXAMPLES, grounded

from motia_generator import generate
from motia_runtime.types import load_types

_CONTAINERS = (list, dict, tuple, set, frozenset)


def unions(found: Any, seen: set[Any] | None = None) -> Iterator[tuple[Any, ...]]:
    """The alternatives of each type that is reached from a type, a lone type being its only one."""
    seen = set() if seen is None else seen
    if found in seen:
        return
    seen.add(found)
    alternatives = typing.get_args(found) if typing.get_origin(found) in _UNIONS else (found,)
    yield alternatives
    for one in alternatives:
        inner: Any = typing.get_args(one)[:1] if typing.get_origin(one) is typing.Annotated else typing.get_args(one)
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            inner = [
                t for n, t in typing.get_type_hints(one, include_extras=True).items() if n in one.__struct_fields__
            ]
        for part in inner:
            if typing.get_origin(one) is not typing.Literal:
                yield from unions(part, seen)


_UNIONS = (typing.Union, type(int | str))


def corrupts(alternatives: tuple[Any, ...]) -> bool:
    bare = [typing.get_args(a)[0] if typing.get_origin(a) is typing.Annotated else a for a in alternatives]
    regular = any(getattr(m, "pattern", None) is not None for a in alternatives for m in getattr(a, "__metadata__", ()))
    return regular and any((typing.get_origin(b) or b) in _CONTAINERS for b in bare)


def assert_harmless(schema: Any, defs: dict[str, Any]) -> None:
    made = project(schema, defs)
    for found in load_types(made, generate)._types.values():
        assert not any(map(corrupts, unions(found))), (schema, defs, found)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_schemas_make_no_type_that_corrupts_memory(name: str) -> None:
    assert_harmless(*AWKWARD[name][:2])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), schemas(), schemas())
def test_drawn_schemas_make_no_type_that_corrupts_memory(schema: Any, a: Any, b: Any) -> None:
    if grounded(schema, {"A": a, "B": b}):
        assert_harmless(schema, {"A": a, "B": b})


def test_the_check_knows_what_corrupts() -> None:
    regular = typing.Annotated[str, msgspec.Meta(pattern="^a")]

    assert any(map(corrupts, unions(dict[str, list[regular | dict[str, int] | None]])))
    assert not any(map(corrupts, unions(list[regular | int] | None)))


def test_types_are_made_used_and_dropped_without_corrupting_memory() -> None:
    """Again and again, as reloads do, under an allocator that dies when memory is freed that it did not give."""
    code = """
import gc
from json_schemas import AWKWARD, codec
from motia_runtime.handler import ValidationFailed
for name in sorted(AWKWARD):
    if "pattern" not in name and "formats" != name:
        continue
    for _ in range(5):
        made, _gaps = codec(*AWKWARD[name][:2])
        for value in ("a", "b", "2024-02-29", [], ["a"], {}, {"a": "a"}, None):
            try:
                made.decode(made.encode(made.convert(value)))
            except ValidationFailed:
                pass
        del made
        gc.collect()
"""
    env = {**os.environ, "PYTHONMALLOC": "debug", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
