"""Waiting for something to be so, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sized

FIRST, SHARE, LONGEST = (
    0.01,
    0.1,
    1.0,
)  # seconds between looks, and their share of the time that has passed: a look may be a process


def wait_for(check: Callable[[], object], what: str = "it did not happen", seconds: float = 40.0) -> None:
    began = time.monotonic()
    deadline = began + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(min(max(FIRST, SHARE * (time.monotonic() - began)), LONGEST))


async def until(check: Callable[[], object], what: str = "it did not happen", seconds: float = 20.0) -> None:
    """As `wait_for`, in an event loop."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        await asyncio.sleep(FIRST)


async def quiet(most: int) -> None:
    """Give the loop up to `most` turns, fewer when nobody has had anything to do for three in a row: nobody will, until a clock goes on."""
    waiting: Sized = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    idle = 0
    for _ in range(most):
        await asyncio.sleep(0)
        idle = 0 if waiting else idle + 1
        if idle == 3:
            break
