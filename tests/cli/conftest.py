from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up the process's logging; tests share one process."""
    root, ours = logging.getLogger(), logging.getLogger("motia")
    handlers, level, our_level, raises = root.handlers[:], root.level, ours.level, logging.raiseExceptions
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.raiseExceptions = raises
