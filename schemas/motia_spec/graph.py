"""The graph of a project as it is drawn: which step leads to which, through which topic. Rules and flows walk `wiring`.

Nodes: "step:N" for every step; "topic:T" only for topics that come from or go to the outside; "state:G" and "stream:S" on request.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from motia_spec.model import AnyStep, Emit, EventStep, Flow, NoopStep, Project
from motia_spec.wiring import ends


class GraphNode(msgspec.Struct, frozen=True):
    id: str
    kind: Literal["api", "event", "cron", "noop", "topic", "state", "stream"]
    label: str


class Edge(msgspec.Struct, frozen=True):
    """One arrow. `virtual` ones are drawn only: nothing is sent along them."""

    source: str
    target: str
    kind: Literal["event", "virtual", "state", "stream"]
    topic: str = ""
    label: str = ""
    conditional: bool = False


class Graph(msgspec.Struct, frozen=True):
    nodes: dict[str, GraphNode]
    edges: tuple[Edge, ...]
    flows: dict[str, Flow]


def build_graph(project: Project, *, state: bool = False, streams: bool = False) -> Graph:
    """Nodes in the order of the spec, edges ordered by their source step."""
    nodes = {f"step:{s.name}": GraphNode(f"step:{s.name}", _kind(s), s.name) for s in project.steps.values()}
    found = ends(project)
    edges: list[Edge] = []
    for topic in project.topics.values():
        if topic.external:
            nodes[f"topic:{topic.name}"] = GraphNode(f"topic:{topic.name}", "topic", topic.name)
    for topic_name, who in found.emitters.items():
        to_all = found.subscribers.get(topic_name, [])
        for step, emit, virtual in who:
            for subscriber, drawn in to_all:
                edges.append(_edge(f"step:{step.name}", f"step:{subscriber.name}", emit, virtual or drawn))
            declared = project.topics.get(topic_name)
            if declared is not None and declared.external == "out":
                edges.append(_edge(f"step:{step.name}", f"topic:{topic_name}", emit, virtual))
    for topic_name, whom in found.subscribers.items():
        declared = project.topics.get(topic_name)
        if declared is not None and declared.external == "in":
            edges += [
                Edge(f"topic:{topic_name}", f"step:{s.name}", "virtual" if drawn else "event", topic_name)
                for s, drawn in whom
            ]
    if state:
        _data_edges(project, "state", nodes, edges)
    if streams:
        _data_edges(project, "stream", nodes, edges)
    rank = {node: index for index, node in enumerate(nodes)}
    edges.sort(key=lambda edge: rank[edge.source])  # stable: the order of topics decides within a step
    return Graph(nodes, tuple(edges), project.flows)


def _edge(source: str, target: str, emit: Emit, virtual: bool) -> Edge:
    return Edge(source, target, "virtual" if virtual else "event", emit.topic, emit.label, emit.conditional)


def _kind(step: AnyStep) -> Literal["api", "event", "cron", "noop"]:
    return step.__struct_config__.tag  # type: ignore[return-value]  # the tags of AnyStep are these four


def _data_edges(
    project: Project, kind: Literal["state", "stream"], nodes: dict[str, GraphNode], edges: list[Edge]
) -> None:
    """Steps to the data that they use, and from data to the steps that run when it changes."""
    names = project.state if kind == "state" else project.streams
    for name in names:
        nodes[f"{kind}:{name}"] = GraphNode(f"{kind}:{name}", kind, name)
    for step in project.steps.values():
        used = step.uses_state if kind == "state" else step.uses_streams
        edges += [Edge(f"step:{step.name}", f"{kind}:{name}", kind) for name in used if name in names]
        if isinstance(step, EventStep | NoopStep):
            edges += [
                Edge(f"{kind}:{s.name}", f"step:{step.name}", kind)
                for s in step.subscribes
                if s.kind == kind and s.name in names
            ]
