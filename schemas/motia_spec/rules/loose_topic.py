"""M302 and M303: a topic that nothing subscribes to, or that nothing emits."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    section = checking.spec.map("topics")
    for topic in checking.project.topics.values():
        emitted = topic.name in checking.ends.emitters
        handled = topic.name in checking.ends.subscribers
        path = section.at(topic.name)
        if not emitted and not handled and topic.external is None:
            message = f"nothing emits {topic.name!r} and nothing subscribes to it"
            yield warning("M302", topic.place, message, hint="remove it, or use it in a step", path=path)
            continue
        if emitted and not handled and topic.external != "out":
            yield warning(
                "M302",
                topic.place,
                f"nothing subscribes to {topic.name!r}: its events are kept and never handled",
                hint="subscribe a step to it, or say `external: out` when another app does",
                path=path,
            )
        if handled and not emitted and topic.external != "in":
            yield warning(
                "M303",
                topic.place,
                f"nothing emits {topic.name!r}, so what subscribes to it never runs",
                hint="emit it from a step, or say `external: in` when another app does",
                path=path,
            )
