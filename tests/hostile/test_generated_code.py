"""Every hostile text, at each place of a spec that takes one: refused with a finding and nothing written, or plain data in all that is made of it.

What is made is compared with what a harmless text of the same length gives: the code without its constants and names, the elements of drawings
and pages, the lines of Mermaid and DOT without what is quoted. Then a process imports it all; it must not make the file CANARY.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from motia_generator import generate, stubs
from motia_generator.diagram import diagram
from motia_generator.render import render
from motia_runtime.cli.root import motia
from motia_runtime.http.openapi import openapi_document
from motia_runtime.http.page import Page
from motia_runtime.http.pages.pages import build_pages
from motia_spec import compile_project
from motia_spec.model import Project
from support.code_shape import shape
from support.corpus import Entry, corpus
from support.process import clean_environ

# What the corpus calls a place -> the places of a spec. The second one takes any text, where the first takes only names.
PLACES = {
    "description": ("description",),
    "enum": ("enum",),
    "default": ("default",),
    "topic title": ("topic", "title"),
    "property name": ("property",),
    "step name/label": ("step", "label"),
    "docs url": ("description", "label"),
    "name": ("project", "description"),
}
CASES = [(entry, place) for entry in corpus()["codegen"] for place in PLACES[entry["where"]]]
NAMES = ("topic", "step", "project")
MARKUP = {"svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text"}
IMPORT = """
import importlib, pathlib
for path in sorted(pathlib.Path("motia_types").rglob("*.py")):
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
for path in sorted(pathlib.Path("steps").glob("*.py")):
    importlib.import_module(f"steps.{path.stem}")
"""


def spec(place: str, text: str) -> dict[str, Any]:
    """A spec with a text at one place, or at all places of that sort."""

    def at(name: str, harmless: str) -> str:
        return text if place == name else harmless

    described = {"description": at("description", "benign")}
    outside = {"description": described["description"].replace("$", "$$")}  # of schemas, where ${...} is a variable
    thing = {
        "type": "object",
        "title": at("title", "Thing"),
        "$comment": described["description"],
        "properties": {
            "kind": {"enum": [at("enum", "a"), "b"], **described},
            "plain": {"type": "string", "default": at("default", "a")},
            at("property", "benign"): {"type": "integer", **described},
        },
        **described,
    }
    topic, label = at("topic", "made"), at("label", "when benign").replace("$", "$$")
    return {
        "name": at("project", "app"),
        "schemas": {"Thing": thing},
        "topics": {topic: {"schema": {"$ref": "#/schemas/Thing"}, **outside}},
        "state": {"things": {"schema": {"$ref": "#/schemas/Thing"}, **outside}},
        "steps": {
            at("step", "Make"): {
                "type": "api",
                "method": "POST",
                "path": "/make",
                "body": {"$ref": "#/schemas/Thing"},
                "responses": {"200": {"$ref": "#/schemas/Thing"}},
                "emits": [{"topic": topic, "label": label, "conditional": True}],
                "uses": {"state": ["things"]},
                **outside,
            },
            "Take": {"type": "event", "subscribes": [topic], **outside},
            "Clock": {"type": "cron", "cron": "0 5 * * *", "emits": [{"topic": topic, "label": label}], **outside},
        },
        "flows": {"all": {"steps": ["Take", "Clock"], **outside}},
    }


def project(folder: Path, made: dict[str, Any]) -> Project:
    text = json.dumps(made, ensure_ascii=False)
    return compile_project(folder, environ={}, text=text, handlers=False).require()


def twin(place: str, text: str) -> str:
    """A harmless text as long as the hostile one; as a property's name, one that needs another name in code if that one does."""
    if place != "property" or text.isidentifier():
        return "x" * len(text)
    return '"' * len(text) if re.search(r"[\\\"]", text) else ("x-" * len(text))[: len(text)].replace("-x-", "-xx")


class _Elements(HTMLParser):
    """Elements of a page with the names of their attributes; addresses may not be code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on")
            assert not (value or "").strip().lower().startswith("javascript:")
        self.found.append((tag, tuple(name for name, _ in attrs)))


def markup(svg: bytes) -> list[tuple[str, str]]:
    """Elements of a drawing with their classes, none that could run or fetch anything."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        tag = str(element.tag).removeprefix("{http://www.w3.org/2000/svg}")
        assert tag in MARKUP
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name
            assert "script:" not in value
        found.append((tag, element.get("class", "")))
    return found


def pictures(made: Project) -> dict[str, list[Any]]:
    """All that is drawn or shown of a project, without its texts."""
    dot, mermaid = diagram(made, "dot", state=True), diagram(made, "mermaid", state=True)
    svg = render(dot, "svg")
    pages = {path: page if isinstance(page, Page) else page() for path, page in build_pages(made).items()}
    unquoted = [re.sub(r'"[^"\n]*"', '""', line) for line in mermaid.splitlines()]
    bare = [re.sub(r"\b(step|topic|state)_\w+", r"\1", line) for line in unquoted]
    for line in bare:
        assert not re.search(r"^\s*click\b|@\{|%%\{|script:", line)
    in_dot = re.sub(r"<.*>|\"(?:[^\"\\]|\\.)*\"", "", dot)
    assert not re.search(r"\b(?:URL|href|image|tooltip|target|shapefile)\s*=", in_dot, re.IGNORECASE)
    return {
        "svg": markup(svg),
        "mermaid": sorted(bare),
        **{
            path: _Elements(p.body.decode()).found
            for path, p in pages.items()
            if p.content_type.startswith("text/html")
        },
    }


@pytest.mark.parametrize(
    ("entry", "place"), CASES, ids=[f"{entry['id']}-{place.replace(' ', '_')}" for entry, place in CASES]
)
def test_a_hostile_text_is_refused_or_stays_data(entry: Entry, place: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    text = entry["payload"].replace("CANARY", str(canary))
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "motia.yaml").write_text(json.dumps(spec(place, text), ensure_ascii=False), "utf-8")

    ran = CliRunner().invoke(motia, ["-C", str(folder), "gen"])

    assert ran.exit_code in entry["expect"]["exit"], ran.output
    assert "Traceback" not in ran.output
    if ran.exit_code:
        assert re.search(r"\bM\d{3}\b", ran.output)
        assert [path.name for path in folder.rglob("*")] == ["motia.yaml"]
        assert place in NAMES, "only names are refused"
        return
    hostile, harmless = project(tmp_path, spec(place, text)), project(tmp_path, spec(place, twin(place, text)))
    assert shape(generate(hostile)) == shape(generate(harmless))
    assert shape(stubs(hostile)) == shape(stubs(harmless))
    assert pictures(hostile) == pictures(harmless)
    document = openapi_document(hostile)
    assert json.loads(json.dumps(document)) == document
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    assert written == {*(p for p in generate(hostile) if p.endswith(".py")), *stubs(hostile)}
    subprocess.run([sys.executable, "-c", IMPORT], cwd=folder, env=clean_environ(), check=True, timeout=60)
    assert not canary.exists()


def test_a_project_in_a_folder_with_a_hostile_name(tmp_path: Path) -> None:
    """`motia create` makes files from a name; the name is cut down to what an app's name may have."""
    canary = tmp_path / "canary"
    name = next(e for e in corpus()["codegen"] if e["where"] == "name")["payload"].replace("CANARY", canary.name)
    folder = tmp_path / name
    assert CliRunner().invoke(motia, ["create", str(folder)]).exit_code == 0
    assert compile_project(folder, environ={}).require().name.isascii()
    for path in folder.rglob("*"):
        assert not path.is_file() or name not in path.read_text("utf-8")
    assert not canary.exists()
