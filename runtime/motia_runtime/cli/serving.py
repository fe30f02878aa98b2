"""`motia worker`, from its first line of output to its last."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence

import msgspec

from motia_generator import generate
from motia_runtime.cli.loop import until_told
from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.messenger import NatsMessenger
from motia_runtime.nats.rights import Rights, worker_rights
from motia_runtime.remote.fleet import Fleet
from motia_runtime.remote.python.handlers import Handlers
from motia_runtime.remote.python.worker import Worker
from motia_runtime.supervise import Supervisor
from motia_runtime.tether import Tether
from motia_runtime.types import load_types
from motia_spec.model import Project

_log = logging.getLogger("motia.worker")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    settings: Settings
    workers: int
    capacity: int
    grace: float
    steps: int
    began: float


async def run_node(project: Project, options: Options) -> None:
    """Until told to stop. Raises what `Fleet.prepare` raises."""
    fleet = Fleet({**os.environ, **options.settings.environ()}, options.workers, options.capacity)
    async with until_told() as told:
        await fleet.change(await fleet.prepare(project), 0)
        _announce(options)
        await told.wait()
        _log.info("stopping: finishing what has begun")
        await fleet.stop(options.grace)
    _log.info("stopped")


async def run_python(project: Project, options: Options, tether: Tether | None) -> None:
    """Until told to stop. Raises `HandlerError`, `LogUnavailable`."""
    handlers = Handlers(project, load_types(project, generate))
    try:
        async with until_told() as told:
            link = await connect(options.settings, name=f"motia worker {project.name}", jetstream=False)
            link.rights = Rights(worker_rights(project.nats.prefix))
            worker = Worker(project, NatsMessenger(link), handlers, capacity=options.capacity)
            worker.start()
            await link.barrier()
            if tether is None:
                _announce(options)
            else:
                tether.ready()
                _log.info("serving")
            await told.wait()
            _log.info("stopping: finishing what has begun")
            await worker.leave(options.grace)
            await link.close()
    finally:
        handlers.close()
    _log.info("stopped")


async def supervise(again: Sequence[str], options: Options) -> bool:
    """Several Python workers, until told to stop. False: one had to be killed in the end. Raises `WorkerEnded`."""
    supervisor = Supervisor(
        [sys.executable, "-m", "motia_runtime", "worker", *again], options.workers, grace=options.grace
    )
    async with until_told(supervisor.kill) as told:
        starting = asyncio.create_task(supervisor.start())
        telling = asyncio.create_task(told.wait())
        try:
            await asyncio.wait([starting, telling], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _announce(options)
                await telling
            _log.info("stopping: finishing what has begun")
        finally:
            for task in (starting, telling):
                task.cancel()
            clean = await supervisor.stop()
    _log.info("stopped")
    return clean


def _announce(options: Options) -> None:
    several = f" in {options.workers} processes" if options.workers > 1 else ""
    took = (time.perf_counter() - options.began) * 1000
    _log.info("serving %d steps%s for %s, after %.0f ms", options.steps, several, options.settings.shown, took)
