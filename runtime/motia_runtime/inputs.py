"""What an event step is given, by what it comes from: a topic, "state:orders"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from motia_runtime.changes import readers
from motia_runtime.runs import Runs
from motia_spec.model import EventStep

Read = Callable[[bytes], Any]  # from a record's data to the handler's; raises `ValidationFailed`


def inputs_of(step: EventStep, runs: Runs) -> dict[str, Read]:
    found: dict[str, Read] = {
        topic: partial(runs.topic(topic).decode, trusted=topic not in runs.foreign_topics) for topic in step.topics
    }
    return found | readers(step, runs)
