"""The corpus itself: all of it is accounted for, by a runner of this folder, by a test elsewhere, or by a part of the product to come.

Runners: test_specs (spec), test_generated_code (codegen), test_http_inputs (http), test_names (topic, key, header), test_messages (message),
test_commands (cli). The inputs for WebSockets (ws) belong to the live streams, which have no endpoint yet: they are carried, and run by nobody.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.corpus import corpus, value

ROOT = Path(__file__).parents[2]
COUNTS = {
    "spec": 50, "codegen": 23, "http": 43, "ws": 13, "topic": 15, "key": 8, "header": 4, "message": 7, "cli": 7,
}  # fmt: skip
CARRIED = {"ws"}
LATER: set[str] = set()
ELSEWHERE = [(e["id"], e["covered_by"]) for entries in corpus().values() for e in entries if "covered_by" in e]


def test_every_input_is_there() -> None:
    assert {kind: len(entries) for kind, entries in corpus().items()} == COUNTS
    ids = [entry["id"] for entries in corpus().values() for entry in entries]
    assert len(set(ids)) == len(ids) == 170
    for entries in corpus().values():
        for entry in entries:
            assert ("payload" in entry) != ("gen" in entry), entry["id"]
            assert entry["expect"], entry["id"]
            value(entry)


def kinds_used(file: Path) -> set[str]:
    """The kinds that a module takes inputs of: `inputs("spec")`, `named("cli", ...)`, `corpus()["codegen"]`."""
    used = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Call(ast.Name("inputs" | "named"), [ast.Constant(kind), *_]):
                used.add(str(kind))
            case ast.Subscript(ast.Call(ast.Name("corpus")), ast.Constant(kind)):
                used.add(str(kind))
    return used


def test_every_kind_has_a_runner() -> None:
    run = set().union(*(kinds_used(file) for file in Path(__file__).parent.glob("test_*.py")))
    assert run == set(COUNTS) - CARRIED


def test_what_waits_for_later_is_listed_here() -> None:
    waiting = {e["id"] for kind, entries in corpus().items() if kind not in CARRIED for e in entries if "later" in e}
    assert waiting == LATER


@pytest.mark.parametrize(("id", "test"), ELSEWHERE, ids=[entry for entry, _ in ELSEWHERE])
def test_what_is_proven_elsewhere_has_its_test(id: str, test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
