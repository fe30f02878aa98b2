"""M410: a key such as `data.customerId` that the events of a subscribed topic never have."""

from collections.abc import Iterator

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep
from motia_spec.rules.base import Checking
from motia_spec.tree import Word


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, EventStep):
            continue
        at = checking.step(step.name)
        words = [at.word("orderBy"), at.map("dedupe").word("key"), at.map("concurrency").word("key")]
        for word in words:
            if word is not None:
                yield from _check(checking, step, word)


def _check(checking: Checking, step: EventStep, word: Word) -> Iterator[Diagnostic]:
    project = checking.project
    root, *path = word.text.split(".")
    if root != "data" or not path or not all(path):
        yield error(
            "M410",
            word.place,
            f"{word.text!r} is not a key: it starts with data and names properties, like data.customerId",
            hint=f"did you mean data.{word.text}?" if root != "data" and all((root, *path)) else "",
            path=word.path,
        )
        return
    for name in step.topics:
        topic = project.topics.get(name)
        if topic is None or topic.schema is None:
            continue
        fault = checking.shapes.missing(topic.schema.value, path)
        if fault is not None:
            yield error(
                "M410",
                word.place,
                f"{word.text!r}: events of {name!r} have no {fault[0]!r}; there is: {suggest.listing(fault[1])}",
                hint=suggest.hint(fault[0], fault[1], "choose a property of the schema, or add it there"),
                path=word.path,
                related=((topic.schema.place, f"the schema of {name}"),),
            )
