"""Waiting for something to be so, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP = 0.01  # seconds between looks


def wait_for(check: Callable[[], object], what: str = "it did not happen", seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(STEP)
