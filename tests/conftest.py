"""Fixtures that several folders share: a real nats-server for the session, and a log on it."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.log import ACK_WAIT, NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_spec.model import Nats, Project

PREFIXES = itertools.count(1)

# A run draws what the last one drew, so that who changed nothing sees nothing new. `MOTIA_EXAMPLES=2000` hunts: more, and others.
settings.register_profile(
    "suite", derandomize="MOTIA_EXAMPLES" not in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What hostile tests log may be no text that one process could send to another."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    """A nats-server on a random port of loopback, as the app starts it."""
    server = await EmbeddedServer.start(tmp_path_factory.mktemp("nats"))
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that a test runs in this process set logging up, as in a process of their own."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if getattr(handler, "motia", False):
            root.removeHandler(handler)
            root.setLevel(logging.WARNING)
            logging.getLogger("motia").setLevel(logging.NOTSET)


OpenLog = Callable[..., Awaitable[NatsLog]]


@pytest_asyncio.fixture
async def nats_log(nats_server: EmbeddedServer) -> AsyncIterator[OpenLog]:
    """`await nats_log(fast=True, nats=Nats(...))`: a log with streams of its own; connection and streams are gone after the test."""
    links = []
    prefixes = set()

    async def open_log(
        *,
        fast: bool = True,
        nats: Nats | None = None,
        project: Project | None = None,
        ack_wait: float = ACK_WAIT,
        now: Callable[[], float] = time.time,
    ) -> NatsLog:
        link = await connect(nats_server.settings, name="test", fast=fast)
        links.append(link)
        if project is None:
            project = Project(root=Path("/"), files=(), name="test", nats=nats or Nats(prefix=f"t{next(PREFIXES)}"))
        await reconcile(link, project, store=None, keep=())
        prefixes.add(project.nats.prefix or project.name)
        return NatsLog(link, project.nats, ack_wait=ack_wait, now=now)

    yield open_log
    for prefix in prefixes:
        await remove_streams(nats_server, prefix)
    for link in links:
        await link.close()


async def remove_streams(server: EmbeddedServer, prefix: str) -> None:
    """A server that keeps the streams of a thousand tests is busy with nothing else."""
    client = await nats.connect(server.url, token=server.token)
    try:
        js = client.jetstream()
        for stream in await js.streams_info():
            name = stream.config.name or ""
            if name.removeprefix("KV_").startswith(f"{prefix}_"):
                await js.delete_stream(name)
    finally:
        await client.close()
