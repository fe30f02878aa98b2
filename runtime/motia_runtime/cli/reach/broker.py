"""Straight to the broker, by the project's spec."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property

from motia_runtime.cli.reach.app import Names, StepNames
from motia_runtime.ports import Log
from motia_runtime.standings import kind_of
from motia_runtime.types import Types
from motia_spec.model import EventStep, NoopStep, Project


class Broker:
    """Lives as long as the connection."""

    def __init__(self, project: Project, log: Log) -> None:
        self.project = project
        self.log = log

    @cached_property
    def types(self) -> Types:
        from motia_generator import generate
        from motia_runtime.types import load_types

        return load_types(self.project, generate)


class BrokerApp:
    def __init__(self, project: Project) -> None:
        self._project = project
        self.names = _names_of(project)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Broker]:
        """Quietly: what goes wrong is the command's to say."""
        from motia_runtime.broker import connect
        from motia_runtime.logs import setup

        setup(self._project, json=False, level=logging.ERROR)
        async with connect(self._project) as log:
            yield Broker(self._project, log)


def _names_of(project: Project) -> Names:
    steps = {
        step.name: StepNames(
            kind_of(step),
            tuple(sorted({s.name for s in step.subscribes if s.kind == "topic"}))
            if isinstance(step, EventStep | NoopStep)
            else (),
        )
        for step in project.steps.values()
    }
    flows = {flow.name: tuple(flow.steps) for flow in project.flows.values()}
    return Names(steps, frozenset(project.topics), flows)
