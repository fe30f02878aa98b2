"""The graph of a project: which step leads to which, through which topic. What is drawn, and what the rules walk.

Nodes: "step:N" for every step; "topic:T" only for topics that come from or go to the outside; "state:G" and "stream:S" on request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from motia_spec.model import AnyStep, Emit, EventStep, Flow, NoopStep, Project

if TYPE_CHECKING:
    import networkx

MOST_EDGES = 50_000  # of one project: beyond that no picture and no rule is of use


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

    def digraph(self) -> networkx.MultiDiGraph[str]:
        """The same as a networkx graph; nodes carry kind and label, edges kind, topic, label and conditional."""
        import networkx  # 200 ms; only who asks pays

        found: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
        for node in self.nodes.values():
            found.add_node(node.id, kind=node.kind, label=node.label)
        for edge in self.edges:
            found.add_edge(
                edge.source,
                edge.target,
                kind=edge.kind,
                topic=edge.topic,
                label=edge.label,
                conditional=edge.conditional,
            )
        return found


class Ends(msgspec.Struct, frozen=True):
    """Who is at the two ends of each topic. `virtual` emitters and subscribers are drawn, but send and handle nothing."""

    emitters: dict[str, list[tuple[AnyStep, Emit, bool]]]  # (step, emit, virtual)
    subscribers: dict[str, list[tuple[AnyStep, bool]]]  # (step, virtual)


def ends(project: Project) -> Ends:
    emitters: dict[str, list[tuple[AnyStep, Emit, bool]]] = {}
    subscribers: dict[str, list[tuple[AnyStep, bool]]] = {}
    for step in project.steps.values():
        noop = isinstance(step, NoopStep)
        drawn = noop and not (isinstance(step, NoopStep) and step.manual)
        for emit in step.emits:
            emitters.setdefault(emit.topic, []).append((step, emit, drawn))
        for emit in step.virtual_emits:
            emitters.setdefault(emit.topic, []).append((step, emit, True))
        if isinstance(step, NoopStep) and step.manual and step.manual.on_timeout_topic:
            topic = step.manual.on_timeout_topic
            if topic not in {emit.topic for emit in step.emits}:
                late = Emit(topic=topic, label="on timeout", conditional=True, place=step.place)
                emitters.setdefault(topic, []).append((step, late, False))
        if isinstance(step, EventStep | NoopStep):
            for subscription in step.subscribes:
                if subscription.kind == "topic":
                    subscribers.setdefault(subscription.name, []).append((step, drawn))
        for topic in step.virtual_subscribes:
            subscribers.setdefault(topic, []).append((step, True))
    return Ends(emitters, subscribers)


def count_edges(found: Ends) -> int:
    """How many arrows a graph would have, without building it."""
    return sum(max(1, len(found.subscribers.get(topic, ()))) * len(who) for topic, who in found.emitters.items()) + sum(
        len(who) for topic, who in found.subscribers.items() if topic not in found.emitters
    )


def links(project: Project) -> Iterator[tuple[str, str]]:
    """Pairs of steps that share a topic, enough of them to connect all: the first emitter with each, for every topic."""
    found = ends(project)
    for topic, who in found.emitters.items():
        subscribers = found.subscribers.get(topic)
        if subscribers:
            hub = who[0][0].name
            yield from ((hub, step.name) for step, _, _ in who[1:])
            yield from ((hub, step.name) for step, _ in subscribers)


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
