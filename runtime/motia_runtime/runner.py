"""The seam between HTTP and the engine: HTTP decodes and encodes, the engine runs and commits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
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
    tracestate: str = ""  # what other tracing systems have to say of this trace, as it came


def text_of(value: bytes) -> str:
    """A header's value as UTF-8, or Latin-1 where it is not."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def is_json(media: str) -> bool:
    """Whether a media type, in lower case and without parameters, is JSON."""
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


class Streamed:
    """An answer in pieces: HTTP knows how each becomes bytes, the engine when it is made and sent. Lives as long as one try of the run."""

    def __init__(self, pieces: AsyncGenerator[Any, Any] | Generator[Any, Any, Any]) -> None:
        self.pieces = pieces
        self.head: Answer | None = None  # status and headers, known once `encode` has given bytes

    def encode(self, piece: Any) -> bytes | None:
        """What goes to the client. None: nothing yet, not even the head. Raises TypeError, ValueError for what can't be sent."""
        raise NotImplementedError

    def whole(self) -> Answer:
        """The answer when the pieces are at their end, and not one gave bytes."""
        raise NotImplementedError


class Recipient(Protocol):
    """Who gets a streamed answer. Lives from its first piece, or the wait for it, to its end."""

    async def send(self, head: Answer, data: bytes) -> None:
        """The next bytes, after the head if they are the first. Waits while the client reads too slowly."""
        ...

    async def close(self) -> None:
        """All is sent."""
        ...

    async def until_gone(self) -> None:
        """Returns once nobody listens any more."""
        ...


class Gone(Exception):  # reads as the fact it states
    """The client went away before the end of a streamed answer: its run was ended, and nothing of it committed but what it had flushed."""


class ApiRunner(Protocol):
    def run_api(
        self,
        step: ApiStep,
        request: Request,
        trace: TraceContext,
        finish: Callable[[Any], Answer | Streamed],
        stream_to: Callable[[], Recipient] | None = None,
    ) -> Coroutine[Any, Any, Answer | None]:
        """Run the step's middleware and handler, `finish` its result, commit its effects, return the answer: in this order, so that
        an answer that can't be encoded commits nothing and a 2xx is durable. Raises what the handler or `finish` raised (`Problem`,
        `ValidationFailed` for a body that does not fit its response schema, anything else), `TimeoutError` past the step's timeout,
        `LogUnavailable` when the broker did not confirm the effects: part of them may be stored then. After any other error nothing is.

        A streamed answer goes to the recipient that `stream_to` makes, piece by piece; its effects are committed before its end is sent, and None is returned.
        Raises `Gone` besides. Any error may come after part of it was sent. Without `stream_to` it is a TypeError."""
        ...
