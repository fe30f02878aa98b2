"""Which steps belong together: the flows that the spec names, and the connected parts that nobody named."""

from __future__ import annotations

from collections.abc import Mapping

import networkx

from motia_spec.model import AnyStep, ApiStep, CronStep, Flow
from motia_spec.names import unused
from motia_spec.tree import Cursor
from motia_spec.wiring import Ends, digraph


def group(steps: Mapping[str, AnyStep], ends: Ends, section: Cursor) -> dict[str, Flow]:
    """All flows: those of the `flows:` section in its order, those named only at steps, then connected parts of the rest.

    A connected part is named after its first api or cron step, else flow-1, flow-2.
    """
    members: dict[str, list[str]] = {}
    descriptions: dict[str, str] = {}
    for name, _, at in section.maps():
        members[name] = [word.text for word in at.words("steps") if word.text in steps]
        descriptions[name] = at.text("description")
    for step in steps.values():
        for name in step.flows:
            members.setdefault(name, []).append(step.name)
    flows = {
        name: Flow(name=name, description=descriptions.get(name, ""), steps=tuple(dict.fromkeys(names)))
        for name, names in members.items()
    }
    named = {step for flow in flows.values() for step in flow.steps}
    rest = [name for name in steps if name not in named]
    number = 0
    for part in _connected(rest, ends):
        first = next((name for name in part if isinstance(steps[name], ApiStep | CronStep)), None)
        if first is None:
            number += 1
            first = f"flow-{number}"
        name = unused(first, flows)
        flows[name] = Flow(name=name, steps=tuple(part), explicit=False)
    return flows


def _connected(names: list[str], ends: Ends) -> list[list[str]]:
    """Connected parts of these steps, each in the order of `names`, ordered by their first."""
    wired = digraph(ends, virtual=True)
    wired.add_nodes_from(("step", name) for name in names)
    inside = {("step", name) for name in names}
    # a topic that nobody emits, or nobody subscribes to, connects nobody
    joins = {node for node in wired if wired.in_degree(node) and wired.out_degree(node) and node[0] == "topic"}
    rank = {name: index for index, name in enumerate(names)}
    parts = [
        sorted((name for kind, name in part if kind == "step"), key=rank.__getitem__)
        for part in networkx.weakly_connected_components(wired.subgraph(inside | joins).copy())
    ]
    return sorted(filter(None, parts), key=lambda part: rank[part[0]])
