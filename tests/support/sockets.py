"""A WebSocket client for tests: RFC 6455 by hand, so that it can also break it. One connection, text messages as JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import Any

JOIN = "join"


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """One frame as a client sends it."""
    size = len(payload)
    head = bytes(((0x80 if final else 0) | opcode,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 1 << 16:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    key = b"\x37\xfa\x21\x3d"  # always the same, so that a test has the same name in every process; that of an example in RFC 6455
    return head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, head: str, body: bytes) -> None:
        super().__init__(head)
        self.status = int(head.split()[1])
        self.head = head
        self.body = body


class ClosedByServer(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class TestSocket:
    __test__ = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.pings = 0

    async def send(self, message: Any) -> None:
        await self.raw(masked(1, message.encode() if isinstance(message, str) else json.dumps(message).encode()))

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def join(
        self, stream: str, group: str, id: str | None = None, *, subscription: str = "", kind: str = JOIN
    ) -> None:
        data = {"streamName": stream, "groupId": group, "subscriptionId": subscription or f"{stream}/{group}/{id}"}
        await self.send({"type": kind, "data": data if id is None else data | {"id": id}})

    async def frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert not second & 0x80, "a server does not mask"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def next(self, within: float = 20.0) -> Any:
        """The next message. Raises `ClosedByServer`."""
        async with asyncio.timeout(within):
            while True:
                opcode, payload = await self.frame()
                if opcode == 9:
                    self.pings += 1
                    await self.raw(masked(10, payload))
                elif opcode == 8:
                    raise ClosedByServer(int.from_bytes(payload[:2], "big"))
                elif opcode == 1:
                    return json.loads(payload)

    async def until(self, kind: str, within: float = 20.0) -> Any:
        """The next message with an event of that type."""
        while True:
            message = await self.next(within)
            if message["event"]["type"] == kind:
                return message

    async def close(self) -> None:
        self.writer.transport.abort()


async def connect(port: int, path: str = "/", *, host: str = "127.0.0.1", **headers: str) -> TestSocket:
    """Raises `Refused`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    writer.write(f"GET {path} HTTP/1.1\r\n{text}\r\n".encode())
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if not head.startswith("HTTP/1.1 101"):
            body = await reader.read(-1)
            writer.close()
            raise Refused(head, body)
    return TestSocket(reader, writer, head)
