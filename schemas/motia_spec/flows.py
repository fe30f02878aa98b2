"""Which steps belong together: the flows that the spec names, and the connected parts that nobody named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from motia_spec.model import AnyStep, ApiStep, CronStep, Flow
from motia_spec.names import unused
from motia_spec.tree import Cursor


def group(steps: Mapping[str, AnyStep], links: Iterable[tuple[str, str]], section: Cursor) -> dict[str, Flow]:
    """All flows: those of the `flows:` section in its order, those named only at steps, then connected parts of the rest.

    `links`: pairs of steps with an edge between them. A connected part is named after its first api or cron step, else flow-1, flow-2.
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
    for part in _connected(rest, links):
        first = next((name for name in part if isinstance(steps[name], ApiStep | CronStep)), None)
        if first is None:
            number += 1
            first = f"flow-{number}"
        name = unused(first, flows)
        flows[name] = Flow(name=name, steps=tuple(part), explicit=False)
    return flows


def _connected(names: list[str], links: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Connected parts of these steps, each in the order of `names`, ordered by their first."""
    parent = {name: name for name in names}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in links:
        if one in parent and other in parent:
            parent[find(other)] = find(one)
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(find(name), []).append(name)
    return list(parts.values())
