"""Apps whose handlers run in workers, over a real nats-server; their log is in memory, so that a test can turn the clock."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.messenger import NatsMessenger
from support.nodejs import needs_node
from support.workers import Remote, remote_app

MakeRemote = Callable[..., AbstractAsyncContextManager[Remote]]
PREFIXES = itertools.count(1)


@pytest.fixture
def make_remote(tmp_path: Path, nats_server: EmbeddedServer) -> MakeRemote:
    """`async with make_remote(SPEC, work=SOURCE) as remote`: its engine imports no handler; `await remote.worker()` starts a worker in this process."""

    @asynccontextmanager
    async def make(spec: str, files: dict[str, str] | None = None, **handlers: str) -> AsyncIterator[Remote]:
        prefix = f"r{next(PREFIXES)}"
        (tmp_path / "motia.yaml").write_text(textwrap.dedent(spec) + f"\nnats: {{prefix: {prefix}}}\n")
        (tmp_path / "steps").mkdir(exist_ok=True)
        for name, source in handlers.items():
            (tmp_path / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
        for name, source in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(textwrap.dedent(source))
        async with AsyncExitStack() as stack:
            links: list[Any] = []

            async def messenger() -> NatsMessenger:
                link = await connect(nats_server.settings, name="test", jetstream=False)
                links.append(link)
                stack.push_async_callback(link.close)
                return NatsMessenger(link)

            yield await stack.enter_async_context(remote_app(tmp_path, messenger))

    return make


@pytest.fixture
def node_environ(nats_server: EmbeddedServer) -> dict[str, str]:
    """How a Node worker reaches the broker of the tests; skips where there is no Node."""
    needs_node()
    return nats_server.settings.environ()
