"""M301: a step emits or subscribes to a topic that `topics` does not declare."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep, NoopStep
from motia_spec.place import Place
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    topics = checking.project.topics

    def undeclared(step: str, verb: str, key: str, topic: str, place: Place) -> Diagnostic:
        return error(
            "M301",
            place,
            f"{step} {verb} {topic!r}, which topics does not declare; declared: {suggest.listing(topics)}",
            hint=suggest.hint(topic, topics, f"add it under topics: {topic}: {{}}"),
            path=checking.pointer(step, key, place)
            if key != "manual"
            else f"{checking.step(step).at('manual')}/onTimeout/topic",
        )

    for step in checking.project.steps.values():
        for emit in step.emits:
            if emit.topic not in topics:
                yield undeclared(step.name, "emits", "emits", emit.topic, emit.place)
        if isinstance(step, EventStep | NoopStep):
            for subscription in step.subscribes:
                if subscription.kind == "topic" and subscription.name not in topics:
                    yield undeclared(step.name, "subscribes to", "subscribes", subscription.name, subscription.place)
        if isinstance(step, NoopStep) and step.manual and step.manual.on_timeout_topic not in (None, *topics):
            late = checking.step(step.name).map("manual").map("onTimeout")
            yield undeclared(
                step.name, "emits on timeout", "manual", str(step.manual.on_timeout_topic), late.place("topic")
            )
