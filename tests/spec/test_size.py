"""Specs are read and checked in time that grows with their size; hostile ones in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from motia_spec.load import load_spec
from motia_spec.render import render_text
from motia_spec.validate import validate_spec

SECONDS = 10.0  # of processor time, for anything: a quarter of it here, and minutes for what is quadratic
MiB = 1 << 20


def many_steps(count: int) -> str:
    lines = ["motia: '1'", "name: big", "topics:"]
    lines += [
        f"  t.{i}: {{ schema: {{ type: object, properties: {{ id: {{ type: string }} }} }} }}" for i in range(count)
    ]
    lines.append("steps:")
    for i in range(count):
        lines += [
            f"  Step{i}:",
            "    type: event",
            f"    description: Does thing {i}",
            f"    subscribes: [t.{i}]",
            "    emits:",
        ]
        lines += [
            f"      - topic: t.{(i + 1) % count}",
            "        label: next",
            "        conditional: true",
            "    timeout: 30s",
        ]
    return "\n".join(lines)


def timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def test_ten_times_the_steps_take_ten_times_as_long(tmp_path: Path) -> None:
    """How long a thousand take is measured in `tests/benchmarks`."""

    def run(text: str) -> None:
        loaded = load_spec(tmp_path, {}, text=text)
        assert loaded.node is not None
        assert validate_spec(loaded.node) == []

    few, many = many_steps(200), many_steps(2000)
    assert min(timed(partial(run, many)) for _ in range(2)) < 25 * min(timed(partial(run, few)) for _ in range(3))


HOSTILE = {
    "colons": "a: " * (MiB // 3),
    "questions": "? " * (MiB // 2),
    "dashes": "- " * (MiB // 2),
    "brackets": "[" * MiB,
    "both brackets": "[{" * (MiB // 2),
    "open quote": '"' + "a\n " * (MiB // 3),
    "plain lines": "a\n" * (MiB // 2),
    "comments": "#\n" * (MiB // 2),
    "tag directives": "".join(f"%TAG !a{i}! x\n" for i in range(50_000)) + "--- a\n",
    "anchors": "a: [" + "".join(f"&a{i} 1, " for i in range(90_000)) + "]",
    "unknown keys": "".join(f"k{i}: 1\n" for i in range(60_000)),
    "unknown keys of a step": "steps: {a: {type: api, " + ", ".join(f"emit{i}: 1" for i in range(50_000)) + "}}",
    "duplicate keys": "a: 1\n" * 100_000,
    "duplicate items": "schemas: {A: {required: [" + "a," * 90_000 + "]}}",
    "open variables": "name: " + "${" * (MiB // 2 - 10),
    "variables": "name: " + "${A}" * (MiB // 4 - 10),
    "durations": "defaults: {timeout: " + "1s" * (MiB // 2 - 20) + "}",
    "one long name": "name: " + "a " * (MiB // 2 - 10) + "b",
    "digits": "a: " + "1" * (MiB - 10),
    "merges": "x-a: &a {" + ",".join(f"k{i}: 1" for i in range(1000)) + "}\nx-b: [" + ",".join(["{<<: *a}"] * 95) + "]",
    "aliases of a bad step": "x-a: &a {typ: apo}\nsteps: {" + ",".join(f"s{i}: *a" for i in range(9900)) + "}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_bounded_time(name: str, tmp_path: Path) -> None:
    def run() -> None:
        loaded = load_spec(tmp_path, {"A": "x"}, text=HOSTILE[name])
        found = loaded.diagnostics + (validate_spec(loaded.node) if loaded.node is not None else [])
        assert found or name == "merges"
        render_text(found, loaded.sources)

    assert timed(run) < SECONDS
