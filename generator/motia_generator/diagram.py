"""Flows as pictures: DOT, Mermaid or JSON text from a project. `render` turns DOT into SVG, PNG or PDF."""

from __future__ import annotations

import json
from collections.abc import Mapping

from motia_generator.dot import to_dot
from motia_generator.drawing import Box, Drawing, NoSuchFlow, draw, kind_line
from motia_generator.mermaid import to_mermaid
from motia_spec.model import NoopStep, Project, StateGroup, Stream, Topic

__all__ = ["TEXT_FORMATS", "NoSuchFlow", "diagram"]

TEXT_FORMATS = ("dot", "mermaid", "json")


def diagram(
    project: Project, format: str, *, flow: str | None = None, state: bool = False, streams: bool = False
) -> str:
    """The project's graph, or that of one flow, as text in one of `TEXT_FORMATS`; with state groups and live streams when asked.

    The same project gives the same text. Raises `NoSuchFlow`, and ValueError for another format.
    """
    from motia_spec.graph import build_graph  # only who draws pays for it

    if format not in TEXT_FORMATS:
        raise ValueError(f"unknown format {format!r}; allowed: {', '.join(TEXT_FORMATS)}")
    drawing = draw(project, build_graph(project, state=state, streams=streams), flow=flow)
    if format == "dot":
        return to_dot(drawing)
    return to_mermaid(drawing) if format == "mermaid" else _to_json(project, drawing, flow)


def _to_json(project: Project, drawing: Drawing, flow: str | None) -> str:
    """Nodes and edges with all that is known of them, unabridged; for tools. ASCII, indented, ends in a line end."""
    document = {
        "name": project.name,
        "description": project.description,
        "flow": flow,
        "nodes": [_node(project, box) for box in drawing.boxes],
        "edges": [
            {
                "source": arrow.source,
                "target": arrow.target,
                "kind": arrow.kind,
                "topic": topic,
                "label": label,
                "conditional": arrow.conditional,
            }
            for arrow in drawing.arrows
            for topic, label in arrow.labels or (("", ""),)
        ],
        "flows": [
            {"name": f.name, "description": f.description, "steps": list(f.steps), "explicit": f.explicit}
            for f in project.flows.values()
            if flow in (None, f.name)
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _node(project: Project, box: Box) -> dict[str, object]:
    node: dict[str, object] = {"id": box.id, "kind": box.kind, "name": box.name, "outside": box.outside}
    if box.kind in ("topic", "state", "stream"):
        known: dict[str, Mapping[str, Topic | StateGroup | Stream]]
        known = {"topic": project.topics, "state": project.state, "stream": project.streams}
        found = known[box.kind].get(box.name)
        return node | {"description": found.description if found else "", "external": getattr(found, "external", None)}
    step = project.steps[box.name]
    node |= {"description": step.description, "trigger": kind_line(step), "place": str(step.place)}
    if not isinstance(step, NoopStep):
        node |= {"handler": step.handler.path, "language": step.handler.language}
    return node | {"flows": [flow.name for flow in project.flows.values() if box.name in flow.steps]}
