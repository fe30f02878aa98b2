"""The wire: uvicorn's httptools protocol, made strict and given timeouts.

httptools (llhttp) already refuses what request smuggling is made of: Content-Length beside Transfer-Encoding, repeated or listed lengths,
bare line feeds, folded headers. Added here: limits on what a head may hold, exactly one Host, known methods and versions, timeouts for heads,
bodies, idle connections and readers that do not read, answers to pipelined requests in order, errors as problem details, and
a lingering close (RFC 9112, 9.6), so that a client that is still sending gets to see the answer.

Timeouts cost nothing per request: a connection notes its deadline, and the server's sweep calls `check` on every connection.
"""

from __future__ import annotations

import asyncio
import math
import urllib.parse
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from motia_runtime.http import refusals
from motia_runtime.http.cycle import Cycle
from motia_runtime.http.exchange import NOTED, note
from motia_runtime.http.problems import problem
from motia_runtime.http.rfc6455 import VERSION, accept_key, subprotocols
from motia_runtime.http.shared import State
from motia_runtime.http.socket import Socket
from motia_runtime.runner import Answer

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
REFUSED_METHODS = frozenset({b"TRACE", b"CONNECT"})
STRICT = frozenset({b"host", b"expect", b"transfer-encoding"})  # headers with rules of their own
SPECIAL_HEADERS = STRICT | NOTED
IDLE, HEAD, BODY, CLOSED = range(4)  # what is being read; CLOSED: nothing more, the rest is thrown away
LINGER_BYTES = 64 * 1024 * 1024  # read and thrown away at most, after the last answer


class _Refuse(Exception):  # travels only from a parser callback to data_received
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Connection(HttpToolsProtocol):
    """One connection, from accept to close. At most one cycle runs; the others wait in `waiting`, in order."""

    parser: Any  # httptools has no types; None once the connection is lost

    def __init__(
        self, config: Config, state: State, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(config, state, app_state, loop)
        self.state = state
        self.limits = state.limits
        self.parser = httptools.HttpRequestParser(self)  # a new one: the base class makes its own lenient
        self.reading = IDLE
        self.deadline = math.inf
        self.running: Cycle | None = None
        self.waiting: deque[Cycle] = deque()
        self.parsed: Cycle | None = None  # whose body is being read
        self._messages = 0
        self._chunk = 0  # bytes of the newest read
        self._fed = 0  # bytes of all reads that this head is in, an upper bound of its size
        self._body_began = 0.0
        self._body_received = 0
        self._lingered = 0
        self._write_deadline = math.inf
        self._last_words: bytes | None = None  # the refusal that ends the connection once all earlier answers are sent
        self.host: bytes | None = None
        self.noted: dict[bytes, bytes] = {}
        self._take: Callable[[Cycle], Coroutine[Any, Any, None] | None] | None = getattr(self.app, "take", None)
        self._expects_continue = False
        self._upgrade = False
        self._wanted: Cycle | None = None  # the request for a WebSocket
        self._socket: Socket | None = None
        self.ended = False  # the client sends no more

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        self.deadline = self.loop.time() + self.limits.header_timeout
        if self.state.draining:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.reading = CLOSED
        for cycle in (self.running, *self.waiting):
            if cycle is not None:
                cycle.disconnect()
        self.waiting.clear()
        if self._socket is not None:
            self.state.sockets -= 1
            self._socket.lost()
        self.flow.resume_writing()
        # Reference cycles otherwise, and the garbage collector comes by too seldom for thousands of connections.
        self.parser = self.parsed = self.running = self._socket = None

    def data_received(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.feed(data)
            return
        if self.reading == CLOSED:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.abort()
            return
        before = self.reading, self._messages
        self._chunk = len(data)
        self._fed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._unparsable(error)
            return
        if self.reading == IDLE:
            if self.running is not None:
                self.deadline = math.inf  # the handler's own timeout counts now
        elif self.reading == HEAD:
            if self._fed - self._chunk > self.limits.header_bytes + self.limits.target_bytes:
                self.refuse(431, f"A request's head may have {self.limits.header_bytes:,} bytes.")
            elif before != (HEAD, self._messages):
                self.deadline = self.loop.time() + self.limits.header_timeout
        elif self.reading == BODY:
            if before != (BODY, self._messages):
                self._body_began = self.loop.time()
            self.deadline = self._body_began + self.limits.body_timeout + self._body_received / self.limits.body_rate

    def eof_received(self) -> bool:  # type: ignore[override]  # the base class closes always
        """The client sends no more. It still gets the answers to what it has sent in full."""
        self.ended = True
        if self._socket is not None:
            return False
        if self.reading == BODY and self.parsed is not None:
            self._drop(self.parsed)
        self.reading = CLOSED
        if self.running is not None:
            self.running.wake()
        return self.running is not None or bool(self.waiting)

    def pause_writing(self) -> None:
        self._write_deadline = self.loop.time() + self.limits.write_timeout
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_deadline = math.inf
        super().resume_writing()
        if self._socket is not None:
            self._socket.drained()

    # Parser callbacks

    def on_message_begin(self) -> None:
        if self.parsed is not None and not self.parsed.keep_alive:
            raise _Refuse(400, "Data after the last request of a connection.")  # `_unparsable` passes over it
        self._messages += 1
        self._fed = self._chunk
        self.reading = HEAD
        self.url = b""
        self.headers = []
        self.host = None
        self.noted = {}
        self._expects_continue = False
        self._upgrade = False
        self._wanted = None

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes:
            raise _Refuse(414, f"A request target may have {self.limits.target_bytes:,} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reading == BODY:
            return  # trailers: nothing here asks for them
        if len(self.headers) >= self.limits.header_fields:
            raise _Refuse(431, f"A request may have {self.limits.header_fields} header fields.")
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in SPECIAL_HEADERS:
            if name in STRICT:
                self._check_strictly(name, value)
            if name in NOTED:
                note(self.noted, name, value)
        self.headers.append((name, value))

    def _check_strictly(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            if self.host is not None:
                raise _Refuse(400, "A request has exactly one Host header; this one has several.")
            self.host = value
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or any(known == name for known, _ in self.headers):
                raise _Refuse(501, 'The only transfer coding known here is "chunked".')
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise _Refuse(417, 'The only expectation known here is "100-continue".')
            self._expects_continue = True

    def on_headers_complete(self) -> None:
        parser = self.parser
        version = parser.get_http_version()
        method = parser.get_method()
        url = self.url
        if version not in ("1.1", "1.0"):
            raise _Refuse(400 if version == "0.9" else 505, f"HTTP/{version} is not spoken here; use HTTP/1.1.")
        if method not in METHODS:
            known = ", ".join(sorted(m.decode() for m in METHODS))
            status = 405 if method in REFUSED_METHODS else 501
            raise _Refuse(status, f"The method {method.decode()} is not known here; use one of {known}.")
        if self.host is None:
            raise _Refuse(400, "A request has exactly one Host header; this one has none.")
        if self._fed > self.limits.header_bytes:  # seldom: only then is it worth counting
            size = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.header_bytes:
                raise _Refuse(431, f"A request's head may have {self.limits.header_bytes:,} bytes.")
        raw_path, _, query = url.partition(b"?")
        if raw_path[:1] != b"/":
            raw_path = self._other_form(method, raw_path)
        if b"#" in url:
            raise _Refuse(400, "A request target has no fragment; encode # as %23.")
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        self._upgrade = parser.should_upgrade()
        self.reading = BODY
        self._body_received = 0
        keep_alive = version == "1.1" and parser.should_keep_alive() and not self._upgrade and not self.state.draining
        cycle = Cycle(self, method.decode("ascii"), version, path, raw_path, query, keep_alive, self._expects_continue)
        if self._upgrade and self._get_upgrade() == b"websocket":
            self._wanted = cycle
            return
        self.parsed = cycle
        if self.running is None:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.waiting.append(cycle)

    def _other_form(self, method: bytes, target: bytes) -> bytes:
        """The path of `http://host/path`, which a server has to accept, or "*" of OPTIONS (RFC 9112, 3.2)."""
        if target == b"*" and method == b"OPTIONS":
            return target
        scheme, mark, rest = target.partition(b"://")
        host, slash, path = rest.partition(b"/")
        if not mark or scheme.lower() not in (b"http", b"https") or host.lower() != (self.host or b"").lower():
            raise _Refuse(400, "A request target is a path, or a URL of the same host as in the Host header.")
        return slash + path or b"/"

    def on_body(self, body: bytes) -> None:
        self._body_received += len(body)
        if self.parsed is not None and self.parsed.feed(body):
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self.reading = IDLE
        if self.parsed is not None:
            self.parsed.end_body()

    # Requests and answers

    def _start(self, cycle: Cycle) -> None:
        self.running = cycle
        served = None if self._take is None else self._take(cycle)
        cycle.task = self.loop.create_task(cycle.run(self.app) if served is None else served)
        self.tasks.add(cycle.task)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def resume_reading(self) -> None:
        """The running cycle wants more of its body. Not when others wait behind it: then its body is complete."""
        if not self.waiting:
            self.flow.resume_reading()

    def answered(self, cycle: Cycle) -> None:
        """The response of the running cycle is written in full."""
        self.state.total_requests += 1
        self.running = None
        if not cycle.keep_alive:
            self._close(linger=cycle.more_body)
        elif self.waiting:
            self._start(self.waiting.popleft())
        elif self._last_words is not None:
            self.write(self._last_words)
            self._close(linger=True)
        elif self.ended or self.state.draining:
            self._hang_up()
        else:
            self.flow.resume_reading()
            if self.reading == IDLE:
                self.deadline = self.loop.time() + self.limits.idle_timeout

    def refuse(self, status: int, detail: str, *, cycle: Cycle | None = None) -> None:
        """Answer with a problem and end the connection, after the answers to earlier requests. `cycle`: instead of its own answer."""
        if self.reading == CLOSED and cycle is None:
            return
        if status != 500:  # that is a fault of ours
            refusals.count(refusals.UNMATCHED, status)
        self.end_with(problem(status, detail), cycle=cycle)

    def end_with(self, answer: Answer, *, cycle: Cycle | None = None) -> None:
        """As `refuse`, with any answer."""
        self.reading = CLOSED
        head = b"".join(b"%s: %s\r\n" % pair for pair in answer.headers)
        words = b"%s%scontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
            self.state.head(answer.status),
            head,
            len(answer.body),
            answer.body,
        )
        if cycle is not None:
            self._drop(cycle)
        if self.running is None and not self.waiting:
            self.write(words)
            self._close(linger=True)
        else:
            self._last_words = words
            self.deadline = math.inf

    def _drop(self, cycle: Cycle) -> None:
        """Forget a cycle that can't have its own answer any more. Its task, if it runs, is told that the client is gone."""
        cycle.disconnect()
        if cycle is self.running:
            self.running = None
            self._forget_waiting()  # their answers could only come after the one that is missing
        elif cycle in self.waiting:
            self.waiting.remove(cycle)

    def _forget_waiting(self) -> None:
        for cycle in self.waiting:
            cycle.disconnect()
        self.waiting.clear()

    def _close(self, *, linger: bool) -> None:
        """End the connection. Lingering: say so to the client, and throw away what it still sends, so that no reset overtakes the answer."""
        self.reading = CLOSED
        self._forget_waiting()
        if linger and not self.ended and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
            self.deadline = self.loop.time() + self.limits.linger
            self.flow.resume_reading()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close once what is written has been sent; `check` sees to clients that do not read it."""
        self.deadline = self.loop.time() + self.limits.write_timeout
        self.reading = CLOSED
        self.transport.close()

    def abort(self) -> None:
        self.reading = CLOSED
        self.transport.abort()

    def _unparsable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        # A body that breaks off concerns its own request; anything else begins a new one.
        cycle = self.parsed if self.reading == BODY else None
        if cycle is not None and (cycle.complete or cycle.started):
            self.abort()
        elif self.parsed is not None and not self.parsed.keep_alive and self.reading == IDLE:
            self.reading = CLOSED  # the client said that request was its last: the rest is never looked at
        elif isinstance(cause, _Refuse):
            self.refuse(cause.status, cause.detail, cycle=cycle)
        else:
            self.refuse(400, f"Not a valid HTTP/1.1 request: {error}.", cycle=cycle)

    # WebSockets

    def _upgraded(self, rest: bytes) -> None:
        """The parser has stopped at the end of a head that asks for another protocol."""
        if self._wanted is None:
            self.deadline = math.inf
            self.reading = CLOSED  # an upgrade we do not offer is ignored (RFC 9110, 7.8)
        elif self.running is not None or self.waiting:
            self.refuse(400, "An upgrade can't be pipelined.")
        else:
            self._shake_hands(self._wanted, rest)

    def _shake_hands(self, cycle: Cycle, rest: bytes) -> None:
        self._wanted = None
        given: dict[bytes, list[bytes]] = {}
        for name, value in cycle.headers:
            given.setdefault(name, []).append(value)
        if cycle.method != "GET" or cycle.version != "1.1" or given.keys() & {b"content-length", b"transfer-encoding"}:
            self.refuse(400, "A WebSocket begins with a GET of HTTP/1.1 without a body.")
            return
        if given.get(b"sec-websocket-version") != [VERSION]:
            refusals.count(refusals.UNMATCHED, 426)
            unknown = problem(426, "The WebSocket version here is 13.", headers=((b"sec-websocket-version", VERSION),))
            self.end_with(unknown)
            return
        keys = given.get(b"sec-websocket-key", [])
        accept = accept_key(keys[0]) if len(keys) == 1 else None
        offered = subprotocols(given.get(b"sec-websocket-protocol", []))
        if accept is None or offered is None:
            what = (
                "Sec-WebSocket-Key is 16 bytes in base64"
                if accept is None
                else "Sec-WebSocket-Protocol is a list of tokens"
            )
            self.refuse(400, f"{what}, sent once.")
        elif self.state.sockets >= self.limits.sockets:
            refusals.count(refusals.UNMATCHED, 503)
            full = problem(503, "There are as many WebSockets as there may be.", headers=((b"retry-after", b"5"),))
            self.end_with(full)
        else:
            self.deadline = math.inf  # those who let it in have their own
            self.reading = CLOSED
            self.state.sockets += 1
            socket = self._socket = Socket(self, cycle.scope, accept, offered)
            socket.task = self.loop.create_task(socket.run(self.app))
            self.tasks.add(socket.task)
            if rest:
                socket.feed(rest)

    def opened(self) -> None:
        """The WebSocket is accepted."""
        self.state.total_requests += 1
        self.parser = None
        self.headers = []

    def linger(self) -> None:
        """Wait for the client to go, for a moment."""
        self.deadline = self.loop.time() + self.limits.linger

    def hang_up(self) -> None:
        """Close once what is written has been sent, or has not been for `Limits.write_timeout`."""
        self._hang_up()

    # Time

    def check(self, now: float) -> None:
        """Act on what has taken too long. Called now and then, with the loop's time."""
        if self._socket is not None:
            self._socket.check(now)
        if now >= self._write_deadline:
            self.abort()
        elif now < self.deadline:
            return
        elif self.reading == CLOSED:
            self.abort() if self.transport.is_closing() else self._hang_up()
        elif self.flow.read_paused:
            return  # it is we who do not read
        elif self.reading == HEAD:
            self.refuse(408, f"The request's head took longer than {self.limits.header_timeout:g} seconds.")
        elif self.reading == BODY:
            if self.parsed is None or self.parsed.started:
                self.abort()
            else:
                self.refuse(408, "The request's body came too slowly.", cycle=self.parsed)
        elif self.running is None:
            self._hang_up()

    def shutdown(self) -> None:
        """The server stops: no further request on this connection."""
        if self._socket is not None:
            self._socket.close(1012, "the app restarts or stops")
            return
        last = self.waiting[-1] if self.waiting else self.running
        if last is not None:
            if not last.started:
                last.keep_alive = False
        elif self.reading != CLOSED:
            self._hang_up()
