"""What a client is told: one frame, encoded once however many clients get it (the wire of docs/streams.md)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["sync", "create", "update", "delete", "event"]

DENIED = "STREAM_ACCESS_DENIED"  # the one code that published clients know
BAD_MESSAGE = "BAD_MESSAGE"
TOO_MANY = "TOO_MANY_SUBSCRIPTIONS"

encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode


def item_text(id: str, data: bytes) -> bytes:
    """An item as clients get it: its JSON with the id inside. One that is no object is the `value` of one. Raises `ValueError` for what is no JSON,
    which only other programs write."""
    try:
        _any(data)
        members = {"id": msgspec.Raw(encode(id)), **_members(data)} if data.lstrip()[:1] == b"{" else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if members is None:
        return encode({"id": id, "value": msgspec.Raw(data)})
    members["id"] = msgspec.Raw(encode(id))
    return encode(members)


class Place:
    """Of one group: its part of every frame."""

    __slots__ = ("group", "head", "stream")

    def __init__(self, stream: str, group: str) -> None:
        self.stream = stream
        self.group = group
        self.head = b',"streamName":' + encode(stream) + b',"groupId":' + encode(group)


class Frame:
    """Lives until the slowest of those who get it has it. `time`: ms since the epoch by the broker's clock, growing from frame to frame of a group."""

    __slots__ = ("_framed", "_text", "body", "id", "kind", "mark", "place", "seq", "time")

    def __init__(
        self, place: Place, id: str | None, kind: Kind, time: float, body: bytes, seq: int = 0, mark: str = ""
    ) -> None:
        self.place = place
        self.id = id
        self.kind = kind
        self.time = time
        self.body = body  # the item, for sync also a list of them, or the event
        self.seq = seq  # of the record in the log, when there is one
        self.mark = mark  # what tells this state of the group from any other, for who resumes
        self._text: bytes | None = None
        self._framed: bytes | None = None

    @property
    def text(self) -> bytes:
        """The JSON."""
        if self._text is None:
            item = b"" if self.id is None else b',"id":' + encode(self.id)
            inner = b'"event":' if self.kind == "event" else b'"data":'
            self._text = b'{"timestamp":%b%b%b,"event":{"type":"%b",%b%b}}' % (
                encode(self.time),
                self.place.head,
                item,
                self.kind.encode(),
                inner,
                self.body,
            )
        return self._text

    @property
    def framed(self) -> bytes:
        """As one message of a WebSocket."""
        if self._framed is None:
            self._framed = text_message(self.text)
        return self._framed

    @property
    def size(self) -> int:
        return len(self.body)

    def after(self, missed: Frame) -> Frame | None:
        """One frame in place of two of the same item, for a client that has not seen the first. None: nothing has happened to it."""
        known = missed.kind != "create"
        if self.kind == "delete":
            return self if known else None
        kind: Kind = "update" if known else "create"
        return (
            self if self.kind == kind else Frame(self.place, self.id, kind, self.time, self.body, self.seq, self.mark)
        )


def event_body(type: str, data: Any) -> bytes:
    return encode({"type": type, "data": data})


def error_frame(place: Place, id: str | None, time: float, code: str, message: str) -> Frame:
    return Frame(place, id, "event", time, event_body("error", {"code": code, "message": message}))


def text_message(text: bytes) -> bytes:
    """A text message in one frame, as a server sends it (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81" + bytes((size,)) + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text
