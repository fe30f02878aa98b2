"""What the diagrams show, read back from the renderer's own understanding of the DOT, and from the Mermaid and JSON texts."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from motia_generator.diagram import NoSuchFlow, diagram
from motia_generator.dot import LOOKS, OUTSIDE
from motia_generator.drawing import kind_line
from motia_generator.mermaid import BRACKETS
from motia_generator.render import render
from motia_spec.model import ApiStep, CronStep, EventStep, Handler, Project, Subscription

SVG = "{http://www.w3.org/2000/svg}"


def svg(project: Project, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(render(diagram(project, "dot", **options), "svg"))


def nodes(root: ElementTree.Element) -> dict[str, list[str]]:
    """Node id -> its lines of text."""
    return {g.findtext(f"{SVG}title") or "": texts(g) for g in root.iter(f"{SVG}g") if "node" in classes(g)}


def edges(root: ElementTree.Element) -> dict[str, tuple[list[str], dict[str, str], int]]:
    """ "a->b" -> its lines of text, the attributes of its line, how many arrow heads. ":e", where a line starts, is left out."""
    return {
        (g.findtext(f"{SVG}title") or "").replace(":e->", "->"): (
            texts(g),
            dict(g.findall(f"{SVG}path")[0].attrib),
            len(heads(g)),
        )
        for g in root.iter(f"{SVG}g")
        if "edge" in classes(g)
    }


def heads(g: ElementTree.Element) -> list[ElementTree.Element]:
    return g.findall(f"{SVG}polygon")


def classes(g: ElementTree.Element) -> list[str]:
    return g.get("class", "").split()


def texts(g: ElementTree.Element) -> list[str]:
    return [(text.text or "").strip() for text in g.iter(f"{SVG}text")]


def test_every_step_shows_its_name_and_what_starts_it(shop: Project) -> None:
    drawn = nodes(svg(shop, state=True, streams=True))
    assert drawn == {
        "step/Create": ["Create", "POST /orders/{id}"],
        "step/Screen": ["Screen", "JS", "event"],
        "step/Approve": ["Approve", "by hand, within 2h"],
        "step/Charge": ["Charge", "TS", "event, after 5s"],
        "step/Notify": ["Notify", "event"],
        "step/Audit": ["Audit", "on state orders"],
        "step/Nightly": ["Nightly", "cron 0 2 * * *, Europe/Berlin"],
        "step/Report": ["Report", "event"],
        "step/Sign": ["Sign", "noop"],
        "topic/stock": ["stock", "from outside"],
        "topic/billed": ["billed", "to outside"],
        "topic/asked": ["asked", "virtual"],
        "state/orders": ["orders", "state"],
        "stream/live": ["live", "stream"],
    }


def test_data_is_drawn_on_request(shop: Project) -> None:
    kinds = {key.partition("/")[0] for key in nodes(svg(shop))}
    assert kinds == {"step", "topic"}
    assert "state/orders" in nodes(svg(shop, state=True))
    assert "stream/live" in nodes(svg(shop, streams=True))


def test_edges_carry_their_topics_and_labels(shop: Project) -> None:
    drawn = {key: lines for key, (lines, _, _) in edges(svg(shop)).items()}
    assert drawn == {
        "step/Create->step/Screen": ["created"],
        "step/Screen->step/Notify": ["paid"],
        "step/Screen->step/Approve": ["review", "over 1000"],
        "step/Approve->step/Charge": ["decided"],
        "step/Approve->topic/asked": [],
        "step/Charge->step/Notify": ["paid", "refused"],
        "step/Charge->topic/billed": [],
        "step/Nightly->step/Report": ["report"],
        "topic/stock->step/Report": [],
    }


def test_lines_differ_by_what_they_mean(shop: Project) -> None:
    drawn = {key: (path, tips) for key, (_, path, tips) in edges(svg(shop, state=True, streams=True)).items()}
    certain, _ = drawn["step/Create->step/Screen"]
    assert "stroke-dasharray" not in certain
    conditional, _ = drawn["step/Screen->step/Approve"]
    virtual, _ = drawn["step/Approve->topic/asked"]
    assert conditional["stroke-dasharray"] != virtual["stroke-dasharray"]
    assert drawn["step/Create->state/orders"][1] == 0, "a step reads and writes: no direction"
    assert drawn["state/orders->step/Audit"][1] == 1, "a change starts the step"
    strokes = {drawn[key][0]["stroke"] for key in ("step/Create->step/Screen", "step/Create->state/orders")}
    assert len(strokes) == 2


def test_kinds_differ_in_shape_and_in_colour() -> None:
    looks = [*LOOKS.items(), ("outside", OUTSIDE)]
    for (one, a), (other, b) in combinations(looks, 2):
        assert (a.shape, a.style) != (b.shape, b.style) or {one, other} == {"topic", "outside"}
        assert a.fill != b.fill
        assert a.border != b.border
    assert len(set(BRACKETS.values())) == len(BRACKETS) == len(LOOKS)


def test_named_flows_are_frames_and_unnamed_ones_are_not(shop: Project) -> None:
    root = svg(shop)
    frames = [texts(g) for g in root.iter(f"{SVG}g") if "cluster" in classes(g)]
    assert sorted(frames) == [["orders", "To paid"], ["reports"]]
    assert texts(root)[:2] == ["shop", "Orders and reports"]


def test_one_flow_alone_shows_where_its_events_come_from_and_go_to(shop: Project) -> None:
    shop.steps["Audit"] = EventStep(
        name="Audit",
        handler=Handler(path="steps/audit.py"),
        subscribes=(Subscription(kind="topic", name="paid"),),
    )
    root = svg(shop, flow="orders")
    drawn = nodes(root)
    assert "step/Audit" in drawn
    assert "step/Nightly" not in drawn
    assert not [g for g in root.iter(f"{SVG}g") if "cluster" in classes(g)]
    assert texts(root)[:2] == ["orders", "To paid"]
    fills = {
        g.findtext(f"{SVG}title"): next(part.get("fill") for part in g if part.get("fill"))
        for g in root.iter(f"{SVG}g")
        if "node" in classes(g)
    }
    assert fills["step/Audit"] == OUTSIDE.fill
    assert fills["step/Notify"] == LOOKS["event"].fill


def test_an_unknown_flow_is_refused_with_the_known_ones(shop: Project) -> None:
    with pytest.raises(NoSuchFlow, match="no flow named 'order'; flows: flow-1, flow-2, orders, reports"):
        diagram(shop, "dot", flow="order")


def test_an_unknown_format_is_refused_with_the_known_ones(shop: Project) -> None:
    with pytest.raises(ValueError, match="unknown format 'gif'; allowed: dot, mermaid, json"):
        diagram(shop, "gif")


def test_mermaid(shop: Project) -> None:
    assert (
        diagram(shop, "mermaid", flow="orders")
        == """\
---
title: "orders"
---
flowchart LR
  step_Create[["<b>Create</b><br/><small>POST /orders/#123;id#125;</small>"]]:::api
  step_Screen("<b>Screen</b><br/><small>event #40;JS#41;</small>"):::event
  step_Approve["<b>Approve</b><br/><small>by hand, within 2h</small>"]:::noop
  step_Charge("<b>Charge</b><br/><small>event, after 5s #40;TS#41;</small>"):::event
  step_Notify("<b>Notify</b><br/><small>event</small>"):::event
  topic_billed(["<b>billed</b><br/><small>to outside</small>"]):::topic
  topic_asked(["<b>asked</b><br/><small>virtual</small>"]):::topic
  step_Create -->|"created"| step_Screen
  step_Screen -->|"paid"| step_Notify
  step_Screen -.->|"review<br/><i>over 1000</i>"| step_Approve
  step_Approve -->|"decided"| step_Charge
  step_Charge -->|"paid<br/>refused"| step_Notify
  step_Charge --> topic_billed
  step_Approve -.-> topic_asked
  linkStyle 6 stroke:#a1a1aa,stroke-dasharray:2 4
  classDef api fill:#e3eeff,stroke:#2563eb,color:#0f172a
  classDef event fill:#e4f9ed,stroke:#16a34a,color:#0f172a
  classDef noop fill:#f4f4f5,stroke:#71717a,color:#0f172a,stroke-dasharray:5 3
  classDef topic fill:#ffffff,stroke:#94a3b8,color:#0f172a,stroke-dasharray:5 3
"""
    )


def test_mermaid_of_everything_has_every_node_and_frame(shop: Project) -> None:
    text = diagram(shop, "mermaid", state=True, streams=True)
    assert [line.strip() for line in text.splitlines() if "subgraph" in line] == [
        'subgraph flow_0["orders"]',
        'subgraph flow_1["reports"]',
    ]
    assert text.count("\n  end\n") == 2
    assert 'state_orders[("<b>orders</b><br/><small>state</small>")]:::state' in text
    assert "  step_Create --- state_orders\n" in text
    assert "  state_orders --> step_Audit\n" in text


def test_json_has_all_there_is_to_know(shop: Project) -> None:
    made = json.loads(diagram(shop, "json", state=True, streams=True))
    by_id = {node["id"]: node for node in made["nodes"]}
    assert by_id["step:Create"] == {
        "id": "step:Create",
        "kind": "api",
        "name": "Create",
        "outside": False,
        "description": "",
        "trigger": "POST /orders/{id}",
        "place": "motia.yaml:1:1",
        "handler": "steps/create.py",
        "language": "python",
        "flows": ["orders"],
    }
    assert by_id["topic:stock"]["description"] == "From the warehouse"
    assert by_id["topic:stock"]["external"] == "in"
    assert {
        "source": "step:Screen",
        "target": "step:Approve",
        "kind": "event",
        "topic": "review",
        "label": "over 1000",
        "conditional": True,
    } in made["edges"]
    assert [e["topic"] for e in made["edges"] if e["source"] == "step:Charge"] == ["paid", "refused", "billed"]
    assert [f["name"] for f in made["flows"]] == ["orders", "reports", "flow-1", "flow-2"]


def test_the_same_project_gives_the_same_pictures(shop: Project) -> None:
    for kind in ("dot", "mermaid", "json"):
        assert diagram(shop, kind, state=True) == diagram(shop, kind, state=True)
    dot = diagram(shop, "dot")
    assert render(dot, "svg") == render(dot, "svg")


def test_an_empty_project_has_a_picture(shop: Project) -> None:
    empty = Project(root=shop.root, files=(), name="new")
    assert texts(svg(empty)) == ["new"]
    assert json.loads(diagram(empty, "json"))["nodes"] == []


def test_kind_lines_of_the_rarer_sort() -> None:
    here = Handler(path="h.py")
    assert kind_line(ApiStep(name="a", handler=here, methods=("GET", "POST"), path="/")) == "GET|POST /"
    assert kind_line(CronStep(name="c", handler=here, cron="*/5 * * * * *")) == "cron */5 * * * * *"
    both = (Subscription(kind="stream", name="s"), Subscription(kind="topic", name="t"))
    assert kind_line(EventStep(name="e", handler=here, subscribes=both, delay=0.25)) == "on stream s, after 250ms"
