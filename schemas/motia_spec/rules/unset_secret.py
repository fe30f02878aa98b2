"""M409: a secret that the environment does not set."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for word in checking.spec.words("secrets"):
        if not checking.environ.get(word.text):
            yield warning(
                "M409",
                word.place,
                f"the secret {word.text} is not set in the environment",
                hint=f"set {word.text}, in development also in .env",
                path=word.path,
            )
