"""Server-Sent Events of the same subscriptions, for those who want no client: `data` is the frame that a WebSocket would get.

`id` names the state after it, so that a browser which comes again with `Last-Event-ID` is not told what it knows (WHATWG HTML, 9.2).
"""

from __future__ import annotations

import asyncio

from motia_runtime.http.cors import CorsPolicy
from motia_runtime.http.guard import Receive, Scope, Send, send_answer
from motia_runtime.http.problems import NOSNIFF, Header, Refused, problem
from motia_runtime.http.streams.requests import headers_of, query_of
from motia_runtime.live.clients import Client
from motia_runtime.live.door import Denied, Door, Unauthenticated
from motia_runtime.live.frames import Frame
from motia_runtime.live.hub import Hub
from motia_runtime.runner import Answer

KEEP_ALIVE = 15.0  # seconds between comments, so that nobody in between takes the connection for dead
WAITING = 64 << 10  # bytes that are made ready while the client is written to
METHODS = "GET, OPTIONS"

BEGIN = b"retry: 2000\n\n"
ALIVE = b": \n\n"
HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx passes it on at once
    NOSNIFF,
)


class EventStream:
    """Serves both paths: `values` are stream and group, and perhaps an item."""

    def __init__(self, hub: Hub, door: Door, cors: CorsPolicy | None) -> None:
        self._hub = hub
        self._door = door
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        headers = headers_of(scope)
        origin = headers.get("origin")
        shared = () if self._cors is None else self._cors.headers(origin)
        allow: Header = (b"allow", METHODS.encode())
        method = scope["method"]
        if method == "OPTIONS":
            allowed = () if self._cors is None else self._cors.preflight(origin, METHODS)
            await send_answer(scope, send, Answer(204, (allow, *allowed), b""))
            return
        if method != "GET":
            detail = f"{method} is not among the methods of this path: {METHODS}."
            await send_answer(scope, send, problem(405, detail, headers=(allow,)), shared)
            return
        stream, group, *item = values
        one = item[0] if item else None
        try:
            await self._let_in(scope, headers, stream, group, one)
        except Refused as refusal:
            await send_answer(scope, send, refusal.answer(), shared)
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS + shared})
        reader = Reader(self._hub, whole=one is None)
        gone = asyncio.create_task(_until_gone(receive, reader))
        joining = asyncio.create_task(reader.join("", stream, group, one, unless=headers.get("last-event-id", "")))
        try:
            await send({"type": "http.response.body", "body": BEGIN, "more_body": True})
            while not reader.over:
                await send({"type": "http.response.body", "body": await reader.next(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            joining.cancel()
            await asyncio.gather(gone, joining, return_exceptions=True)
            reader.leave()

    async def _let_in(self, scope: Scope, headers: dict[str, str], stream: str, group: str, id: str | None) -> None:
        """Raises `Refused`."""
        try:
            auth = await self._door.authenticate(headers, query_of(scope))
            await self._door.check(stream, group, id, auth)
        except Unauthenticated:
            raise Refused(401, "This client may not connect to the streams.") from None
        except Denied as denied:
            self._hub.counts.denied += 1
            raise Refused(404 if denied.unknown else 403, f"{denied}.") from None


class Reader(Client):
    """One response. Frames are taken as long as they are few; `next` gives them to be sent."""

    def __init__(self, hub: Hub, *, whole: bool) -> None:
        super().__init__(hub)
        self.over = hub.stopped
        self._whole = whole
        self._made: list[bytes] = []
        self._size = 0
        self._more = asyncio.Event()

    def write(self, frame: Frame) -> bool:
        if self._size > WAITING:
            return False
        text = event_text(frame, self._whole)
        self._made.append(text)
        self._size += len(text)
        self._more.set()
        return True

    def close(self, code: int, reason: str) -> None:
        self.over = True
        self._more.set()

    async def next(self) -> bytes:
        """What there is to send; a comment when there has been nothing for `KEEP_ALIVE`."""
        try:
            await asyncio.wait_for(self._more.wait(), KEEP_ALIVE)
        except TimeoutError:
            return ALIVE
        self._more.clear()
        text = b"".join(self._made)
        self._made.clear()
        self._size = 0
        self.flush()
        return text


def event_text(frame: Frame, whole: bool) -> bytes:
    """A frame as an event. Events that are stored nowhere are no state to come back to, so they have no id. `whole`: the group is followed."""
    text = frame.text.replace(b"\r", b" ").replace(b"\n", b" ")  # between values only, since JSON's texts hold none
    if frame.kind == "event":
        return b"data: %b\n\n" % text
    mark = frame.mark if whole else str(frame.seq)
    return b"id: %b\ndata: %b\n\n" % (mark.encode(), text)


async def _until_gone(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close(0, "")
