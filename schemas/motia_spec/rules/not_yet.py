"""M901: keys that the spec may have already, and that do nothing until a later version."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.model import NoopStep
from motia_spec.place import Place
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        at = checking.step(step.name)
        if not isinstance(step, NoopStep) and step.handler.language == "node":
            place = step.handler.place if step.handler.explicit else step.place
            path = at.at("handler") if step.handler.explicit else at.path
            yield _note(place, "a TypeScript or JavaScript handler", "the step does not run", path)


def _note(place: Place, what: str, effect: str, path: str) -> Diagnostic:
    return warning("M901", place, f"{what} is not yet in force; it is accepted and ignored: {effect}", path=path)
