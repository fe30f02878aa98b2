"""A server on a real socket over a project made in the test, with a runner that calls plain functions and codecs of plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from motia_runtime.codec import Codec
from motia_runtime.http.app import build_app
from motia_runtime.http.guard import Hosts, Switch
from motia_runtime.http.server import Limits, Server, serve
from motia_spec.model import ApiStep, Handler, Project, Schema
from motia_spec.model import Server as ServerSpec


class Types:
    """Codecs without generated types: the schema itself judges every value."""

    def codec(self, schema: Schema | None) -> Codec:
        return Codec("value") if schema is None else Codec(schema.id, schema=schema.value, gaps=("all",))


class Calls:
    """An ApiRunner: calls the function of the step's name."""

    def __init__(self, functions: dict[str, Callable[[Any], Any]]) -> None:
        self.functions = functions
        self.requests: list[Any] = []
        self.traces: list[Any] = []

    async def run_api(
        self, step: ApiStep, request: Any, trace: Any, finish: Callable[[Any], Any], stream_to: Any
    ) -> Any:
        self.requests.append(request)
        self.traces.append(trace)
        result = self.functions[step.name](request)
        if isinstance(result, Awaitable):
            result = await result
        return finish(result)


class Site:
    """A running server and ways to talk to it."""

    def __init__(self, server: Server, switch: Switch, runner: Calls, client: httpx.AsyncClient) -> None:
        self.server = server
        self.switch = switch
        self.runner = runner
        self.client = client

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def raw(self, data: bytes, *, deadline: float = 5.0, end: bool = False) -> bytes:
        """Send, then read until the server closes. `end`: say that nothing more will be sent."""
        reader, writer = await self.connect()

        async def send() -> None:
            with suppress(ConnectionError):  # the server may have heard enough; what it said is read below
                await writer.drain()

        sending = None
        try:
            async with asyncio.timeout(deadline):
                writer.write(data)
                if end:
                    writer.write_eof()
                sending = asyncio.create_task(send())
                return await reader.read(-1)
        finally:
            if sending is not None:
                sending.cancel()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def step(name: str, path: str, *methods: str, **options: Any) -> ApiStep:
    def schema(site: str, value: Any) -> Schema:
        return Schema(id=f"step:{name}:{site}", value=value)

    for site in ("body", "query"):
        if site in options:
            options[site] = schema(site, options[site])
    responses = {status: schema(f"response:{status}", value) for status, value in options.pop("responses", {}).items()}
    return ApiStep(
        name=name,
        handler=Handler(path="steps/x.py"),
        methods=methods or ("GET",),
        path=path,
        responses=responses,
        **options,
    )


def project(*steps: ApiStep, server: ServerSpec | None = None, defs: Any = None) -> Project:
    return Project(
        root=Path("/nowhere"),
        files=("motia.yaml",),
        name="test",
        steps={s.name: s for s in steps},
        server=server or ServerSpec(),
        defs=defs or {},
    )


def build(pairs: list[tuple[ApiStep, Callable[[Any], Any]]], **options: Any) -> Any:
    runner = Calls({s.name: function for s, function in pairs})
    spec = project(*(s for s, _ in pairs), server=options.pop("server", None), defs=options.pop("defs", None))
    app = build_app(spec, Types(), runner, ready=options.pop("ready", lambda: True), **options)
    return spec, runner, app


@asynccontextmanager
async def open_site(
    steps: list[tuple[ApiStep, Callable[[Any], Any]]],
    *,
    limits: Limits | None = None,
    hosts: Hosts | None = None,
    **options: Any,
) -> AsyncIterator[Site]:
    spec, runner, app = build(steps, **options)
    switch = Switch(app, hosts or Hosts(spec.server.host, spec.server.hosts))
    server = await serve(switch, host="127.0.0.1", port=0, limits=limits)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            yield Site(server, switch, runner, client)
    finally:
        await server.stop(0)


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()  # the loop that `motia dev` and `motia start` run on


@pytest.fixture
async def site() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """`await site([(step, function), ...], ...)` starts a server that ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*steps: tuple[ApiStep, Callable[[Any], Any]], **options: Any) -> Site:
            return await stack.enter_async_context(open_site(list(steps), **options))

        yield start


@pytest.fixture(name="step")
def step_fixture() -> Callable[..., ApiStep]:
    return step


@pytest.fixture(name="build")
def build_fixture() -> Callable[..., Any]:
    return build
