"""`motia start` and `motia dev`: an app from its first line of output to its last."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from motia_generator import generate, stubs
from motia_generator.writer import write
from motia_runtime.app import App, run
from motia_runtime.bind import HandlerError
from motia_runtime.logs import banner
from motia_runtime.ports import LogUnavailable
from motia_runtime.watch import changes
from motia_spec import Compiled, compile_project
from motia_spec.model import Project
from motia_spec.render import render_text

T = TypeVar("T")

_log = logging.getLogger("motia.app")


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on uvloop where there is one: 10 to 40 % more throughput."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def _until_told() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(number: signal.Signals) -> None:
        if told.is_set():
            _log.warning("stopped without waiting for what still runs")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        told.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, tell, number)
    try:
        yield told
    finally:
        for number in signals:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)


async def run_start(project: Project, *, host: str, port: int, began: float) -> None:
    """Production: this version until told to stop. Raises what `app.run` raises."""
    async with _until_told() as told, run(project, host=host, port=port, find_free=False, workbench=False) as app:
        _announce(app, project, began, workbench=False)
        await told.wait()
        _log.info("stopping: finishing what has begun")
    _log.info("stopped")


async def run_dev(
    root: Path, *, host: str | None, port: int | None, overlay: str | None, color: bool, began: float
) -> int:
    """Development: generated files kept current, spec and handlers reloaded as they are saved. A broken edit leaves the last good version
    serving. Gives the exit code."""
    compiled = await asyncio.to_thread(_prepare, root, overlay, color)
    if compiled.project is None or not compiled.ok:
        return 1
    project = compiled.project
    async with (
        _until_told() as told,
        run(
            project,
            host=host or project.server.host,
            port=project.server.port if port is None else port,
            find_free=True,
            workbench=True,
        ) as app,
    ):
        _announce(app, project, began, workbench=True)
        async with asyncio.TaskGroup() as tasks:  # a watcher that fails ends the app aloud
            watcher = tasks.create_task(_watch(app, root, overlay, color, told))
            await told.wait()
            watcher.cancel()
    return 0


async def _watch(app: App, root: Path, overlay: str | None, color: bool, told: asyncio.Event) -> None:
    async for changed in changes(root, told):
        began = time.perf_counter()
        shown = ", ".join(sorted(changed)[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        compiled = await asyncio.to_thread(_prepare, root, overlay, color)
        if compiled.project is None or not compiled.ok:
            _log.error("%s changed; the last good version goes on serving until the findings above are mended", shown)
            continue
        try:
            await app.reload(compiled.project)
        except HandlerError as problem:
            _log.error("%s; the last good version goes on serving", problem)
        except LogUnavailable as problem:
            _log.error("not reloaded: the broker can't be reached (%s); save again", problem)
        except Exception:
            _log.exception("not reloaded; the last good version goes on serving")
        else:
            _log.info("%s changed: reloaded in %.0f ms", shown, (time.perf_counter() - began) * 1000)


def _prepare(root: Path, overlay: str | None, color: bool) -> Compiled:
    """Compile; when nothing but handlers is missing, write stubs for them; keep the generated files current; print the findings."""
    compiled = compile_project(root, overlay=overlay, handlers=False)
    if compiled.project is not None and compiled.ok:
        made = write(compiled.project.root, generate(compiled.project), stubs(compiled.project))
        for path in made.stubs:
            _log.info("wrote %s: a stub for you to fill in", path)
        compiled = compile_project(root, overlay=overlay)
    if compiled.diagnostics:
        print(render_text(compiled.diagnostics, compiled.sources, color=color).rstrip(), file=sys.stderr)
    return compiled


def _announce(app: App, project: Project, began: float, *, workbench: bool) -> None:
    if app.taken_port is not None:
        _log.warning("port %s is taken; listening on %s instead", app.taken_port, app.url)
    print(
        banner(
            project,
            app.url,
            f"{app.url}/__workbench" if workbench else None,
            app.broker.shown + (" (embedded)" if app.broker.embedded else ""),
            time.perf_counter() - began,
        ),
        flush=True,
    )
