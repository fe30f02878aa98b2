"""How many revisions of a state key and of a stream item the broker keeps."""

from __future__ import annotations

from typing import NamedTuple

from motia_spec.model import EventStep, Project

WITH_TRIGGERS = 3  # where steps run on changes: so that one which comes late still finds what was there before


class Revisions(NamedTuple):
    state: int
    items: int


def revisions(project: Project) -> Revisions:
    """The most that anything in the app wants: all groups of state are one bucket, and so are all streams."""
    triggers = {s.kind for step in project.steps.values() if isinstance(step, EventStep) for s in step.subscribes}
    return Revisions(
        max(
            WITH_TRIGGERS if "state" in triggers else 1,
            *(group.history for group in project.state.values()),
            1,
        ),
        WITH_TRIGGERS if "stream" in triggers else 1,
    )
