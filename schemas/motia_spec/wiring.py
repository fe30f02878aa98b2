"""Who emits and who subscribes, topic by topic, and the same as a networkx graph: what the rules and the flows walk.

Topics are nodes of their own here, so that the graph is linear in the spec, however many steps share a topic. `graph` has the arrows
from step to step that people see.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec
import networkx

from motia_spec.model import AnyStep, Emit, EventStep, NoopStep, Project

MOST_EDGES = 50_000  # from step to step, of one project: beyond that no picture and no rule is of use

Node = tuple[str, str]  # ("step", name) or ("topic", name)


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


def digraph(found: Ends, *, virtual: bool, without: Container[Node] = ()) -> networkx.DiGraph[Node]:
    """An edge from each step to the topics that it emits, and from each topic to the steps that subscribe; `virtual` ones only when asked,
    none from or to a node of `without`."""
    wired: networkx.DiGraph[Node] = networkx.DiGraph()
    for topic, who in found.emitters.items():
        if ("topic", topic) not in without:
            wired.add_edges_from(
                (("step", step.name), ("topic", topic))
                for step, _, drawn in who
                if (virtual or not drawn) and ("step", step.name) not in without
            )
    for topic, whom in found.subscribers.items():
        if ("topic", topic) not in without:
            wired.add_edges_from(
                (("topic", topic), ("step", step.name))
                for step, drawn in whom
                if (virtual or not drawn) and ("step", step.name) not in without
            )
    return wired
