"""One request and its response: the ASGI side of a connection.

uvicorn's own cycle makes an Event, a deque and a dozen header checks for each request and writes head and body apart. This one
makes a future only when a handler really waits for its body, and writes head and body at once: ASGI lets a server hold the
head until the first body message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motia_runtime.http.exchange import pairs
from motia_runtime.http.guard import DIRECT
from motia_runtime.http.streamed import Outlet
from motia_runtime.runner import Answer

if TYPE_CHECKING:
    from motia_runtime.http.protocol import Connection

BUFFERED_BODY = 64 * 1024  # bytes of a request's body held before the socket is no longer read
BODILESS = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST = b"connection: close\r\n\r\n"

log = logging.getLogger("motia.http")


class Cycle:
    """Lives from the end of a request's head until its application task ends."""

    __slots__ = (
        "_buffered",
        "_chunked",
        "_chunks",
        "_delivered",
        "_expects_continue",
        "_head",
        "_remaining",
        "_scope",
        "_waiter",
        "complete",
        "connection",
        "disconnected",
        "headers",
        "host",
        "keep_alive",
        "leave",
        "lines",
        "method",
        "more_body",
        "noted",
        "path",
        "query",
        "raw_path",
        "started",
        "task",
        "version",
    )

    def __init__(
        self,
        connection: Connection,
        method: str,
        version: str,
        path: str,
        raw_path: bytes,
        query: bytes,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.connection = connection
        self.method = method
        self.version = version  # "1.1" or "1.0"
        self.path = path
        self.raw_path = raw_path
        self.query = query
        self.headers = connection.headers
        self.noted = connection.noted
        self.host: bytes = connection.host or b""
        self.leave: Callable[[], None] | None = None  # to be called at the end
        self.lines = b""
        self._scope: dict[str, Any] | None = None
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self.disconnected = False  # nobody listens any more: gone, or already told what is wrong
        self.more_body = True  # more of the request's body may come
        self.started = False  # something of the response was written
        self.complete = False  # all of the response was written
        self._expects_continue = expects_continue
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._delivered = False  # the application has seen the end of the body
        self._waiter: asyncio.Future[None] | None = None
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._chunked = False
        self._remaining: int | None = 0  # bytes of the response's body still to come; None: until the connection closes

    @property
    def scope(self) -> dict[str, Any]:
        """As ASGI has the request."""
        found = self._scope
        if found is None:
            connection = self.connection
            found = self._scope = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": self.version,
                "server": connection.server,
                "client": connection.client,
                "scheme": connection.scheme,
                "root_path": "",
                "method": self.method,
                "path": self.path,
                "raw_path": self.raw_path,
                "query_string": self.query,
                "headers": self.headers,
                "state": {},
            }
        return found

    @property
    def client(self) -> str:
        client = self.connection.client
        return client[0] if client else ""

    # What the connection calls

    def feed(self, data: bytes) -> bool:
        """Take a piece of the body. True: enough for now, stop reading the socket."""
        if self.complete or self.disconnected:
            return False
        self._chunks.append(data)
        self._buffered += len(data)
        self.wake()
        return self._buffered > BUFFERED_BODY

    def end_body(self) -> None:
        self.more_body = False
        self.wake()

    def disconnect(self) -> None:
        self.disconnected = True
        self.wake()

    def wake(self) -> None:
        """Let a waiting `receive` look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def run(self, app: Any) -> None:
        """Run the application to its end. Whatever it does wrong ends in a 500 or, when too late for that, in a closed connection."""
        scope = self.scope
        scope[DIRECT] = self.answer
        try:
            await app(scope, self.receive, self.send)
            if not self.complete and not self.disconnected:
                log.error("the application returned without answering %s", self.path)
                self._fail()
        except BaseException as error:
            if not self.failed(error):
                raise
        finally:
            scope.pop(DIRECT, None)  # a reference cycle otherwise
            self.end()

    # What serves it calls, besides `receive`

    def failed(self, error: BaseException) -> bool:
        """See to what nobody else has caught. False: it is to be raised on."""
        if isinstance(error, Exception):
            log.error("unhandled error while answering %s", self.path, exc_info=error)
            self._fail()
            return True
        self.connection.abort()
        return False

    def end(self) -> None:
        """The task is at its end."""
        self.connection.tasks.discard(self.task)
        if self.leave is not None:
            self.leave()

    def body_at_hand(self, limit: int) -> bytes | None:
        """The body, when all of it is there and no larger than that many bytes; else it is to be received."""
        if self.more_body or self.disconnected or self._buffered > limit:
            return None
        chunks, self._chunks = self._chunks, []
        self._buffered = 0
        self._delivered = True
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def reply(self, answer: Answer, lines: bytes) -> None:
        """The whole response, when a client is slow after it has read earlier ones."""
        while not self.reply_now(answer, lines):
            await self.connection.flow.drain()

    def reply_now(self, answer: Answer, lines: bytes) -> bool:
        """The whole response; `lines` are further headers. False: not now, the client has to read first."""
        if self.disconnected:
            return True
        connection = self.connection
        if connection.flow.write_paused:
            return False
        status, body = answer.status, answer.body
        head = connection.state.answer_head(status, answer.headers)
        self.started = True
        if self.more_body:
            self.keep_alive = False  # what is left of the request is not read
        if status in BODILESS:
            data = head + lines + (b"\r\n" if self.keep_alive else LAST)
        elif not self.keep_alive or self.method == "HEAD":
            end = b"\r\n" if self.keep_alive else LAST
            sent = b"" if self.method == "HEAD" else body
            data = b"%b%bcontent-length: %d\r\n%b%b" % (head, lines, len(body), end, sent)
        else:
            data = b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, len(body), body)
        connection.transport.write(data)
        self.complete = True
        connection.answered(self)
        return True

    def outlet(self) -> Outlet:
        return Outlet(self.send, self.receive, pairs(self.lines), self.method == "HEAD")

    def cut(self) -> None:
        if not self.complete and not self.disconnected:
            self.connection.abort()

    def _fail(self) -> None:
        if self.started or self.complete or self.disconnected:
            self.connection.abort()
        else:
            self.connection.refuse(500, "The request could not be answered.", cycle=self)

    # ASGI

    async def receive(self) -> dict[str, Any]:
        if self._expects_continue and not self.started and not self.disconnected:
            self._expects_continue = False
            if self.more_body and not self._chunks:
                self.connection.write(CONTINUE)
        while not self.disconnected and not self.complete:
            if self._chunks or (not self.more_body and not self._delivered):
                chunks = self._chunks
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._chunks = []
                self._buffered = 0
                self._delivered = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            if self._delivered and self.connection.ended:
                break  # for streams that wait for it: whoever sends no more most likely does not listen either
            if self.more_body:
                self.connection.resume_reading()
            self._waiter = self.connection.loop.create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        connection = self.connection
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body":
            if (self._head is None and not self.started) or self.complete:
                raise RuntimeError(f"{kind} sent out of turn")
            self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start":
            if self._head is not None or self.started:
                raise RuntimeError(f"{kind} sent twice")
            self._head = (message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"{kind!r} is not a message of an HTTP response")

    def answer(self, status: int, headers: Any, body: bytes) -> bool:
        """A whole response at once, as two messages to `send` would have it. False: not now, use `send`."""
        if self.disconnected:
            return True
        if self._head is not None or self.connection.flow.write_paused:
            return False
        self._head = (status, headers)
        self._send_body(body, False)
        return True

    def _send_body(self, body: bytes, more: bool) -> None:
        parts: list[bytes] = []
        if not self.started:
            parts.append(self._render_head(len(body), more))
        if self.method == "HEAD":
            pass
        elif self._chunked:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                parts.append(b"0\r\n\r\n")
        elif self._remaining is None:
            parts.append(body)
        elif len(body) > self._remaining or (not more and len(body) != self._remaining):
            raise RuntimeError(
                f"the response's body does not have the {self._remaining} bytes left of its content-length"
            )
        else:
            self._remaining -= len(body)
            parts.append(body)
        self.started = True
        self.connection.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if not more:
            self.complete = True
            self.wake()
            self.connection.answered(self)

    def _render_head(self, length: int, more: bool) -> bytes:
        assert self._head is not None
        status, headers = self._head
        parts = [self.connection.state.head(status)]
        sized = False
        for name, value in headers:
            if name == b"content-length":
                sized = True
                self._remaining = int(value)
            elif name == b"transfer-encoding":
                continue  # framing is ours
            elif name == b"connection":
                if value.lower() == b"close":
                    self.keep_alive = False
                continue
            parts += (name, b": ", value, b"\r\n")
        lines = len(parts) // 4 + 1 + self.connection.state.date_lines
        if not sized and status not in BODILESS:
            if not more:
                self._remaining = length
                parts.append(b"content-length: %d\r\n" % length)
                lines += 1
            elif self.version == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
                lines += 1
            else:
                self._remaining = None
                self.keep_alive = False
        if self.more_body:
            self.keep_alive = False  # what is left of the request is not read
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        head = b"".join(parts)
        if head.count(b"\r") != lines or head.count(b"\n") != lines:
            raise RuntimeError("a response header holds a line break")  # would be a second header, or a second response
        return head + b"\r\n"
