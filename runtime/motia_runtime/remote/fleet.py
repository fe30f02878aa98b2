"""The Node workers that belong to a running app: started with it, replaced on a reload, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from motia_runtime.bind import HandlerError
from motia_runtime.remote import node
from motia_runtime.remote.child import Child, WorkerFailed
from motia_runtime.supervise import AGAIN, SETTLED
from motia_spec.model import Project

_log = logging.getLogger("motia.worker")


class Crew:
    """The processes of one version of the app. Made by `Fleet.prepare`; they serve once told to."""

    def __init__(self, program: str, manifest: str, environ: Mapping[str, str]) -> None:
        self._program = program
        self.manifest = manifest
        self._environ = environ
        self._children: dict[int, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._leaving = False

    async def start(self, count: int) -> None:
        """Raises `HandlerError`, `WorkerFailed`; then none runs."""
        starting = [Child.start(self._program, self.manifest, self._environ) for _ in range(count)]
        started = await asyncio.gather(*starting, return_exceptions=True)
        self._children = {number: child for number, child in enumerate(started, 1) if isinstance(child, Child)}
        for problem in started:
            if isinstance(problem, BaseException):
                await asyncio.gather(*(child.kill() for child in self._children.values()))
                raise problem

    async def serve(self) -> None:
        await asyncio.gather(*(child.serve() for child in self._children.values()))
        self._keepers = [asyncio.create_task(self._keep(number)) for number in self._children]

    async def leave(self, grace: float) -> None:
        """Twice is harmless."""
        if self._leaving:
            return
        self._leaving = True
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        await asyncio.gather(*(child.leave(grace) for child in self._children.values()))

    async def _keep(self, number: int) -> None:
        """One process, again and again."""
        wait, longest = AGAIN
        began = time.monotonic()
        while True:
            how = await self._children[number].ended()
            if time.monotonic() - began > SETTLED:
                wait = AGAIN[0]
            _log.error("the Node worker ended with %s; starting it again in %g s", how, wait)
            while True:
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                began = time.monotonic()
                try:
                    child = await Child.start(self._program, self.manifest, self._environ)
                    self._children[number] = child
                    await child.serve()
                    break
                except (HandlerError, WorkerFailed) as problem:
                    _log.error("%s; trying again in %g s", problem, wait)


class Fleet:
    """Of one app. `environ` says how a worker reaches the broker."""

    def __init__(self, environ: Mapping[str, str], count: int = 1, capacity: int = node.CAPACITY) -> None:
        self._environ = environ
        self._count = count
        self._capacity = capacity
        self._crew: Crew | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def prepare(self, project: Project, *, same_scripts: bool = False) -> Crew | None:
        """Processes that have imported the handlers of a version. None: it has none for them. `same_scripts`: no file that they may have read has changed,
        so those that serve do for this version too, if its steps are the same to them. Raises `HandlerError`, `NoNode`, `WorkerFailed`."""
        if not self._count or not node.has_steps(project):
            return None
        manifest = node.manifest(project, self._capacity)
        if same_scripts and self._crew is not None and self._crew.manifest == manifest:
            return self._crew
        crew = Crew(await asyncio.to_thread(node.find), manifest, self._environ)
        await crew.start(self._count)
        return crew

    async def change(self, crew: Crew | None, grace: float) -> None:
        """Have these serve, and those before leave within `grace` seconds; returns when the new ones serve."""
        old, self._crew = self._crew, crew
        if crew is old:
            return
        if crew is not None:
            await crew.serve()
        if old is not None:
            task = asyncio.create_task(old.leave(grace))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def stop(self, grace: float) -> None:
        crew, self._crew = self._crew, None
        leaving = [*self._leaving]
        if crew is not None:
            leaving.append(asyncio.create_task(crew.leave(grace)))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*leaving)
