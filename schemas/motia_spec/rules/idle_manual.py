"""M417: a form of a noop step that leads nowhere."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.model import NoopStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, NoopStep) or step.manual is None:
            continue
        at = checking.step(step.name)
        if not step.emits:
            yield warning(
                "M417",
                at.key_place("manual"),
                f"{step.name} has `manual` and emits nothing, so filling in its form changes nothing",
                hint="add emits: [TOPIC]",
                path=at.at("manual"),
            )
        manual = at.map("manual")
        if "onTimeout" in manual and step.manual.timeout is None:
            yield warning(
                "M417",
                manual.key_place("onTimeout"),
                f"{step.name} has `onTimeout` and no `timeout`, so it never happens",
                hint="add timeout: 48h beside it",
                path=manual.at("onTimeout"),
            )
