"""What a running app has on its broker, read from beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from motia_runtime.broker import connect
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
        return [record for pattern in patterns for record in await log.scan(pattern, limit=10_000)]

    return with_log(folder, scan)
