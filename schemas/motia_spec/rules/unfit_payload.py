"""M306: what a noop step sends can never fit the schema of the topic it sends it to."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import NoopStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    for step in project.steps.values():
        if not isinstance(step, NoopStep) or step.manual is None:
            continue
        manual, at = step.manual, checking.step(step.name).map("manual")
        for emit in step.emits:
            topic = project.topics.get(emit.topic)
            if topic is None or topic.schema is None or manual.input is None:
                continue
            reason = checking.shapes.conflict(manual.input.value, topic.schema.value)
            if reason is not None:
                yield error(
                    "M306",
                    manual.input.place,
                    f"the input of {step.name} never fits the topic {emit.topic!r}: {reason}",
                    hint="change one of the two schemas",
                    path=at.at("input"),
                    related=((topic.schema.place, f"the schema of {emit.topic}"),),
                )
        late = project.topics.get(manual.on_timeout_topic or "")
        data = at.map("onTimeout")
        if late is not None and late.schema is not None and "data" in data:
            reason = checking.shapes.refused(manual.on_timeout_data, late.schema.value, templates=True)
            if reason is not None:
                yield error(
                    "M306",
                    data.place("data"),
                    f"the data that {step.name} sends on timeout never fits the topic {late.name!r}: {reason}",
                    hint="change the data, or the schema of the topic",
                    path=data.at("data"),
                    related=((late.schema.place, f"the schema of {late.name}"),),
                )
