"""The WebSocket of the streams: the protocol that the original's published clients speak (docs/streams.md)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

import msgspec

from motia_runtime.http.guard import Receive, Scope, Send, refuse_socket
from motia_runtime.http.problems import Refused, problem
from motia_runtime.http.socket import SOCKET, Socket
from motia_runtime.http.streams.requests import headers_of, query_of
from motia_runtime.live.clients import Client, TooManySubscriptions
from motia_runtime.live.door import Denied, Door, Unauthenticated
from motia_runtime.live.frames import BAD_MESSAGE, DENIED, TOO_MANY, Frame, Place, error_frame
from motia_runtime.live.hub import Hub

REFUSALS = 100  # messages of a client that are answered with an error, before it is sent away
POLICY = 1008  # close code: it does what it may not
LONGEST_ID = 200  # characters of a subscription's id

UNKNOWN = "-"  # no mark of any state

NOWHERE = Place("", "")  # of errors about messages that name no stream

log = logging.getLogger("motia.streams")


class Subscription(msgspec.Struct):
    stream: str = msgspec.field(name="streamName")
    group: str = msgspec.field(name="groupId")
    subscription: str = msgspec.field(name="subscriptionId")
    id: str | None = None
    absent: bool = False  # of a join: an item that is not there is told as a delete; published clients never ask


class Message(msgspec.Struct):
    type: Literal["join", "leave"]
    data: Subscription


_decode = msgspec.json.Decoder(Message).decode


class StreamSocket:
    """An ASGI application for handshakes and what follows."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            auth = await self._door.authenticate(headers_of(scope), query_of(scope))
        except Refused as refusal:
            await refuse_socket(scope, send, refusal.answer())
            return
        except Unauthenticated:
            await refuse_socket(scope, send, problem(401, "This client may not connect to the streams."))
            return
        offered = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        client = SocketClient(self._hub, self._door, scope[SOCKET], auth)
        try:
            if self._hub.stopped:
                client.close(1012, "the app restarts or stops")
            while (message := await receive())["type"] == "websocket.receive":
                await client.hear(message.get("text"))
        finally:
            client.leave()


class SocketClient(Client):
    """One socket, whose messages are taken one after the other: who sends many waits for what they cost."""

    def __init__(self, hub: Hub, door: Door, socket: Socket, auth: Any) -> None:
        super().__init__(hub)
        self._door = door
        self._socket = socket
        self._auth = auth
        self._refused = 0
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[None] | None = task
        socket.on_drained = self.flush
        socket.on_lost = task.cancel

    def write(self, frame: Frame) -> bool:
        return self._socket.write(frame.framed)

    def close(self, code: int, reason: str) -> None:
        self._socket.close(code, reason)
        if self._task is not None and asyncio.current_task() is not self._task:
            self._task.cancel()  # it may wait for something else than the client

    def leave(self) -> None:
        super().leave()
        self._task = None  # a reference cycle otherwise

    async def hear(self, text: str | None) -> None:
        """A message of the client."""
        if text is None:
            await self._refuse(NOWHERE, None, BAD_MESSAGE, "A message is text: JSON.")
            return
        try:
            message = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            await self._refuse(NOWHERE, None, BAD_MESSAGE, f"Not a join or leave: {what[:200]}")
            return
        data = message.data
        if len(data.subscription) > LONGEST_ID:
            await self._refuse(NOWHERE, None, BAD_MESSAGE, f"A subscriptionId has {LONGEST_ID} characters at most.")
        elif message.type == "leave":
            self.leave_one(data.subscription)
        else:
            await self._join(data)

    async def _join(self, data: Subscription) -> None:
        try:
            await self._door.check(data.stream, data.group, data.id, self._auth)
            unless = UNKNOWN if data.absent else ""
            await self.join(data.subscription, data.stream, data.group, data.id, unless=unless)
        except Denied as denied:
            self._hub.counts.denied += 1
            await self._tell(Place(data.stream, data.group), data.id, DENIED, str(denied))
        except TooManySubscriptions as error:
            await self._refuse(Place(data.stream, data.group), data.id, TOO_MANY, f"{error}.")

    async def _refuse(self, place: Place, id: str | None, code: str, why: str) -> None:
        self._hub.counts.refused += 1
        self._refused += 1
        if self._refused > REFUSALS:
            log.warning("a client was sent away after %d messages that make no sense; the last: %s", REFUSALS, why)
            self.close(POLICY, "too many messages that make no sense")
        else:
            await self._tell(place, id, code, why)

    async def _tell(self, place: Place, id: str | None, code: str, why: str) -> None:
        await self._hub.ready()
        await self.until_drained()
        self.push(error_frame(place, id, self._hub.now(), code, why))
