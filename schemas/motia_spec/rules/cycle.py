"""M305: steps that feed each other without end, by events or by changes of state and streams, unless `allowCycle: true` on one of them, or on a topic
between them, says it is meant."""

from collections.abc import Iterator

import networkx

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.model import EventStep, NoopStep, Project
from motia_spec.rules.base import Checking
from motia_spec.wiring import Node, digraph


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    allowed = _allowed(checking)
    sent = digraph(checking.ends, virtual=False, without=allowed)
    _add_changes(sent, project, allowed)
    for part in networkx.strongly_connected_components(sent):
        if len(part) == 1:
            continue  # a step on its own topic makes two nodes
        steps = [project.steps[name] for kind, name in part if kind == "step"]
        first = min(steps, key=lambda step: step.place)
        path = _shortest(sent.subgraph(part).copy(), ("step", first.name))
        shown = [name for _, name in path]
        names = " -> ".join(shown if len(shown) <= 13 else [*shown[:8], "...", *shown[-3:]])
        more = len(steps) - sum(kind == "step" for kind, _ in path[1:])
        yield warning(
            "M305",
            first.place,
            f"the steps feed each other in a cycle: {names}" + (f" (and {more} more steps)" if more > 0 else ""),
            hint=f"make sure that it ends, then say allowCycle: true in {first.name}",
            path=checking.spec.map("steps").at(first.name),
        )


def _add_changes(sent: "networkx.DiGraph[Node]", project: Project, allowed: set[Node]) -> None:
    """From steps to the data that they use, and may change, and from there to the steps that run on its changes."""
    for step in project.steps.values():
        node: Node = ("step", step.name)
        if node in allowed:
            continue
        if not isinstance(step, NoopStep):
            sent.add_edges_from((node, ("state", name)) for name in step.uses_state)
            sent.add_edges_from((node, ("stream", name)) for name in step.uses_streams)
        if isinstance(step, EventStep):
            sent.add_edges_from(((s.kind, s.name), node) for s in step.subscribes if s.kind != "topic")


def _allowed(checking: Checking) -> set[Node]:
    """The steps and topics that may be in a cycle."""
    return {
        (kind, name)
        for kind, section in (("step", "steps"), ("topic", "topics"))
        for name, _, at in checking.spec.map(section).maps()
        if at.flag("allowCycle", False)
    }


def _shortest(part: "networkx.DiGraph[Node]", start: Node) -> list[Node]:
    """The shortest way from a node back to itself. All cycles would be more than anybody reads, or can be counted."""
    away = dict(networkx.single_target_shortest_path_length(part, start))
    nearest = min(part.successors(start), key=away.__getitem__)
    return [start, *networkx.bidirectional_shortest_path(part, nearest, start)]
