"""A WebSocket on a connection: ASGI's `websocket` (receive and send) for whoever serves it, and direct writing for what is sent to many.

Bounded: a message has `Limits.message_bytes`, what the application has not asked for is not read from the network, who does not read is cut off
after `Limits.write_timeout`, who is not there any more after three unanswered pings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motia_runtime.http import rfc6455
from motia_runtime.http.problems import Header, problem
from motia_runtime.http.shared import render
from motia_runtime.runner import Answer

if TYPE_CHECKING:
    from motia_runtime.http.protocol import Connection

SOCKET = "motia.socket"  # key of the scope: this, for who writes frames itself
UNREAD = 64 << 10  # bytes of messages that wait for the application before the network is no longer read
PINGS = 3  # unanswered
CONNECTING, OPEN, CLOSING, CLOSED = range(4)
ABNORMAL = 1006  # the code of a connection that broke

log = logging.getLogger("motia.http")


class Socket:
    """Lives from the upgrade until its application task ends."""

    def __init__(self, connection: Connection, scope: dict[str, Any], key: bytes, offered: list[str]) -> None:
        self.task: asyncio.Task[None] | None = None
        self.on_drained: Callable[[], None] | None = None  # called when the client has read
        self.on_lost: Callable[[], object] | None = None  # called when it has gone, for who waits for something else
        self.state = CONNECTING
        self._connection = connection
        self._accept = key
        self._decoder = rfc6455.Decoder(connection.limits.message_bytes)
        self._waiter: asyncio.Future[None] | None = None
        self._asked = False  # whether the application has been told of the connection
        self._code = ABNORMAL
        self._deaf = False  # what the client sends is thrown away
        self._denial: tuple[int, tuple[Header, ...]] | None = None
        self._denied = b""
        self._heard = connection.loop.time()
        self._pinged = self._heard
        self._unanswered = 0
        self.scope = scope | {
            "type": "websocket",
            "scheme": "wss" if connection.scheme == "https" else "ws",
            "subprotocols": offered,
            "extensions": {"websocket.http.response": {}},
            SOCKET: self,
        }

    async def run(self, app: Any) -> None:
        connection = self._connection
        try:
            await app(self.scope, self.receive, self.send)
            if self.state == CONNECTING:
                self._refuse(problem(403, "There is no WebSocket at this address."))
            else:
                self.close(1000, "")
        except BaseException as error:
            if not isinstance(error, Exception):
                if self.state in (CONNECTING, OPEN):
                    connection.abort()
                raise
            log.error("unhandled error on the WebSocket of %s", self.scope["path"], exc_info=error)
            if self.state == CONNECTING:
                self._refuse(problem(500, "The request could not be answered."))
            else:
                self.close(1011, "internal error")
        finally:
            connection.tasks.discard(self.task)
            self.scope.clear()  # reference cycles otherwise, and the garbage collector comes by too seldom for thousands of them
            self.on_drained = self.on_lost = self.task = None

    # -- what the connection calls --

    def feed(self, data: bytes) -> None:
        self._heard = self._connection.loop.time()
        self._unanswered = 0
        if self.state == CLOSED or self._deaf:
            return
        self._decoder.feed(data)
        if self.state == CLOSING:
            self._until_closed()
            return
        if self._decoder.buffered > UNREAD:
            self._connection.flow.pause_reading()
        self._wake()

    def lost(self) -> None:
        self.state = CLOSED
        self._wake()
        self.drained()
        if self.on_lost is not None:
            self.on_lost()

    def drained(self) -> None:
        if self.on_drained is not None:
            self.on_drained()

    def check(self, now: float) -> None:
        """Called now and then: is anybody there?"""
        if self.state != OPEN or self._connection.flow.read_paused:
            self._heard = now
        elif now - max(self._heard, self._pinged) <= self._connection.limits.ping_interval:
            return
        elif self._unanswered == PINGS:
            self._connection.abort()
        else:
            self._unanswered += 1
            self._pinged = now
            self._connection.write(rfc6455.frame(rfc6455.PING, b""))

    # -- for who writes frames itself --

    def write(self, framed: bytes) -> bool:
        """Send a whole frame. False: not now, the client has to read first; `on_drained` is called when it has."""
        if self.state != OPEN:
            return True  # nobody is there to miss it
        if self._connection.flow.write_paused:
            return False
        self._connection.write(framed)
        return True

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and close when the client has answered, or has not for `Limits.linger`."""
        if self.state == OPEN:
            self.state = CLOSING
            self._code = code
            connection = self._connection
            if connection.flow.write_paused:
                connection.hang_up()  # what it has not read comes first, if it ever reads
            else:
                connection.write(rfc6455.close_frame(code, reason))
                connection.linger()
            connection.flow.resume_reading()
            self._wake()

    # -- ASGI --

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        while self.state in (CONNECTING, OPEN):
            message = self._next() if self.state == OPEN else None
            if message is not None:
                return message
            if self.state == OPEN and self._decoder.buffered <= UNREAD:
                self._connection.flow.resume_reading()
            self._waiter = self._connection.loop.create_future()
            await self._waiter
        return {"type": "websocket.disconnect", "code": self._code, "reason": ""}

    def _next(self) -> dict[str, Any] | None:
        try:
            while (found := self._decoder.next()) is not None:
                kind, payload = found
                if kind == rfc6455.TEXT:
                    return {"type": "websocket.receive", "text": payload.decode()}
                if kind == rfc6455.BINARY:
                    return {"type": "websocket.receive", "bytes": payload}
                if kind == rfc6455.PING:
                    self.write(rfc6455.frame(rfc6455.PONG, payload))
                elif kind == rfc6455.CLOSE:
                    code = rfc6455.closing(payload)
                    self._code = code
                    self.state = CLOSED
                    self._connection.write(rfc6455.close_frame(1000 if code == 1005 else code, ""))
                    self._connection.hang_up()
                    return None
        except rfc6455.Violation as violation:
            self._deaf = True
            self.close(violation.code, violation.reason)
        return None

    def _until_closed(self) -> None:
        """Wait for the client's own goodbye; for `Limits.linger` only, when it makes no sense any more."""
        try:
            while (found := self._decoder.next()) is not None:
                if found[0] == rfc6455.CLOSE:
                    self.state = CLOSED
                    self._connection.hang_up()
                    return
        except rfc6455.Violation:
            self._deaf = True

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if self.state == CONNECTING:
            self._answer(kind, message)
        elif kind == "websocket.send":
            text = message.get("text")
            payload = message["bytes"] if text is None else text.encode()
            opcode = rfc6455.BINARY if text is None else rfc6455.TEXT
            framed = rfc6455.frame(opcode, payload)
            while not self.write(framed):
                await self._connection.flow.drain()
        elif kind == "websocket.close":
            self.close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"{kind!r} is not a message of an open WebSocket")

    def _answer(self, kind: str, message: Any) -> None:
        if kind == "websocket.accept":
            self._open(message.get("subprotocol"), tuple(message.get("headers", ())))
        elif kind == "websocket.close":
            self._refuse(problem(403, "This WebSocket is refused."))
        elif kind == "websocket.http.response.start":
            self._denial = (message["status"], tuple(message.get("headers", ())))
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denied += message.get("body", b"")
            if not message.get("more_body", False):
                self._refuse(Answer(*self._denial, self._denied))
        else:
            raise RuntimeError(f"{kind!r} is not an answer to a WebSocket handshake")

    def _open(self, subprotocol: str | None, headers: tuple[Header, ...]) -> None:
        if subprotocol is not None:
            headers += ((b"sec-websocket-protocol", subprotocol.encode("ascii")),)
        head = self._connection.state.head(101) + render(headers)
        self._connection.write(
            b"%bupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n\r\n" % (head, self._accept)
        )
        self.state = OPEN
        self._connection.opened()

    def _refuse(self, answer: Answer) -> None:
        self.state = CLOSED
        self._connection.end_with(answer)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
