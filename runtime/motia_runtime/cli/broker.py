"""What commands that talk to the broker share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motia_runtime.ports import Log
    from motia_runtime.types import Types
    from motia_spec.model import Project


@asynccontextmanager
async def open_log(project: Project) -> AsyncIterator[Log]:
    """The app's log, quietly: what goes wrong is the command's to say."""
    from motia_runtime.logs import setup

    setup(project, json=False, level=logging.ERROR)

    from motia_runtime.broker import connect

    async with connect(project) as log:
        yield log


def types(project: Project) -> Types:
    from motia_generator import generate
    from motia_runtime.types import load_types

    return load_types(project, generate)
