"""M410 and M420: a key such as `data.customerId` that the input of a step never has, or that is never of the kind that is needed."""

from collections.abc import Iterator
from typing import NamedTuple

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.lower_steps import order_key
from motia_spec.model import EventStep, Schema, Subscription
from motia_spec.rules.base import Checking
from motia_spec.shapes import Missing
from motia_spec.tree import Word

_CHANGE = {"state": ("group", "key", "previous", "value"), "stream": ("group", "id", "previous", "stream", "value")}


class _Source(NamedTuple):
    """One kind of input of a step: what its schema is, and what of a key path is left to be found there."""

    what: str
    schema: Schema | None
    path: list[str]
    missing: Missing  # that the path is not even in a change


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, EventStep):
            continue
        at = checking.step(step.name)
        priority = at.word("priority")
        keys = [at.map(control).word("key") for control in ("dedupe", "concurrency")]
        for word in (order_key(at), *keys, at.map("join").word("by"), priority):
            if word is not None:
                yield from _check(checking, step, word, number=word is priority)


def _check(checking: Checking, step: EventStep, word: Word, *, number: bool) -> Iterator[Diagnostic]:
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
    for subscription in step.subscribes:
        source = _source(checking, subscription, path)
        schema = source.schema
        fault = source.missing or (schema and checking.shapes.missing(schema.value, source.path))
        related = ((schema.place, f"the schema of {subscription.name}"),) if schema else ()
        if fault:
            yield error(
                "M410",
                word.place,
                f"{word.text!r}: {source.what} have no {fault[0]!r}; there is: {suggest.listing(fault[1])}",
                hint=suggest.hint(fault[0], fault[1], "choose a property of the schema, or add it there"),
                path=word.path,
                related=related,
            )
        elif number and schema and not checking.shapes.types_at(schema.value, source.path) & {"number", "integer"}:
            yield error(
                "M420",
                word.place,
                f"{word.text!r} is never a number in {source.what}",
                hint="name a property that is a number, or change its type in the schema",
                path=word.path,
                related=related,
            )


def _source(checking: Checking, subscription: Subscription, path: list[str]) -> _Source:
    project, name = checking.project, subscription.name
    if subscription.kind == "topic":
        topic = project.topics.get(name)
        return _Source(f"events of {name!r}", topic.schema if topic else None, path, None)
    group = (project.state if subscription.kind == "state" else project.streams).get(name)
    members = _CHANGE[subscription.kind]
    missing = None if path[0] in members else (path[0], list(members))
    schema = group.schema if group and path[0] in ("value", "previous") else None
    return _Source(f"changes of {name!r}", schema, path[1:], missing)
