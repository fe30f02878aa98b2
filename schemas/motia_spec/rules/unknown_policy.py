"""M406: `retry` names a policy that `policies.retry` does not have."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    policies = checking.spec.map("policies").map("retry").node.entries
    places = [("defaults", checking.spec.map("defaults"))]
    places += [(name, at) for name, _, at in checking.spec.map("steps").maps()]
    for name, at in places:
        word = at.word("retry")
        if word is not None and word.text not in policies:
            yield error(
                "M406",
                word.place,
                f"{name}: there is no retry policy {word.text!r}; policies.retry has: {suggest.listing(policies)}",
                hint=suggest.hint(
                    word.text, policies, "add it under policies.retry, or write the policy here as a mapping"
                ),
                path=word.path,
            )
