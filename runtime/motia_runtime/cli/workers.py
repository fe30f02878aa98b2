"""`motia start --workers N`: what there is one of, held for the workers of one supervisor."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from motia_runtime.broker import hold_broker
from motia_runtime.cli.loop import until_told
from motia_runtime.http.listen import reserve, shown_url
from motia_runtime.logs import announce
from motia_runtime.supervise import Supervisor
from motia_spec.model import Project

_log = logging.getLogger("motia.app")


async def run_workers(
    project: Project,
    options: Sequence[str],
    workers: int,
    host: str,
    port: int,
    *,
    role: str,
    grace: float,
    began: float,
) -> bool:
    """Until told to stop. `options`: of a worker's `motia start`, beside host and port. False: a worker had to be killed in the end.
    Raises `WorkerEnded`, and what `hold_broker` and `reserve` raise."""
    reserved = reserve(host, port)
    try:
        port = reserved[0].getsockname()[1]
        command = [sys.executable, "-m", "motia_runtime", "start", "--host", host, "--port", str(port), *options]
        supervisor = Supervisor(command, workers, grace=grace)
        async with until_told(supervisor.kill) as told, hold_broker(project) as broker:
            starting = asyncio.create_task(supervisor.start())
            telling = asyncio.create_task(told.wait())
            await asyncio.wait([starting, telling], return_when=asyncio.FIRST_COMPLETED)
            try:
                if starting.done():
                    starting.result()
                    took = time.perf_counter() - began
                    announce(project, shown_url(host, port), None, broker, took, workers=workers, role=role)
                    await telling
                _log.info("stopping: finishing what has begun")
            finally:
                for task in (starting, telling):
                    task.cancel()
                clean = await supervisor.stop()
        _log.info("stopped")
        return clean
    finally:
        for sock in reserved:
            sock.close()
