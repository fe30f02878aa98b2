"""M419: two keys of an event step that can't both be meant."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep
from motia_spec.rules.base import Checking

_CLASHES = (  # the key that is reported, the one that it clashes with, why, and what to do
    ("join", "batch", "a join makes one run of one event of each topic, a batch one run of many", "keep one of the two"),
    (
        "dedupe",
        "join",
        "an event of one topic would be dropped as the duplicate of another topic's",
        "leave out dedupe: a join takes one event of each topic for a key",
    ),
    ("debounce", "join", "debounce keeps one event of all topics, and a join needs one of each", "leave out debounce"),
    ("orderBy", "join", "the events that are joined run together, in one run for each key", "leave out orderBy"),
    ("priority", "join", "the joined events would each have their own", "leave out priority"),
    ("concurrency.key", "join", "runs are joined for each key already", "leave out concurrency.key; limit alone counts all runs"),
    ("orderBy", "batch", "a batch fails as a whole, so one event would hold up every key of it", "keep one of the two"),
    (
        "concurrency.key",
        "batch",
        "the events of one batch have many keys",
        "leave out concurrency.key; limit alone counts all runs",
    ),
    ("debounce", "batch", "debounce leaves one event, and a batch takes many", "keep one of the two"),
    ("priority", "orderBy", "of one key the oldest event goes first, whatever its priority", "keep one of the two"),
)  # fmt: skip


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, EventStep):
            continue
        at = checking.step(step.name)
        for key, other, why, remedy in _CLASHES:
            section, _, inner = key.partition(".")
            holder, name = (at.map(section), inner) if inner else (at, section)
            if name in holder and other in at:
                yield error(
                    "M419",
                    holder.key_place(name),
                    f"{step.name} can't have `{key}` beside `{other}`: {why}",
                    hint=remedy,
                    path=holder.at(name),
                    related=((at.key_place(other), f"`{other}` is here"),),
                )
