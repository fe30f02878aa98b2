"""M408: a flow lists a step that the spec does not have."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    steps = checking.project.steps
    for flow, _, at in checking.spec.map("flows").maps():
        for word in at.words("steps"):
            if word.text not in steps:
                yield error(
                    "M408",
                    word.place,
                    f"the flow {flow!r} lists {word.text!r}, and there is no such step; steps has: {suggest.listing(steps)}",
                    hint=suggest.hint(word.text, steps, "remove it, or add the step"),
                    path=word.path,
                )
