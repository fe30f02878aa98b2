"""The hostile inputs of `tests/hostile/corpus.yaml`, which explains its fields."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parent.parent / "hostile" / "corpus.yaml"

Entry = dict[str, Any]


@cache
def corpus() -> dict[str, list[Entry]]:
    """Every input by kind."""
    found: dict[str, list[Entry]] = yaml.safe_load(FILE.read_text("utf-8"))["inputs"]
    return found


def defaults(kind: str) -> dict[str, Any]:
    """What all inputs of a kind expect."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))["defaults"][kind]
    return found


def inputs(kind: str, *, without: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Parametrizes a test with `entry`: the inputs of a kind that run here and today. `without`: ids that have a test of their own."""
    entries = [e for e in corpus()[kind] if "later" not in e and "covered_by" not in e and e["id"] not in without]
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: entry["id"])


def value(entry: Entry) -> Any:
    """The input itself: str, bytes, or what its kind has."""
    if "payload" in entry:
        return entry["payload"]
    return eval(entry["gen"])  # an expression of our own, from the corpus


def raw(entry: Entry) -> bytes:
    found = value(entry)
    return found if isinstance(found, bytes) else str(found).encode()


def named(kind: str, id: str) -> Entry:
    """One input by its id."""
    return next(e for e in corpus()[kind] if e["id"] == id)
