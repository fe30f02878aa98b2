"""`motia start` and `motia dev`: an app from its first line of output to its last."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import sys
import time
from pathlib import Path

from motia_generator import generate, stubs
from motia_generator.writer import write
from motia_runtime.app import App, Place, run
from motia_runtime.bind import HandlerError
from motia_runtime.cli.loop import until_told
from motia_runtime.dotenv import Dotenv, DotenvError
from motia_runtime.http.guard import is_loopback
from motia_runtime.http.tasks import TOKEN
from motia_runtime.logs import Mask, announce, setup, wants_color
from motia_runtime.ports import LogUnavailable
from motia_runtime.remote.child import WorkerFailed
from motia_runtime.remote.node import NoNode
from motia_runtime.tether import Tether
from motia_runtime.watch import changes
from motia_runtime.workbench.board import Board
from motia_spec import compile_project
from motia_spec.compile import Compiled
from motia_spec.model import Project
from motia_spec.render import render_text

DOTENV = ".env"  # beside the spec, in the project's folder

_log = logging.getLogger("motia.app")


async def run_start(project: Project, place: Place, *, began: float, tether: Tether | None = None) -> None:
    """Production: this version until told to stop, or until the supervisor at the other end of `tether` is gone. Raises what `app.run`
    raises."""
    async with until_told() as told, run(project, place) as app:
        if tether is None:
            _announce(app, project, place, began)
        else:
            settle_memory()
            tether.ready()
            _log.info("serving")
        await told.wait()
        _log.info("stopping: finishing what has begun")
    _log.info("stopped")


async def run_dev(workplace: Workplace, *, host: str | None, port: int | None, node_workers: int, began: float) -> int:
    """Development: generated files kept current, spec, handlers and `.env` reloaded as they are saved. A broken edit leaves the last good version
    serving. Gives the exit code."""
    project = await asyncio.to_thread(workplace.prepare)
    if project is None:
        return 1
    host = host or project.server.host
    place = Place(
        host=host,
        port=project.server.port if port is None else port,
        find_free=True,
        workbench=True,
        dev=True,
        token=None if is_loopback(host) else secrets.token_urlsafe(24),
        overlay=workplace.overlay,
        node_workers=node_workers,
    )
    async with until_told() as told, run(project, place) as app:
        workplace.tell(app.board, "")
        _announce(app, project, place, began)
        async with asyncio.TaskGroup() as tasks:  # a watcher that fails ends the app aloud
            watcher = tasks.create_task(_watch(app, workplace, told))
            await told.wait()
            watcher.cancel()
    return 0


async def _watch(app: App, workplace: Workplace, told: asyncio.Event) -> None:
    waiting: set[str] = set()  # changed files that no version serves yet
    async for changed in changes(workplace.root, told):
        began = time.perf_counter()
        waiting |= changed
        shown = ", ".join(sorted(changed)[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        try:
            if DOTENV in changed:
                workplace.take_dotenv()
        except DotenvError as problem:
            _log.error("%s; the last good version goes on serving", problem)
            workplace.tell(app.board, str(problem))
            continue
        project = await asyncio.to_thread(workplace.prepare)
        if project is None:
            _log.error("%s changed; the last good version goes on serving until the findings above are mended", shown)
            workplace.tell(app.board, "The spec has errors.")
            continue
        try:
            await app.reload(project, same_scripts=all(n.endswith(".py") or n in project.files for n in waiting))
        except (HandlerError, NoNode, WorkerFailed) as problem:
            _log.error("%s; the last good version goes on serving", problem)
            workplace.tell(app.board, str(problem))
        except LogUnavailable as problem:
            _log.error("not reloaded: the broker can't be reached (%s); save again", problem)
        except Exception:
            _log.exception("not reloaded; the last good version goes on serving")
        else:
            waiting.clear()
            workplace.tell(app.board, "")
            _log.info("%s changed: reloaded in %.0f ms", shown, (time.perf_counter() - began) * 1000)


class Workplace:
    """The folder that `motia dev` works on, and how it talks about it."""

    def __init__(self, root: Path, dotenv: Dotenv, overlay: str | None, level: int) -> None:
        self.root = root
        self.dotenv = dotenv
        self.overlay = overlay
        self.level = level  # of the log
        self._compiled: Compiled | None = None
        self._mask: Mask | None = None  # of the log

    def tell(self, board: Board, broken: str) -> None:
        """Have the Workbench show what the last save was like. `broken`: why it does not run; empty: it does."""
        if self._compiled is not None:
            board.tell(self._compiled.diagnostics, self._compiled.sources, broken)

    def take_dotenv(self) -> None:
        """What `.env` says from now on. Raises `DotenvError`."""
        names = sorted(name for name in self.dotenv.load() if name.startswith("NATS_"))
        if names:
            _log.warning("%s changed: the broker is chosen at the start; restart `motia dev`", ", ".join(names))

    def prepare(self) -> Project | None:
        """Compile and print the findings; write stubs for handlers that are missing and keep the generated files current. None when the
        spec has errors; then nothing is written but what it needs to be complete."""
        compiled = compile_project(self.root, overlay=self.overlay, handlers=False)
        if compiled.project is not None and compiled.ok:
            # secrets that the spec has now are hidden from now on, and those of before still are
            hidden = () if self._mask is None else self._mask.look()
            self._mask = setup(compiled.project, json=False, level=self.level, hidden=hidden)
            made = write(compiled.project.root, generate(compiled.project), stubs(compiled.project))
            for path in made.stubs:
                _log.info(
                    "wrote %s: %s",
                    path,
                    "yours from now on" if path == "tsconfig.json" else "a stub for you to fill in",
                )
            compiled = compile_project(self.root, overlay=self.overlay)
        self._compiled = compiled
        if compiled.diagnostics:
            text = render_text(compiled.diagnostics, compiled.sources, color=wants_color(sys.stderr))
            print(text.rstrip(), file=sys.stderr)
        return compiled.project if compiled.ok else None


def settle_memory() -> None:
    """Once all is loaded: what is there now is never looked at again by the collector, and it runs seldom. Runs leave no cycles behind, so its
    usual eagerness (every 700 objects) costs a server a tenth of its time for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _workbench_url(app: App, place: Place) -> str | None:
    """Where the Workbench is; with the token that was made for this start, which nobody else knows."""
    if app.version.site is None:
        return None
    url = f"{app.url}/__workbench"
    return f"{url}#token={place.token}" if place.token and not os.environ.get(TOKEN) else url


def _announce(app: App, project: Project, place: Place, began: float) -> None:
    if app.taken_port is not None:
        _log.warning("port %s is taken; listening on %s instead", app.taken_port, app.url)
    settle_memory()
    announce(
        project,
        app.url,
        _workbench_url(app, place),
        app.broker.shown + (" (embedded)" if app.broker.embedded else ""),
        time.perf_counter() - began,
        role=place.role,
    )
