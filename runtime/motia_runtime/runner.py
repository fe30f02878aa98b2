"""The seam between HTTP and the engine: HTTP decodes and encodes, the engine runs and commits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from motia_runtime.handler import Request
from motia_spec.model import ApiStep


class Answer(msgspec.Struct, frozen=True):
    """A response ready to be sent: validated, encoded."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]  # names in lower case; content-type included, content-length not
    body: bytes
    trace_id: str = ""  # of the run that made it, when that is another request's


class TraceContext(msgspec.Struct, frozen=True):
    """Where a run hangs in its trace (W3C Trace Context)."""

    trace_id: str  # 32 hex digits
    parent_id: str = ""  # 16 hex digits of the caller's span; empty for a root
    replay_of: str = ""  # the trace whose event this one repeats


class ApiRunner(Protocol):
    def run_api(
        self, step: ApiStep, request: Request, trace: TraceContext, finish: Callable[[Any], Answer]
    ) -> Coroutine[Any, Any, Answer]:
        """Run the step's middleware and handler, `finish` its result, commit its effects, return the answer: in this order, so that
        an answer that can't be encoded commits nothing and a 2xx is durable. Raises what the handler or `finish` raised (`Problem`,
        `ValidationFailed` for a body that does not fit its response schema, anything else), `TimeoutError` past the step's timeout,
        `LogUnavailable` when the broker did not confirm the effects: part of them may be stored then. After any other error nothing is."""
        ...
