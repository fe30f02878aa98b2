"""Processes for events that may kill the one they run in (`suspects`): handlers that run in the app otherwise, at home in a process of their own for a
while. Made when the first such event is to run, gone when no other waits for that.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from motia_runtime.bind import Bound, HandlerError
from motia_runtime.isolation.pool import Pool
from motia_spec.model import EventStep, Project

_log = logging.getLogger("motia.engine")


class Apart:
    """Those of one engine; a step has one at most, since such events run alone."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._pools: dict[str, Pool] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def place(self, step: EventStep, handler: Bound) -> Bound | None:
        """The handler in a process of its own, or itself when it is in another one anyway. None: it can't be run in another, and the log says why."""
        if handler.elsewhere is not None:
            return handler
        pool = self._pools.get(step.name)
        if pool is None:
            pool = self._pools[step.name] = Pool(self._project, step)
            try:
                await pool.start()
            except BaseException as problem:
                del self._pools[step.name]
                await pool.close()
                if not isinstance(problem, (HandlerError, OSError)):
                    raise
                _log.warning(
                    "%s: an event that may have killed the process runs in the app, since it can't in a process of its own: %s",
                    step.name,
                    problem,
                )
                return None
        return msgspec.structs.replace(handler, is_async=False, elsewhere=pool.run)

    def leave(self) -> None:
        """No event needs one now: have them go, meanwhile."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            task = asyncio.get_running_loop().create_task(pool.close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Nothing runs any more: wait until all are gone."""
        self.leave()
        if self._leaving:
            await asyncio.wait(self._leaving)
