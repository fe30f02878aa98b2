"""A running app's broker, used from beside the app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import nats

from motia_runtime.broker import connect
from motia_runtime.nats.embedded import find_running
from motia_runtime.ports import Log, Record
from motia_spec import compile_project

T = TypeVar("T")


def with_log(folder: Path, use: Callable[[Log], Awaitable[T]]) -> T:
    """What `use` gives for the log of the app in a folder."""

    async def run() -> T:
        async with connect(compile_project(folder).require()) as log:
            return await use(log)

    return asyncio.run(run())


def records(folder: Path, *patterns: str) -> list[Record]:
    """Records by pattern, newest first within each."""

    async def scan(log: Log) -> list[Record]:
        return [record for pattern in patterns for record in await log.scan(pattern, limit=1_000_000)]

    return with_log(folder, scan)


def publish_straight(folder: Path, topic: str, data: bytes, headers: dict[str, str] | None = None) -> int:
    """Publish to an event's subject with a plain NATS client, past all of ours. The number under which it is stored; raises what the client or
    the broker refuses it with."""

    async def publish() -> int:
        running = find_running(folder)
        assert running is not None, "the app's broker does not run"
        prefix = compile_project(folder).require().nats.prefix
        client = await nats.connect(running.url, token=running.token, allow_reconnect=False)
        try:
            stored = await client.jetstream().publish(f"{prefix}.ev.{topic}", data, headers=headers)
        finally:
            await client.close()
        return stored.seq

    return asyncio.run(publish())
