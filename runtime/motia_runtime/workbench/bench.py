"""What the API reads and changes: one version of an app, with what its processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from motia_runtime.live.hub import Hub
from motia_runtime.logs import Mask
from motia_runtime.ports import Clock, Log
from motia_runtime.state import StateStore
from motia_runtime.streams import StreamStore
from motia_runtime.tasks import Tasks
from motia_runtime.types import Types
from motia_runtime.workbench.board import Board
from motia_runtime.workbench.history import History
from motia_runtime.workbench.running import Running
from motia_spec.model import AnyStep, Project

# of a flow, or of the whole app, with state groups and streams or without: where boxes and arrows are
Layout = Callable[[Project, str | None, bool], dict[str, Any]]


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Lives as long as the version."""

    project: Project
    types: Types
    log: Log
    clock: Clock
    state: StateStore
    streams: StreamStore
    live: Hub  # who follows them
    running: Running
    tasks: Tasks
    board: Board
    history: History
    mask: Mask
    layout: Layout
    dev: bool  # `motia dev`: positions of the graph may be kept in the project's folder
    overlay: str | None = None  # name of the overlay that the spec was read with

    def step(self, name: str) -> AnyStep:
        """Raises `Missing`."""
        found = self.project.steps.get(name)
        if found is None:
            raise Missing(f"there is no step {name!r} in the spec that runs")
        return found


class Missing(LookupError):
    """What was asked for is not there. The message says what, and where to look."""


class Gone(Missing):
    """It was there, and has had its end."""
