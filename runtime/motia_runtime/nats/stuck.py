"""A nats-server whose disk was full takes nothing more, also when there is room again, until it is started anew: publishes are not answered. Only its
log tells."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

LOOK = 1.0  # seconds between looks
ROOM = 8 << 20  # bytes free that a new start is worth
SAYS = b"no space left on device"


def size_of(log: Path) -> int:
    """In bytes; 0 when there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


async def stuck(log: Path, store: Path, since: int) -> None:
    """Return when the server has found its disk full, and there is room again. `since`: bytes of the log that an earlier server wrote."""
    tail = b""
    while SAYS not in tail:
        await asyncio.sleep(LOOK)
        size = size_of(log)
        if size < since:  # it has begun a new file
            since = 0
        if size > since:
            tail = tail[-len(SAYS) :] + read(log, since)
            since = size
    while shutil.disk_usage(store).free < ROOM:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(LOOK)


def read(log: Path, since: int) -> bytes:
    """What it says from there on; nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            return file.read()
    except FileNotFoundError:
        return b""
