"""Tasks of noop steps, each as JSON (docs/tasks.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http, NotThere
from motia_runtime.cli.reach.way import Way

if TYPE_CHECKING:
    from motia_runtime.tasks import Tasks

TaskData = dict[str, Any]


class AskedTasks(Protocol):
    async def waiting(self, step: str | None, limit: int) -> list[TaskData]:
        """The oldest first."""
        ...

    async def get(self, step: str, id: str) -> TaskData | None:
        """Also one that has ended."""
        ...

    async def complete(self, step: str, id: str, answer: Any, topic: str | None, by: str) -> TaskData:
        """The ended task."""
        ...


def tasks_of(way: Way) -> AskedTasks:
    return HttpTasks(way) if isinstance(way, Http) else BrokerTasks(way)


class BrokerTasks:
    def __init__(self, way: Broker) -> None:
        self._way = way

    async def waiting(self, step: str | None, limit: int) -> list[TaskData]:
        async with self._open() as tasks:
            return [task.plain() for task in await tasks.waiting(step=step, limit=limit)]

    async def get(self, step: str, id: str) -> TaskData | None:
        async with self._open() as tasks:
            found = await tasks.get(step, id)
        return None if found is None else found.plain()

    async def complete(self, step: str, id: str, answer: Any, topic: str | None, by: str) -> TaskData:
        async with self._open() as tasks:
            return (await tasks.complete(step, id, answer, topic=topic, by=by)).plain()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Tasks]:
        from motia_runtime.clock import SystemClock
        from motia_runtime.commit import Commits
        from motia_runtime.context.base import new_id
        from motia_runtime.orphans import Orphans
        from motia_runtime.records import RecordWriter
        from motia_runtime.redaction import Redaction
        from motia_runtime.tasks import Tasks

        project, log = self._way.project, self._way.log
        clock, records = SystemClock(), RecordWriter(log, Redaction(project))
        orphans = Orphans(log, clock, new_id())
        try:
            yield Tasks(project, self._way.types, log, clock, Commits(log, clock, orphans), records)
        finally:
            records.flush()
            await orphans.stop()


class _Tasks(msgspec.Struct):
    tasks: list[TaskData]


class HttpTasks:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def waiting(self, step: str | None, limit: int) -> list[TaskData]:
        return (await self._way.get(_Tasks, "tasks", step=step, limit=limit)).tasks

    async def get(self, step: str, id: str) -> TaskData | None:
        try:
            return await self._way.get(TaskData, "tasks", step, id)
        except NotThere:
            return None

    async def complete(self, step: str, id: str, answer: Any, topic: str | None, by: str) -> TaskData:
        body = {"answer": answer, "topic": topic, "by": by}
        return await self._way.send(TaskData, "POST", "tasks", step, id, body=body)
