"""The generated docs are up to date, lead somewhere, and their examples are what they say."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from motia_spec.codes import CODES

DOCS = Path(__file__).parents[2] / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs_build = load()


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    made: dict[str, str] = docs_build.build()
    return made


def test_the_docs_are_up_to_date(built: dict[str, str]) -> None:
    stale = [name for name, text in built.items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run: python docs/build.py"


def test_building_twice_gives_the_same(built: dict[str, str]) -> None:
    assert docs_build.build() == built


def test_check_says_what_is_out_of_date(
    built: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs_build, "HERE", tmp_path)
    monkeypatch.setattr(docs_build, "build", lambda: {"a.md": "new", "b.md": "same"})
    (tmp_path / "a.md").write_text("old")
    (tmp_path / "b.md").write_text("same")
    assert docs_build.main(check=True) == 1
    assert capsys.readouterr().out == "docs/a.md is out of date: run python docs/build.py\n"
    assert (tmp_path / "a.md").read_text() == "old"
    assert docs_build.main(check=False) == 0
    assert (tmp_path / "a.md").read_text() == "new"
    assert docs_build.main(check=True) == 0


def test_links_inside_the_pages_lead_to_headings(built: dict[str, str]) -> None:
    for name, text in built.items():
        anchors = {docs_build.anchor(heading.strip()) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        linked = set(re.findall(r"\]\(#([^)]*)\)", text))
        assert linked - anchors == set(), name


def keys(schema: Any) -> set[str]:
    """Every key of the spec: what stands under `properties`, but for those of JSON Schemas and in examples."""
    found: set[str] = set()
    if isinstance(schema, dict):
        found |= set(schema.get("properties", {}))
        for key, value in schema.items():
            if key not in ("examples", "JsonSchema"):
                found |= keys(value)
    elif isinstance(schema, list):
        for value in schema:
            found |= keys(value)
    return found


def test_every_key_and_every_code_is_there(built: dict[str, str]) -> None:
    schema = json.loads(files("motia_spec").joinpath("motia.schema.json").read_text())
    for key in keys(schema):
        assert f"| `{key}`" in built["spec-reference.md"]
    for code in CODES.values():
        assert f"### {code.code}: {code.title}\n" in built["diagnostics.md"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcz-_ :#*{}'\"", max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_examples_are_yaml(value: Any) -> None:
    assert yaml.safe_load(docs_build.flow(value)) == value
