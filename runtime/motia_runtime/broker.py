"""The app's broker on NATS: its own embedded server, or the one that NATS_URL names. With `app` and `testing` the only modules that know
adapters; commands that need no HTTP use this one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from motia_runtime.nats.connect import Settings
from motia_runtime.nats.connect import connect as connect_link
from motia_runtime.nats.embedded import EmbeddedServer, find_running, folder
from motia_runtime.nats.link import Link
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import Difference, plan, reconcile
from motia_runtime.nats.settle import settle
from motia_runtime.ports import Log
from motia_spec.model import Project

EMBEDDED = "embedded"

_log = logging.getLogger("motia.app")


def broker_url(project: Project, environ: Mapping[str, str]) -> str:
    """`nats.url` of the spec; where that says `embedded`, NATS_URL wins."""
    url = project.nats.url
    return environ.get("NATS_URL") or url if url == EMBEDDED else url


def broker_settings(project: Project, environ: Mapping[str, str]) -> Settings | None:
    """How to reach the broker of the app: where NATS_URL or the spec says, else the embedded one that runs. None: none does."""
    url = broker_url(project, environ)
    if url != EMBEDDED:
        return Settings.from_environ(url, environ)
    running = find_running(project.root)
    return None if running is None else running.settings


class Broker(msgspec.Struct, frozen=True):
    """A broker that is connected and fits the spec."""

    log: Log
    shown: str  # its URL without credentials
    embedded: bool
    link: Link
    store: Path | None  # of the embedded server, when it is ours
    settings: Settings

    async def fit(self, project: Project, *, keep: Collection[str] | None = None) -> None:
        """Make streams, buckets and consumers as the spec needs them; consumers named in `keep` stay."""
        for difference in await reconcile(self.link, project, store=self.store, keep=keep):
            _log.debug("broker: %s", difference)

    async def settle(self, project: Project) -> None:
        """Have the streams and consumers that were made survive a loss of power, where the store is on this machine."""
        if self.embedded:
            await asyncio.to_thread(settle, folder(project.root) / "store")


@asynccontextmanager
async def hold_broker(project: Project, environ: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """What there is one of for several processes of an app that `join_broker`: streams that fit the spec, and the embedded server for as long
    as the block lasts. Gives how it is shown; no connection is kept. Raises what `open_broker` raises."""
    async with _placed(project, environ) as place:
        async with _connected(project, *place) as broker:
            await broker.fit(project)
            shown = broker.shown + (" (embedded)" if broker.embedded else "")
        yield shown


@asynccontextmanager
async def open_broker(
    project: Project, environ: Mapping[str, str] | None = None, *, now: Callable[[], float] = time.time
) -> AsyncIterator[Broker]:
    """The broker of an app that runs, for as long as the block lasts: embedded, or where NATS_URL or the spec says; made to fit the spec.

    Raises `StoreBusy` when another process runs the embedded server, `StartFailed`, `NoServer`, `LogUnavailable` when the broker can't be
    reached, `Unsupported` when it is too old, `ReconcileFailed` when it can't be made to fit. `now`: the clock of what is appended for later."""
    async with _placed(project, environ) as place, _connected(project, *place, now) as broker:
        await broker.fit(project)
        yield broker


@asynccontextmanager
async def join_broker(
    project: Project, environ: Mapping[str, str] | None = None, *, now: Callable[[], float] = time.time
) -> AsyncIterator[Broker]:
    """The broker as a command sees it: that of the running app, as it is, or a server of its own for the moment when nothing runs."""
    environ = os.environ if environ is None else environ
    async with contextlib.AsyncExitStack() as stack:
        url = broker_url(project, environ)
        if url != EMBEDDED:
            yield await stack.enter_async_context(
                _connected(project, Settings.from_environ(url, environ), False, None, now)
            )
        elif (running := find_running(project.root)) is not None:
            yield await stack.enter_async_context(_connected(project, running.settings, True, None, now))
        else:
            server = await stack.enter_async_context(_embedded(project))
            yield await stack.enter_async_context(_connected(project, server.settings, True, server.store, now))


@asynccontextmanager
async def connect(project: Project) -> AsyncIterator[Log]:
    """The app's log for a command. A server that was started for the moment gets its streams; a running one is left as it is."""
    async with join_broker(project) as broker:
        if broker.store is not None:
            await broker.fit(project)
        yield broker.log


async def differences(project: Project) -> list[Difference]:
    """What the next start would change on the broker. Changes nothing."""
    async with join_broker(project) as broker:
        return await plan(broker.link, project, embedded=broker.embedded)


@asynccontextmanager
async def _placed(
    project: Project, environ: Mapping[str, str] | None
) -> AsyncIterator[tuple[Settings, bool, Path | None]]:
    """How to reach the broker of an app that runs, whether it is embedded, and then its store."""
    environ = os.environ if environ is None else environ
    url = broker_url(project, environ)
    if url == EMBEDDED:
        async with _embedded(project) as server:
            yield server.settings, True, server.store
    else:
        yield Settings.from_environ(url, environ), False, None


@asynccontextmanager
async def _embedded(project: Project) -> AsyncIterator[EmbeddedServer]:
    server = await EmbeddedServer.start(project.root, port=project.nats.port, durability=project.nats.durability)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def _connected(
    project: Project, settings: Settings, embedded: bool, store: Path | None, now: Callable[[], float] = time.time
) -> AsyncIterator[Broker]:
    link = await connect_link(settings, name=f"motia {project.name}")
    try:
        log = NatsLog(link, project.nats, store=folder(project.root) / "store" if embedded else None, now=now)
        yield Broker(log, settings.shown, embedded, link, store, settings)
    finally:
        await link.close()
