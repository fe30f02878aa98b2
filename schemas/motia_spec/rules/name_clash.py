"""M404: steps whose names give the same handler file or the same generated type. (Names that differ only in case: the spec's schema.)"""

from collections.abc import Iterator

from motia_spec import names
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import NoopStep
from motia_spec.rules.base import Checking
from motia_spec.tree import Cursor


def check(checking: Checking) -> Iterator[Diagnostic]:
    at = checking.spec.map("steps")
    files: dict[str, str] = {}
    types = {name: ("schema", name) for name in checking.project.schemas}
    for step in checking.project.steps.values():
        identifier = names.pascal(step.name)
        kind, other = types.setdefault(identifier, ("step", step.name))
        if kind == "schema":
            schemas = checking.spec.map("schemas")
            yield error(
                "M404",
                step.place,
                f"the step {step.name!r} and the schema {other!r} would both be the type {identifier}",
                hint="name the step after what it does, such as a verb and a noun",
                path=at.at(step.name),
                related=((schemas.key_place(other), "the schema"),),
            )
        elif other != step.name:
            yield _clash(
                at, other, step.name, f"the steps {other!r} and {step.name!r} would both have the types of {identifier}"
            )
            continue
        if isinstance(step, NoopStep) or step.handler.explicit:
            continue
        owner = files.setdefault(step.handler.path.casefold(), step.name)
        if owner != step.name:
            yield _clash(
                at, owner, step.name, f"the steps {owner!r} and {step.name!r} would share the file {step.handler.path}"
            )


def _clash(at: Cursor, one: str, other: str, message: str) -> Diagnostic:
    return error(
        "M404",
        at.key_place(other),
        message,
        hint="rename one of them, or give it a `handler`" if "file" in message else "rename one of them",
        path=at.at(other),
        related=((at.key_place(one), f"{one} is here"),),
    )
