"""The composition root: the only module that knows the adapters (NATS, HTTP) and the generator, and puts an app together from them.

load_version   one version of an app on a log: handlers imported, engine and HTTP ready, nothing started
open_broker    a log on NATS: the app's own embedded server, or the one that NATS_URL names
App            what `motia dev` and `motia start` run: a log, a version, a server; versions can be swapped
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from motia_generator import generate
from motia_generator.drawing import draw
from motia_generator.layout import layout
from motia_runtime.bind import REMOTE, bind
from motia_runtime.broker import Broker, join_broker, open_broker
from motia_runtime.clock import SystemClock, following
from motia_runtime.engine import Engine, Role
from motia_runtime.http.app import OwnPath, build_app
from motia_runtime.http.guard import App as ASGIApp
from motia_runtime.http.guard import Hosts, Switch
from motia_runtime.http.page import AnyPage
from motia_runtime.http.pages.pages import build_pages
from motia_runtime.http.server import Server
from motia_runtime.http.server import bind as bind_server
from motia_runtime.http.streams.routes import StreamRoutes
from motia_runtime.http.tasks import TOKEN, Access, access, task_paths
from motia_runtime.logs import Mask
from motia_runtime.metrics.server import metrics_of
from motia_runtime.nats.messenger import NatsMessenger
from motia_runtime.nats.reconcile import durables
from motia_runtime.otlp.telemetry import Telemetry, telemetry_of
from motia_runtime.ports import Clock, Log
from motia_runtime.remote.fleet import Crew, Fleet
from motia_runtime.remote.messenger import Messenger
from motia_runtime.remote.node import NoNode
from motia_runtime.types import Types, load_types
from motia_runtime.workbench.api import ROUTES
from motia_runtime.workbench.bench import Bench
from motia_runtime.workbench.board import Board
from motia_runtime.workbench.history import History
from motia_runtime.workbench.live import Hub
from motia_runtime.workbench.running import Running
from motia_runtime.workbench.site import Site
from motia_spec.graph import build_graph
from motia_spec.model import ApiStep, Project

DRAIN = 25.0  # seconds that runs and requests under way may take when the app stops; below the usual 30 of a container
SWAP_DRAIN = 10.0  # seconds that they may take when a new version replaces theirs
SWAP_STREAMS = 1.0  # seconds that answers may be streamed on then: many have no end, and who reads them comes again

PagesMaker = Callable[[Project], Mapping[str, AnyPage]]
SiteMaker = Callable[[Project, Types, Engine], Site]  # the Workbench of a version

_log = logging.getLogger("motia.app")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does of an app, and how it stops."""

    host: str
    port: int
    find_free: bool = False  # take the next free port when this one is taken
    workbench: bool = False
    dev: bool = False  # `motia dev`: on loopback the Workbench and the tasks need no token
    token: str | None = None  # for both, unless the environment has one
    overlay: str | None = None  # name of the overlay that the spec is read with
    role: Role = "all"
    elsewhere: frozenset[str] = frozenset()  # languages whose handlers run in workers that somebody else starts
    node_workers: int = 1  # processes for handlers in TypeScript and JavaScript, if there are any
    shared: bool = False  # a supervisor holds broker and port for several processes
    grace: float = DRAIN  # seconds that what has begun may take once told to stop
    notice: float = 0.0  # of these, seconds that work is still taken while /readyz says 503


class Version(msgspec.Struct, frozen=True):
    """One version of an app, ready to run. A reload makes another."""

    project: Project
    types: Types
    engine: Engine
    asgi: ASGIApp
    site: Site | None = None  # the Workbench

    def dismiss(self) -> None:
        """Send away those who look: another version takes over, or the app stops."""
        if self.site is not None:
            self.site.hub.close()


def load_version(
    project: Project,
    log: Log,
    clock: Clock,
    *,
    pages: Mapping[str, AnyPage] | None = None,
    role: Role = "all",
    tasks: Access | None = None,
    workbench: SiteMaker | None = None,
    messenger: Messenger | None = None,
    remote: Collection[str] = REMOTE,
) -> Version:
    """Import the handlers and build engine and HTTP around them; nothing is consumed yet. Call it in the event loop. `tasks`: who may end tasks by HTTP.
    `workbench`: makes the Workbench, if there is to be one. `messenger`: how workers are reached, which run the handlers in the languages of `remote`.
    Raises `bind.HandlerError`; then what ran before still runs as it was."""
    types = load_types(project, generate)
    engine = Engine(project, bind(project, remote), types, log, clock, role=role, messenger=messenger)
    site = None if workbench is None else workbench(project, types, engine)
    ours: dict[str, OwnPath] = {}
    if tasks is not None:
        ours |= task_paths(engine.tasks, tasks, project.server.body_limit)
    if site is not None:
        ours |= site.paths(project)
    asgi = build_app(
        _without_routes(project) if role == "engine" else project,
        types,
        engine.calls,
        ready=lambda: engine.running and log.connected(),
        pages={} if pages is None else pages,
        runners=engine.runners,
        limiters=engine.limiters,
        ours=ours,
        streams=StreamRoutes(engine.live, engine.door, project.server.cors)
        if project.streams and role != "engine"
        else None,
    )
    return Version(project, types, engine, asgi, site)


def _without_routes(project: Project) -> Project:
    steps = {name: step for name, step in project.steps.items() if not isinstance(step, ApiStep)}
    return msgspec.structs.replace(project, steps=steps)


class App:
    """An app that serves: one broker, one HTTP server, one version at a time. Made by `run`."""

    def __init__(self, broker: Broker, clock: Clock, place: Place, make_pages: PagesMaker) -> None:
        self.broker = broker
        self._clock = clock
        self._place = place
        self._make_pages = make_pages
        self.board = Board()
        self._messenger = NatsMessenger(broker.link)
        node_workers = 0 if "node" in place.elsewhere else place.node_workers
        self._fleet = Fleet({**os.environ, **broker.settings.environ()}, node_workers)
        self._metrics = metrics_of(os.environ, broker.log, shared=place.shared)
        self._telemetry: Telemetry | None = None
        self._history: History | None = None
        self._version: Version | None = None
        self._switch: Switch | None = None
        self._server: Server | None = None

    @property
    def version(self) -> Version:
        assert self._version is not None
        return self._version

    @property
    def url(self) -> str:
        assert self._server is not None
        return self._server.url

    @property
    def taken_port(self) -> int | None:
        """The port that was asked for, when it was taken and the app listens on another."""
        assert self._server is not None
        return self._server.asked_port if self._server.moved else None

    async def start(self, project: Project) -> None:
        """Raises what `load_version`, `Fleet.prepare` and `http.server.bind` raise; then nothing runs."""
        version = await self._load(project)
        place = self._place
        crew = await self._crew(project)
        self._telemetry = telemetry_of(os.environ, project.name)
        if self._telemetry is not None:
            self._telemetry.start()
            if self._metrics is not None:
                self._metrics.telemetry = self._telemetry
        self._switch = Switch(version.asgi, self._hosts(project))
        # The port comes before consuming: an app that can't serve shall not take events away from one that can. Answering comes after:
        # what a request emits before a step's consumer is there for the first time would never reach that step.
        self._server = bind_server(
            self._switch, host=place.host, port=place.port, find_free=place.find_free, share=place.shared
        )
        try:
            await self._fleet.change(crew, 0)
            await self._begin(version)
            await self._server.start()
            if self._metrics is not None:
                await self._metrics.start()
        except BaseException:
            await asyncio.gather(self._server.stop(0), version.engine.stop(0))
            await self._fleet.stop(0)
            await self._end_export()
            raise
        self._version = version

    async def reload(self, project: Project, *, same_scripts: bool = False) -> None:
        """Serve a new version without closing a connection. What the old one has begun, it ends. `same_scripts`: as of `Fleet.prepare`. Raises what
        `load_version` and `Fleet.prepare` raise; then the old version serves on."""
        old = self.version
        new = await self._load(project)
        try:
            crew = await self._crew(project, same_scripts=same_scripts)
        except BaseException:
            await new.engine.stop(0)
            raise
        both = durables(old.project) | durables(project)
        await self.broker.fit(project, keep=both)
        await self._fleet.change(crew, SWAP_DRAIN)
        await self._begin(new)
        assert self._switch is not None
        self._version = new
        old.dismiss()
        await asyncio.gather(
            self._switch.swap(new.asgi, hosts=self._hosts(project), timeout=SWAP_DRAIN),
            old.engine.stop(SWAP_DRAIN, streams=SWAP_STREAMS),
        )
        if both != durables(project):
            await self.broker.fit(project)

    async def stop(self) -> None:
        """Drain: not ready at once; work is taken for `notice` seconds yet, so that who spreads requests has heard of it; what has begun may
        finish within `grace` seconds, the rest is given back."""
        if self._version is None or self._server is None:
            return
        engine = self._version.engine
        engine.running = False  # not ready any more
        self._version.dismiss()
        notice = min(self._place.notice, self._place.grace)
        await asyncio.sleep(notice)
        grace = self._place.grace - notice
        await asyncio.gather(self._server.stop(grace), engine.stop(grace))
        await self._fleet.stop(0)
        await self._end_export()
        if self._metrics is not None:
            await self._metrics.stop()
        if self._history is not None:
            await self._history.close()

    async def _end_export(self) -> None:
        """After the last record is made."""
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.stop)

    async def _crew(self, project: Project, *, same_scripts: bool = False) -> Crew | None:
        """Workers for a version's handlers in other languages. Where there is no Node, `motia dev` goes on with the others."""
        try:
            return await self._fleet.prepare(project, same_scripts=same_scripts)
        except NoNode as problem:
            if not self._place.dev:
                raise
            _log.warning("%s. Their runs wait; all other steps work", problem)
            return None

    async def _begin(self, version: Version) -> None:
        """Have a version consume, its runs counted and exported from the first on, and its consumers kept. Raises what `Engine.start` raises."""
        if self._telemetry is not None:
            self._telemetry.show(version.project)
            version.engine.records.exporter = self._telemetry.take
        if self._metrics is not None:
            self._metrics.count(version.engine)
        await version.engine.start()
        await self.broker.settle(version.project)
        if self._metrics is not None:
            self._metrics.show(version.engine, version.project)

    def _hosts(self, project: Project) -> Hosts:
        return Hosts(self._place.host, project.server.hosts, project.server.cors.origins if project.server.cors else ())

    async def _load(self, project: Project) -> Version:
        place = self._place
        if place.role == "engine":
            return load_version(
                project,
                self.broker.log,
                self._clock,
                role=place.role,
                messenger=self._messenger,
                remote=REMOTE | place.elsewhere,
            )
        pages = await asyncio.to_thread(self._make_pages, project)
        token = os.environ.get(TOKEN) or place.token
        allowed = access(token, place.host, dev=place.dev)
        return load_version(
            project,
            self.broker.log,
            self._clock,
            pages=pages,
            role=place.role,
            tasks=allowed,
            workbench=self._site_maker(allowed) if place.workbench and allowed is not None else None,
            messenger=self._messenger,
            remote=REMOTE | place.elsewhere,
        )

    def _history_of(self, project: Project) -> History:
        if self._history is None:
            name = f"{project.nats.prefix} {self.broker.shown if not self.broker.embedded else ''}"
            self._history = History(self.broker.log, self._clock, project.root / ".motia", name)
        return self._history

    def _site_maker(self, allowed: Access) -> SiteMaker:
        def make(project: Project, types: Types, engine: Engine) -> Site:
            bench = Bench(
                project=project,
                types=types,
                log=self.broker.log,
                clock=self._clock,
                state=engine.state,
                streams=engine.streams,
                live=engine.live,
                running=Running(engine),
                tasks=engine.tasks,
                board=self.board,
                history=self._history_of(project),
                mask=Mask.of(project),
                layout=lay_out,
                dev=self._place.dev,
                overlay=self._place.overlay,
            )
            return Site(bench, allowed, ROUTES, Hub(bench))

        return make


@asynccontextmanager
async def run(project: Project, place: Place, *, environ: Mapping[str, str] | None = None) -> AsyncIterator[App]:
    """The app, serving, for as long as the block lasts; then drained."""
    clock = SystemClock()
    opened = (join_broker if place.shared else open_broker)(project, environ, now=clock.time)
    async with opened as broker, following(clock, broker.log.feed):
        app = App(broker, clock, place, build_pages)
        await app.start(project)
        try:
            yield app
        finally:
            await app.stop()


def lay_out(project: Project, flow: str | None, data: bool) -> dict[str, Any]:
    """The graph of one flow, or of the whole app, with places. `data`: state groups and streams too. Raises `RenderError`."""
    return layout(draw(project, build_graph(project, state=data, streams=data), flow=flow))
