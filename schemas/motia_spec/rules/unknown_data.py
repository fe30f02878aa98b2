"""M407: a step uses or watches a state group or a stream that the spec does not have."""

from collections.abc import Iterable, Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep, NoopStep
from motia_spec.rules.base import Checking
from motia_spec.tree import Word


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    for step in project.steps.values():
        uses = checking.step(step.name).map("uses")
        yield from _unknown(step.name, uses.words("state"), project.state, "state group", "state")
        yield from _unknown(step.name, uses.words("streams"), project.streams, "stream", "streams")
        if isinstance(step, EventStep | NoopStep):
            for s in step.subscribes:
                word = Word(s.name, s.place, checking.pointer(step.name, "subscribes", s.place))
                if s.kind == "state":
                    yield from _unknown(step.name, [word], project.state, "state group", "state")
                elif s.kind == "stream":
                    yield from _unknown(step.name, [word], project.streams, "stream", "streams")


def _unknown(step: str, words: list[Word], known: Iterable[str], kind: str, section: str) -> Iterator[Diagnostic]:
    names = set(known)
    for word in words:
        if word.text not in names:
            yield error(
                "M407",
                word.place,
                f"{step}: there is no {kind} {word.text!r}; {section} has: {suggest.listing(names)}",
                hint=suggest.hint(word.text, names, f"add it under {section}: {word.text}: {{}}"),
                path=word.path,
            )
