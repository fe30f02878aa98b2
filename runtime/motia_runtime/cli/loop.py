"""How a command that runs until it is told to stop runs: its event loop, and the signals that end it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
SAME_WORD = (
    1.0  # seconds within which a repeated signal counts as the same: a process group gets one from several sides
)

_log = logging.getLogger("motia.app")


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on uvloop where there is one: 10 to 40 % more throughput."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def until_told(last: Callable[[], object] = lambda: None) -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second signal calls `last` and ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = 0.0

    def tell(number: signal.Signals) -> None:
        nonlocal first
        if not told.is_set():
            first = loop.time()
        elif loop.time() - first > SAME_WORD:
            _log.warning("stopped without waiting for what still runs")
            last()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        told.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, tell, number)
    try:
        yield told
    finally:
        for number in signals:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
