"""No text of a spec becomes code or markup in a diagram: the picture of a hostile spec is built like that of a harmless one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motia_generator.diagram import diagram
from motia_generator.dot import to_dot
from motia_generator.drawing import NAME_LIMIT, Arrow, Box, Drawing, shown
from motia_generator.mermaid import to_mermaid
from motia_generator.render import render
from motia_spec.model import (
    ApiStep,
    CronStep,
    Emit,
    EventStep,
    Flow,
    Handler,
    Manual,
    NoopStep,
    Project,
    StateGroup,
    Stream,
    Subscription,
    Topic,
)

HOSTILE = [
    "d\\",
    'a"b',
    'a\\"b',
    "a\\Nb\\Gc\\l\\r\\T",
    "a:b",
    "<b>html</b>",
    "<<TABLE><TR><TD HREF='x'>a</TD></TR></TABLE>>",
    "&#60;script&#62;alert(1)&lt;/script&gt;",
    "&nosuchentity; &",
    "javascript:alert(1)",
    "</text><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "]]><!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "--> <script>alert(1)</script> <!--",
    'A"]\n  click A call alert(1)\n  B["',
    'A@{ img: "http://127.0.0.1:9/x.png" }',
    "%%{init: {'securityLevel': 'loose'}}%%",
    "a\n---\nconfig:\n  securityLevel: loose\n---\nb",
    "end",
    "#quot;]; click x href 'javascript:alert(1)'",
    "`**bold**`",
    "1. list",
    "- list",
    "[x](javascript:alert(1)) ![](http://127.0.0.1:9/leak)",
    "$(touch pwned)`id`",
    "a\n2026-01-01 INFO forged line",
    "a\x00b\x07c\x1b[31m",
    "a\u2028b\u2029c\x85d",
    "\u202egnp.exe\u2066",
    "\ufffe\uffff",
    "\ud800",
    "日本語のとても長い名前",
    "👩‍👩‍👧 ok",
    "x" * 5000,
    "   ",
    '}\n} digraph { evil [URL="javascript:alert(1)"]',
    "//comment /* comment */ # comment",
]
DRAWN = {"svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text"}
ATTRIBUTES = frozenset(
    [
        "class",
        "cx",
        "cy",
        "d",
        "fill",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "height",
        "id",
        "points",
        "rx",
        "ry",
        "stroke",
        "stroke-dasharray",
        "stroke-width",
        "text-anchor",
        "transform",
        "viewBox",
        "width",
        "x",
        "y",
        "{http://www.w3.org/XML/1998/namespace}space",
    ]
)


def everywhere(text: str) -> Project:
    """A project with the text in every place that a diagram looks at."""
    handler = Handler(path=f"steps/{text}.ts")
    api, cron, event, noop = f"{text}1", f"{text}2", f"{text}3", f"{text}4"
    emit = Emit(topic=text, label=text, conditional=True)
    steps = (
        ApiStep(
            name=api,
            description=text,
            handler=handler,
            methods=(text,),
            path=text,
            emits=(emit, Emit(topic="out")),
            virtual_emits=(Emit(topic=f"{text}v", label=text),),
            uses_state=(text,),
            uses_streams=(text,),
        ),
        CronStep(name=cron, description=text, handler=handler, cron=text, timezone=text, emits=(emit,)),
        EventStep(name=event, handler=handler, subscribes=(Subscription(kind="topic", name=text),)),
        NoopStep(name=noop, subscribes=(Subscription(kind="state", name=text),), manual=Manual(timeout=1.0)),
    )
    return Project(
        root=Path("."),
        files=(),
        name=text,
        description=text,
        topics={text: Topic(name=text, description=text), "out": Topic(name="out", external="out", description=text)},
        state={text: StateGroup(name=text, description=text)},
        streams={text: Stream(name=text, description=text)},
        steps={step.name: step for step in steps},
        flows={text: Flow(name=text, description=text, steps=(api, event))},
    )


def structure(svg: bytes) -> list[tuple[str, str]]:
    """(element, class) in document order, after holding every element and attribute to what a drawing may have."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        tag = str(element.tag).removeprefix("{http://www.w3.org/2000/svg}")
        assert tag in DRAWN
        assert set(element.attrib) <= ATTRIBUTES
        found.append((tag, element.get("class", "")))
    return found


def skeleton(mermaid: str) -> list[str]:
    """The lines without quoted texts and with ids by order of appearance."""
    ids: dict[str, str] = {}
    bare = re.sub(r'"[^"\n]*"', '""', mermaid)
    bare = re.sub(r"\b(?:step|topic|state|stream)_\w*", lambda m: ids.setdefault(m[0], f"id{len(ids)}"), bare)
    return bare.splitlines()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_a_hostile_text_changes_no_structure(text: str) -> None:
    hostile, twin = everywhere(text), everywhere("harmless")
    options = {"state": True, "streams": True}
    dot, mermaid = diagram(hostile, "dot", **options), diagram(hostile, "mermaid", **options)
    svg = render(dot, "svg")
    assert structure(svg) == structure(render(diagram(twin, "dot", **options), "svg"))
    assert skeleton(mermaid) == skeleton(diagram(twin, "mermaid", **options))
    assert "%%{" not in mermaid
    assert json.loads(diagram(hostile, "json", **options))["nodes"][0]["description"] == text
    for attribute in ("URL", "href", "image", "tooltip", "target", "shapefile"):
        assert not re.search(rf"\b{attribute}\s*=", re.sub(r"label=<.*?>\]", "", dot), re.IGNORECASE)


def test_a_flow_with_a_hostile_name_can_be_asked_for() -> None:
    project = everywhere('a"]\n<b>')
    assert structure(render(diagram(project, "dot", flow='a"]\n<b>'), "svg"))


def quoted(mermaid: str) -> Iterator[str]:
    yield from re.findall(r'"([^"\n]*)"', mermaid)


@example(["a\\Nb\\Gc\\E\\T\\H\\L", "\\", "\\\\", "\\n\\l\\r"])  # escapes that Graphviz knows
@given(st.lists(st.text(max_size=30), min_size=1, max_size=25, unique=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_names_come_out_as_their_text(names: list[str]) -> None:
    boxes = tuple(Box(id=f"step:{name}", kind="event", name=name, line=name) for name in names)
    arrows = tuple(
        Arrow(source=a.id, target=b.id, kind="event", conditional=False, labels=()) for a, b in pairwise(boxes)
    )
    drawing = Drawing(title=names[0], subtitle=names[-1], boxes=boxes, arrows=arrows, groups=())
    root = ElementTree.fromstring(render(to_dot(drawing), "svg"))
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("class", "").startswith("node")]
    assert len(groups) == len(names), "ids are one to one, and the same in edges"
    read = [[text.text for text in g.iter("{http://www.w3.org/2000/svg}text")] for g in groups]
    assert sorted(lines[0] or "" for lines in read) == sorted(shown(name, NAME_LIMIT) for name in names)
    mermaid = to_mermaid(drawing)
    assert len(mermaid.splitlines()) == 4 + len(names) + len(arrows) + 1
    for text in quoted(mermaid):
        for tag in ("<b>", "</b>", "<br/>", "<small>", "</small>"):
            text = text.replace(tag, "")
        assert re.fullmatch(r"(?:[^\W_]|[ .,_/…-]|#\d+;|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*", text)


@given(st.text())
def test_shown_is_one_short_printable_line(text: str) -> None:
    line = shown(text, 20)
    assert 1 <= len(line) <= 20
    assert line == " ".join(line.split())
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", line)
    assert shown(line, 20) == line
