"""M401: two api steps that the same request fits."""

from collections.abc import Iterator

from motia_spec import routes
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import ApiStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    first: dict[tuple[str, str], ApiStep] = {}
    for step in checking.project.steps.values():
        if not isinstance(step, ApiStep):
            continue
        reported: set[str] = set()
        for method in step.methods:
            other = first.setdefault((method, routes.shape(step.path)), step)
            if other is step or other.name in reported:
                continue
            reported.add(other.name)
            at, there = checking.step(step.name), checking.step(other.name)
            same = "" if other.path == step.path else f", which matches the same requests as its {other.path}"
            yield error(
                "M401",
                at.place("path"),
                f"{method} {step.path} belongs to {other.name} already{same}",
                hint="change the path or the method, or make it one step",
                path=at.at("path"),
                related=((there.place("path"), f"{other.name} has it here"),),
            )
