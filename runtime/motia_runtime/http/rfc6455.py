"""The WebSocket protocol of a server (RFC 6455), without input or output: bytes of a client to messages, and messages to bytes.

No extensions: without compression there is nothing that unpacks to more than was sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha1

VERSION = b"13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LARGEST_CONTROL = 125  # bytes

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Violation(Exception):  # reads as the fact it states
    """The client does not keep to the protocol, or sends too much: the connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def accept_key(key: bytes) -> bytes | None:
    """The server's answer to a client's key; None when it is none."""
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(sha1(key + GUID, usedforsecurity=False).digest())


def subprotocols(values: list[bytes]) -> list[str] | None:
    """Those that a client offers, in order; None when what it sends is no list of them."""
    offered = [word.strip(" \t") for value in values for word in value.decode("latin-1").split(",")]
    return offered if all(_TOKEN.fullmatch(word) for word in offered) else None


class Decoder:
    """Bytes as they come to messages, one at a time: what has not been asked for stays as it came. `largest`: bytes of a message."""

    __slots__ = ("_buffer", "_kind", "_largest", "_parts")

    def __init__(self, largest: int) -> None:
        self._buffer = bytearray()
        self._kind = 0  # of the message that is being put together; 0: none is
        self._parts = bytearray()
        self._largest = largest

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def next(self) -> tuple[int, bytes] | None:
        """(TEXT, BINARY, CLOSE, PING or PONG; payload). None: not all of it is there. Raises `Violation`, before the payload of what is too large is there."""
        while True:
            frame = self._frame()
            if frame is None:
                return None
            final, opcode, payload = frame
            if opcode >= CLOSE:
                return opcode, payload
            if opcode != CONTINUATION:
                self._kind = opcode
            self._parts += payload
            if final:
                kind, message = self._kind, bytes(self._parts)
                self._kind = 0
                self._parts.clear()
                if kind == TEXT and not message.isascii():
                    try:
                        message.decode()
                    except UnicodeDecodeError:
                        raise Violation(1007, "a text message is UTF-8") from None
                return kind, message

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        if first & 0x70:
            raise Violation(1002, "a reserved bit is set")
        if not second & 0x80:
            raise Violation(1002, "a client masks its frames")
        start = 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
            if size < (126 if start == 4 else 1 << 16):
                raise Violation(1002, "a length is not written as short as it can be")
        if opcode in (CLOSE, PING, PONG):
            if size > LARGEST_CONTROL or not final:
                raise Violation(1002, "a control frame is whole and has 125 bytes at most")
        elif opcode in (TEXT, BINARY):
            if self._kind:
                raise Violation(1002, "a message begins within another")
        elif opcode != CONTINUATION:
            raise Violation(1002, f"there is no opcode {opcode}")
        elif not self._kind:
            raise Violation(1002, "there is nothing to continue")
        if opcode < CLOSE and len(self._parts) + size > self._largest:
            raise Violation(1009, f"a message has {self._largest:,} bytes at most")
        end = start + 4 + size
        if len(buffer) < end:
            return None
        payload = _unmasked(buffer[start + 4 : end], bytes(buffer[start : start + 4]))
        del buffer[:end]
        return final, opcode, payload


def _unmasked(data: bytearray, mask: bytes) -> bytes:
    size = len(data)
    if not size:
        return b""
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


def closing(payload: bytes) -> int:
    """The code of a close frame; 1005 for none. Raises `Violation`."""
    if not payload:
        return 1005
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Violation(1002, "not a close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(1007, "the reason of a close is UTF-8") from None
    return code


def frame(opcode: int, payload: bytes) -> bytes:
    """One frame, final, as a server sends it."""
    size = len(payload)
    head = 0x80 | opcode
    if size < 126:
        return bytes((head, size)) + payload
    if size < 1 << 16:
        return bytes((head, 126)) + size.to_bytes(2, "big") + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str) -> bytes:
    text = reason.encode()[: LARGEST_CONTROL - 2].decode("utf-8", "ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)
