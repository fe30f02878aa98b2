"""Specs that would take quadratic or exponential time if walked naively. Deadlines are generous, in processor time: the naive way takes minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Check = Callable[..., Any]
SLOW = 4  # times as slow may a machine be as the one on which the seconds were chosen


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.process_time()
    yield
    took = time.process_time() - start
    assert took < SLOW * seconds, f"took {took:.1f} s"


def test_schemas_that_fan_out(check: Check) -> None:
    lines = [
        f'  S{n}: {{ anyOf: [ {{ $ref: "#/schemas/S{n + 1}" }}, {{ $ref: "#/schemas/S{n + 1}" }} ], default: 5 }}'
        for n in range(40)
    ]
    with within(5):
        found = check("schemas:\n" + "\n".join(lines) + "\n  S40: { type: string }\n")
    assert found.errors == ["M214"], found.describe()
    assert "more than 10,000 schemas would be tried on one value" in found.only("M214").message


def test_shapes_that_fan_out_through_properties(check: Check) -> None:
    lines = [
        f'  S{n}: {{ type: object, properties: {{ p: {{ anyOf: [ {{ $ref: "#/schemas/S{n + 1}" }}, {{ $ref: "#/schemas/S{n + 1}" }} ] }} }} }}'
        for n in range(30)
    ]
    key = ".".join(["data"] + ["p"] * 30 + ["q"])
    with within(5):
        found = check(
            "schemas:\n" + "\n".join(lines) + "\n  S30: { type: object, properties: { x: {} } }\n"
            'topics:\n  a: { external: in, schema: { $ref: "#/schemas/S0" } }\n'
            f"steps:\n  A: {{ type: event, subscribes: [a], orderBy: {key} }}\n"
        )
    assert "have no 'q'; there is: x" in found.only("M410").message


def test_a_long_chain_of_references(check: Check) -> None:
    lines = [f'  S{n}: {{ $ref: "#/schemas/S{(n + 1) % 5000}" }}' for n in range(5000)]
    with within(10):
        found = check("schemas:\n" + "\n".join(lines) + "\n")
    assert "S0 -> S1 -> S2" in found.only("M204").message
    assert len(found.only("M204").message) < 200


def test_a_long_cycle_of_steps(check: Check) -> None:
    count = 2000
    topics = "\n".join(f"  t{n}: {{}}" for n in range(count))
    steps = "\n".join(
        f"  S{n}: {{ type: event, subscribes: [t{n}], emits: [t{(n + 1) % count}] }}" for n in range(count)
    )
    with within(10):
        found = check(f"topics:\n{topics}\nsteps:\n{steps}\n")
    assert len(found.all("M305")) == 1
    assert len(found.only("M305").message) < 400


def test_many_steps_on_many_topics(check: Check) -> None:
    topics = "\n".join(f"  t{n}: {{}}" for n in range(40))
    names = ", ".join(f"t{n}" for n in range(40))
    steps = "\n".join(f"  S{n}: {{ type: event, subscribes: [{names}], emits: [{names}] }}" for n in range(1000))
    with within(10):
        found = check(f"topics:\n{topics}\nsteps:\n{steps}\n")
    assert found.errors == ["M307"]
    assert "40,000,000 edges" in found.only("M307").message


def test_many_misspelt_names(check: Check) -> None:
    topics = "\n".join(f"  topic.number.{n}: {{ external: out }}" for n in range(1500))
    steps = "\n".join(
        f"  S{n}: {{ type: api, method: GET, path: /s/{n}, emits: [topic.nmber.{n}] }}" for n in range(1500)
    )
    with within(20):
        found = check(f"topics:\n{topics}\nsteps:\n{steps}\n")
    assert len(found.all("M301")) == 200, "nobody reads more"
    assert "the rest is left out" in found.only("M110").message


def test_many_dangling_references(check: Check) -> None:
    lines = "\n".join(f'  Schema{n}: {{ properties: {{ a: {{ $ref: "#/schemas/Shcema{n}" }} }} }}' for n in range(3000))
    with within(15):
        found = check(f"schemas:\n{lines}\n")
    assert set(found.errors) == {"M203"}
