"""M410: a `rateLimit` that counts by a parameter which its path does not have."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import ApiStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, ApiStep) or step.rate_limit is None:
            continue
        kind, _, name = step.rate_limit.key.partition(":")
        if kind == "path" and name not in step.path_params:
            at = checking.step(step.name).map("rateLimit")
            yield error(
                "M410",
                at.place("key"),
                f"{step.rate_limit.key!r}: {step.path} has no {name!r}; there is: {suggest.listing(step.path_params)}",
                hint=suggest.hint(
                    name, step.path_params, "name a parameter of the path, or count by header, query or ip"
                ),
                path=at.at("key"),
            )
