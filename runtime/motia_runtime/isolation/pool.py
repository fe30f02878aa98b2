"""The worker processes of steps with `isolation: process`: one pool a step, as long as the engine lives."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
from typing import Any

import msgspec

from motia_runtime.bind import BoundStep
from motia_runtime.context import Context
from motia_runtime.isolation.failures import NotBegun
from motia_runtime.isolation.process import Process
from motia_runtime.isolation.wire import Hello
from motia_spec.model import EventStep, Project

PROCESSES = os.cpu_count() or 1  # of a step, and its runs at once, unless the spec limits them


class Pool:
    """The processes of one step: the first starts with the engine, others when all are busy, and they stay until the engine stops."""

    def __init__(self, project: Project, step: EventStep) -> None:
        self._root = project.root
        main = threading.current_thread() is threading.main_thread()
        self._hello = Hello(pickle.dumps(project), step.name, list(sys.path), os.getpid() if main else 0)
        self._free = asyncio.Semaphore(step.limit or PROCESSES)
        self._idle: list[Process] = []  # the one used last is used next: the others' memory can be swapped out
        self._all: set[Process] = set()

    async def start(self) -> None:
        """Have one process ready, so that a handler that can't be imported is found before anything is consumed. Raises `HandlerError`."""
        self._idle.append(await self._begin())

    async def run(self, args: tuple[Any, ...], ctx: Context, timeout: float) -> None:
        """As `Process.run`. Waiting for a process, and its start, take nothing of the timeout. Raises `HandlerError` when none can be started."""
        async with self._free:
            try:
                await self._run_on(await self._take(), args, ctx, timeout)
            except NotBegun:  # it had died while it waited
                await self._run_on(await self._begin(), args, ctx, timeout)

    async def _run_on(self, process: Process, args: tuple[Any, ...], ctx: Context, timeout: float) -> None:
        try:
            await process.run(args, ctx, timeout)
        finally:
            if process.alive:
                self._idle.append(process)

    async def close(self) -> None:
        """Nothing runs any more: have every process go."""
        await asyncio.gather(*(process.close() for process in self._all))

    async def _take(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
        return await self._begin()

    async def _begin(self) -> Process:
        process = await Process.start(self._hello, self._root)
        self._all = {process, *(other for other in self._all if not other.gone)}
        return process


class Pools:
    """Those of one engine."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._pools: list[Pool] = []

    def place(self, bound: BoundStep) -> BoundStep:
        """The step itself, or for one with `isolation: process` the same step run by a pool."""
        step = bound.step
        if not isinstance(step, EventStep) or step.isolation != "process" or bound.handler.remote:
            return bound
        pool = Pool(self._project, step)
        self._pools.append(pool)
        handler = msgspec.structs.replace(bound.handler, is_async=False, elsewhere=pool.run)
        return msgspec.structs.replace(bound, handler=handler)

    async def start(self) -> None:
        """Raises `HandlerError` when any can't start; call `close` then as well."""
        for problem in await asyncio.gather(*(pool.start() for pool in self._pools), return_exceptions=True):
            if problem is not None:
                raise problem

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools))
