"""Middleware of every endpoint: says in a header how long the handler took."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from motia_runtime.context import Context
from motia_runtime.handler import Request, Response


async def measure(request: Request, ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
    began = perf_counter()
    answer = await proceed()
    if isinstance(answer, Response):
        answer.headers = {
            **(answer.headers or {}),
            "server-timing": f"handler;dur={(perf_counter() - began) * 1000:.2f}",
        }
    return answer
