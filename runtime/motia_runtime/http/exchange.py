"""A request to a step and the way to answer it, as `endpoint` sees them: from our own server (`cycle.Cycle`), or by ASGI from any other."""

from __future__ import annotations

from typing import Any, Protocol

from motia_runtime.http.guard import Receive, Scope, Send, send_answer
from motia_runtime.http.problems import Header
from motia_runtime.http.streamed import Outlet
from motia_runtime.runner import Answer

# headers that a step's endpoint reads itself; the others are for handlers
NOTED = frozenset(
    {
        b"traceparent",
        b"tracestate",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"origin",
    }
)


def note(noted: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Keep a header; a repeated one is joined (RFC 9110, 5.3)."""
    noted[name] = noted[name] + b", " + value if name in noted else value


def pairs(lines: bytes) -> tuple[Header, ...]:
    """Header lines, as ASGI has them."""
    return tuple((name, value) for name, _, value in (line.partition(b": ") for line in lines.splitlines()))


class Exchange(Protocol):
    """Lives as long as the task that serves it."""

    method: str
    path: str  # decoded
    query: bytes
    headers: list[Header]
    noted: dict[bytes, bytes]  # those of `NOTED`
    lines: bytes  # further headers of a streamed answer, each with its line end; set before the step runs

    @property
    def started(self) -> bool:
        """Something of the response was sent."""
        ...

    @property
    def client(self) -> str:
        """The address at the other end of the connection; empty when there is none."""
        ...

    def body_at_hand(self, limit: int) -> bytes | None:
        """The body, when all of it is there and no larger than that many bytes; else it is to be received."""
        ...

    async def receive(self) -> dict[str, Any]:
        """The next piece of the body, as an ASGI message."""
        ...

    def reply_now(self, answer: Answer, lines: bytes) -> bool:
        """Send the whole response; `lines` are further headers, each with its line end. False: not now, use `reply`."""
        ...

    async def reply(self, answer: Answer, lines: bytes) -> None: ...

    def outlet(self) -> Outlet:
        """Where a streamed answer goes."""
        ...

    def cut(self) -> None:
        """End the response without its end, so that the client sees that it is not whole."""
        ...

    def failed(self, error: BaseException) -> bool:
        """See to what nobody else has caught. False: it is to be raised on."""
        ...

    def end(self) -> None:
        """Called last."""
        ...


class Asgi:
    """An exchange by ASGI messages."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.lines = b""
        self.started = False
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: list[Header] = scope["headers"]
        self.noted: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in NOTED:
                note(self.noted, name, value)

    @property
    def client(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    def body_at_hand(self, limit: int) -> None:
        return None

    async def receive(self) -> dict[str, Any]:
        return await self._receive()

    def reply_now(self, answer: Answer, lines: bytes) -> bool:
        return False

    async def reply(self, answer: Answer, lines: bytes) -> None:
        await send_answer(self._scope, self._send, answer, pairs(lines))

    def outlet(self) -> Outlet:
        return Outlet(self._send_piece, self._receive, pairs(self.lines), self.method == "HEAD")

    async def _send_piece(self, message: dict[str, Any]) -> None:
        self.started = True
        await self._send(message)

    def cut(self) -> None:
        """By returning: a server closes the connection of a response that has no end."""

    def failed(self, error: BaseException) -> bool:
        return False

    def end(self) -> None:
        pass
