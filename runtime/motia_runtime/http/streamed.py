"""An answer in pieces as HTTP has it: what a handler yields as bytes, and the way of those to the client.

The status and the headers are those of a `Response` that is yielded first, else the step's own status and the type of the first piece: bytes are
`application/octet-stream`, str `text/plain`, a `ServerSentEvent` makes it `text/event-stream`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.handler import Response, ServerSentEvent
from motia_runtime.http.headers import BINARY, TEXT, checked
from motia_runtime.http.problems import Header
from motia_runtime.runner import Answer, Gone, Streamed

BODILESS = frozenset({204, 205, 304})
EVENTS: tuple[Header, ...] = ((b"content-type", b"text/event-stream; charset=utf-8"),)
FRESH: tuple[Header, ...] = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)  # nginx passes events on at once

_LINE = re.compile(r"\r\n|\r|\n")
_encode = msgspec.json.Encoder().encode


class Pieces(Streamed):
    """What one handler yields. `status` and `headers` are those that a middleware or a `Response` around the generator gave it."""

    def __init__(
        self,
        step: str,
        pieces: AsyncGenerator[Any, Any] | Generator[Any, Any, Any],
        codecs: Mapping[int, Codec],
        status: Any,
        headers: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(pieces)
        self._step = step
        self._codecs = codecs
        self._codec: Codec | None = None
        self._status = status
        self._around = checked(headers) if headers else ()
        self._own: tuple[Header, ...] = ()
        self._opened = False  # a Response was yielded, which is only for the first piece
        self._events = False

    def encode(self, piece: Any) -> bytes | None:
        """As `Streamed.encode`. The data of an event is validated when the spec has a schema for the status."""
        if isinstance(piece, Response):
            return self._open(piece)
        if self.head is None:
            self._begin(piece)
        if isinstance(piece, ServerSentEvent):
            if not self._events:
                raise TypeError(f"step {self._step} yields a ServerSentEvent in an answer that is no text/event-stream")
            return encode_event(piece, self._codec)
        if type(piece) is str:
            return piece.encode("utf-8")
        return bytes(piece)

    def whole(self) -> Answer:
        """As `Streamed.whole`: 204 for a handler that yields nothing at all."""
        return Answer(self._checked_status() if self._opened else 204, self._headers(()), b"")

    def _open(self, given: Response[Any]) -> bytes | None:
        if self._opened or self.head is not None:
            raise ValueError(
                f"step {self._step} yields a Response after the first piece; status and headers are sent by then"
            )
        if given.body is not None:
            raise ValueError(f"step {self._step} yields a Response with a body; yield the body after it")
        self._opened = True
        self._status = given.status
        self._own = checked(given.headers) if given.headers else ()
        self._checked_status()
        if _type_of(self._headers(())) is None:
            return None  # the first piece tells of what type it is
        self._settle(())
        return b""

    def _begin(self, first: Any) -> None:
        if isinstance(first, ServerSentEvent):
            standard = EVENTS
        elif type(first) is str:
            standard = TEXT
        elif isinstance(first, bytes | bytearray | memoryview):
            standard = BINARY
        else:
            raise TypeError(
                f"step {self._step} yields a {type(first).__name__}; yield bytes, str or ServerSentEvent (whose data may be anything)"
            )
        self._checked_status()
        self._settle(standard)

    def _settle(self, standard: tuple[Header, ...]) -> None:
        headers = self._headers(standard)
        self._events = (_type_of(headers) or b"").partition(b";")[0].strip().lower() == b"text/event-stream"
        if self._events:
            headers = _with(headers, FRESH)
        self._codec = self._codecs.get(self._status)
        self.head = Answer(self._status, headers, b"")

    def _headers(self, standard: tuple[Header, ...]) -> tuple[Header, ...]:
        """Those of the handler's own Response give way to those around it, and the standard ones to both."""
        return _with(_with(self._around, self._own), standard)

    def _checked_status(self) -> int:
        status = self._status
        if type(status) is not int or not 200 <= status <= 599 or status in BODILESS:
            raise ValueError(
                f"step {self._step} streams with status {status!r}; use an int from 200 to 599 whose answers have a body"
            )
        return status


def _with(headers: tuple[Header, ...], more: tuple[Header, ...]) -> tuple[Header, ...]:
    """And those of `more` whose names are not there yet."""
    names = {name for name, _ in headers}
    return headers + tuple(header for header in more if header[0] not in names)


def _type_of(headers: tuple[Header, ...]) -> bytes | None:
    return next((value for name, value in headers if name == b"content-type"), None)


def encode_event(event: ServerSentEvent, codec: Codec | None = None) -> bytes:
    """The lines of one event, the empty one that ends it included. `codec`: of data that is no str. Raises as it does."""
    lines = [f": {line}" for line in _LINE.split(event.comment)] if event.comment else []
    if event.event:
        lines.append(f"event: {event.event}")
    if event.id:
        lines.append(f"id: {event.id}")
    if event.retry is not None:
        lines.append(f"retry: {round(event.retry * 1000)}")
    data = event.data
    if data is not None:
        encoded = data if type(data) is str else (_encode(data) if codec is None else codec.encode(data)).decode()
        lines += [f"data: {line}" for line in _LINE.split(encoded)]
    return ("\n".join(lines) + "\n\n").encode("utf-8")


class Outlet:
    """A client's end of a streamed answer (`runner.Recipient`), by ASGI messages. `extra`: further headers. `head_only`: the answer to a HEAD request,
    whose client is as good as gone once it has the head."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        extra: tuple[Header, ...],
        head_only: bool,
    ) -> None:
        self._send = send
        self._receive = receive
        self._extra = extra
        self._head_only = head_only
        self._begun = False

    async def send(self, head: Answer, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            start = {"type": "http.response.start", "status": head.status, "headers": [*head.headers, *self._extra]}
            await self._send(start)
            if self._head_only:
                await self._send({"type": "http.response.body", "body": b"", "more_body": True})
                await self.close()
                raise Gone
        elif not data:
            return
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
