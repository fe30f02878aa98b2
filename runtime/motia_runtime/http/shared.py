"""What the connections of one server share: limits, the set of them, and the part of a response's head that all have."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any

import msgspec
from uvicorn.server import ServerState

from motia_runtime.http.problems import Header, phrase

KEPT = 64  # heads of answers, for a second


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may do to a connection. Times in seconds."""

    header_fields: int = 100
    header_bytes: int = 32 * 1024  # names and values of a head
    target_bytes: int = 8 * 1024  # the request target
    header_timeout: float = 10.0  # from connecting, or from a head's first byte, to its end
    body_timeout: float = 30.0  # for a body, plus its bytes / body_rate
    body_rate: float = 1024.0  # bytes/s; slower than this on the whole is too slow
    idle_timeout: float = 65.0  # between requests; longer than the 60 s that load balancers keep connections
    write_timeout: float = 30.0  # for a client that does not read its answer
    linger: float = 2.0  # for a client that still sends after the last answer
    sockets: int = 10_000  # WebSockets at once
    message_bytes: int = 64 * 1024  # of a client's message on a WebSocket
    ping_interval: float = 20.0  # between pings to a WebSocket that says nothing


class _Connections(set[Any]):
    """The open connections, WebSockets included. `empty` is set while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.empty.clear()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        if not self:
            self.empty.set()


class State(ServerState):
    """Lives as long as its server."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.connections = _Connections()
        self.empty = self.connections.empty
        self.draining = False
        self.sockets = 0
        self.date_lines = 1
        self._heads: dict[int, bytes] = {}
        self._answers: dict[tuple[int, tuple[Header, ...]], bytes] = {}
        self._date = b""

    def tick(self, now: float) -> None:
        """Once a second: the date of responses (seconds since the epoch)."""
        self._date = b"date: %s\r\n" % formatdate(now, usegmt=True).encode()
        self._heads.clear()
        self._answers.clear()

    def head(self, status: int) -> bytes:
        """Status line and date."""
        found = self._heads.get(status)
        if found is None:
            found = self._heads[status] = b"HTTP/1.1 %d %s\r\n%s" % (status, phrase(status).encode(), self._date)
        return found

    def answer_head(self, status: int, headers: tuple[Header, ...]) -> bytes:
        """Status line, date and these headers, none of which is about framing. Raises ValueError for one that holds a line break, which would
        be a second header, or a second response."""
        found = self._answers.get((status, headers))
        if found is None:
            lines = render(headers)
            found = self.head(status) + lines
            if len(self._answers) < KEPT:
                self._answers[status, headers] = found
        return found


def render(headers: tuple[Header, ...]) -> bytes:
    """Headers as lines. Raises ValueError for one that holds a line break."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\r") != len(headers) or lines.count(b"\n") != len(headers):
        raise ValueError("a response header holds a line break")
    return lines
