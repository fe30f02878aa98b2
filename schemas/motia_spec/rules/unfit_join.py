"""M418: a join that can never be complete, or that says other topics than the step subscribes to."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, EventStep) or step.join is None:
            continue
        for s in step.subscribes:
            if s.kind != "topic":
                yield error(
                    "M418",
                    s.place,
                    f"{step.name} joins topics, and a change of {s.name!r} is no event of one",
                    hint="let another step run on the change, and emit to a topic that this one joins",
                    path=checking.pointer(step.name, "subscribes", s.place),
                )
        at = checking.step(step.name)
        if len(step.topics) < 2:
            yield error(
                "M418",
                at.key_place("join"),
                f"{step.name} subscribes to {len(step.topics)} topic{'s' * (len(step.topics) != 1)}: a join needs two or more",
                hint="add the others to subscribes, or leave out join",
                path=at.at("join"),
            )
        yield from _named(checking, step)


def _named(checking: Checking, step: EventStep) -> Iterator[Diagnostic]:
    """`topics`, where it is written, against `subscribes`."""
    at = checking.step(step.name).map("join")
    words = at.words("topics")
    for word in words:
        if word.text not in step.topics:
            yield error(
                "M418",
                word.place,
                f"{step.name} does not subscribe to {word.text!r}; it subscribes to: {suggest.listing(step.topics)}",
                hint=suggest.hint(word.text, step.topics, "add it to subscribes"),
                path=word.path,
            )
    left_out = [topic for topic in step.topics if topic not in {word.text for word in words}]
    if words and left_out:
        yield error(
            "M418",
            at.place("topics"),
            f"the join of {step.name} leaves out {suggest.listing(left_out)}, which the step subscribes to",
            hint="name every topic of subscribes here, or leave out topics",
            path=at.at("topics"),
        )
