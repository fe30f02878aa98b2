"""Where streams are followed: the WebSocket at any path, and `GET /__motia/streams/STREAM/GROUP[/ID]`."""

from __future__ import annotations

from typing import Any

from motia_runtime.http.cors import CorsPolicy
from motia_runtime.http.guard import STREAMS, Receive, Scope, Send
from motia_runtime.http.streams.events import EventStream
from motia_runtime.http.streams.sockets import StreamSocket
from motia_runtime.live.door import Door
from motia_runtime.live.hub import Hub
from motia_spec.model import Cors


class StreamPath:
    """A path template of the event streams. Stands among the steps' paths, as `tasks.TaskPath` does."""

    def __init__(self, events: EventStream) -> None:
        self._events = events

    def step(self, _method: str) -> None:
        """No step answers here."""

    def steps(self) -> list[Any]:
        return []

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        await self._events(scope, receive, send, values)


class StreamRoutes:
    """Of one version of an app that has streams."""

    def __init__(self, hub: Hub, door: Door, cors: Cors | None) -> None:
        self.socket = StreamSocket(hub, door)
        path = StreamPath(EventStream(hub, door, CorsPolicy(cors) if cors and cors.origins else None))
        self.paths = {f"{STREAMS}{{stream}}/{{group}}": path, f"{STREAMS}{{stream}}/{{group}}/{{id}}": path}
