"""What an event step is given, by what it comes from: a topic, "state:orders", "join:order.paid,order.packed"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from motia_runtime.changes import readers
from motia_runtime.controls.join import joined
from motia_runtime.runs import Runs
from motia_spec.model import EventStep

_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Read = Callable[[bytes], Any]  # from a record's data to the handler's; raises `ValidationFailed`


def inputs_of(step: EventStep, runs: Runs) -> dict[str, Read]:
    found: dict[str, Read] = {
        topic: partial(runs.topic(topic).decode, trusted=topic not in runs.foreign_topics) for topic in step.topics
    }
    if step.join is not None:
        found[joined(step.join)] = partial(_read_set, dict(found))
    return found | readers(step, runs)


def _read_set(topics: dict[str, Read], data: bytes) -> dict[str, Any]:
    parts = _decode_parts(data)
    return {topic: read(bytes(parts[topic])) for topic, read in topics.items() if topic in parts}
