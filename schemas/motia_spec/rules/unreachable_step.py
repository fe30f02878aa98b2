"""M304: an event step that no chain of events from an api, cron or outside trigger leads to."""

from collections.abc import Iterator

import networkx

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.model import AnyStep, EventStep, NoopStep
from motia_spec.rules.base import Checking
from motia_spec.wiring import Node, digraph

_OUTSIDE: Node = ("outside", "")  # leads to all that starts without an event of this app


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    wired = digraph(checking.ends, virtual=True)
    wired.add_node(_OUTSIDE)
    wired.add_edges_from(
        (_OUTSIDE, ("topic", name)) for name, topic in project.topics.items() if topic.external == "in"
    )
    wired.add_edges_from((_OUTSIDE, ("step", step.name)) for step in project.steps.values() if _starts_itself(step))
    reached = networkx.descendants(wired, _OUTSIDE)
    for step in project.steps.values():
        if isinstance(step, EventStep) and ("step", step.name) not in reached:
            fed = [topic for topic in step.topics if topic in checking.ends.emitters]
            why = (
                f"only unreachable steps emit {fed[0]!r}"
                if fed
                else f"nothing emits {', '.join(map(repr, step.topics))}"
            )
            yield warning(
                "M304",
                step.place,
                f"{step.name} never runs: {why}",
                hint="emit one of its topics from an api or cron step, or say `external: in` on the topic",
                path=checking.spec.map("steps").at(step.name),
            )


def _starts_itself(step: AnyStep) -> bool:
    """Does it run without an event of this app? A noop without subscriptions is somebody outside."""
    if isinstance(step, EventStep):
        return any(subscription.kind != "topic" for subscription in step.subscribes) or bool(step.virtual_subscribes)
    return not isinstance(step, NoopStep) or not (step.subscribes or step.virtual_subscribes)
