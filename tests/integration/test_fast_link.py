"""What the hot path makes of a connection's bytes, however the network cuts them: a scripted server, a real socket and a real client."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.fast import FIRST_SID, FastLink
from support.waiting import until

INFO = json.dumps({"server_id": "S", "version": "2.15.1", "max_payload": 1 << 20, "proto": 1, "headers": True})
INBOX, OURS = FIRST_SID + 1, FIRST_SID + 2


class Script:
    """A server that says what the test has it say, in pieces."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.pongs = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"INFO {INFO}\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
                if writer not in self.writers:
                    self.writers.append(writer)
            if line.startswith(b"PUB"):  # to itself, when it closes
                _, subject, size = line.split()
                data = await reader.readexactly(int(size) + 2)
                writer.write(b"MSG %s %d %s\r\n%s" % (subject, INBOX, size, data))
            self.pongs += line.startswith(b"PONG")
        writer.close()

    async def say(self, data: bytes, cuts: list[int], pause: float = 0.0) -> None:
        writer = self.writers[-1]
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:stop])
            await writer.drain()
            await asyncio.sleep(pause)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Script, FastLink, list[tuple[int, bytes]]]]:
    """A server, a link to it and what the link's subscription hears: status and data."""
    script = Script()
    async with await asyncio.start_server(script.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await connect(Settings(url=f"nats://127.0.0.1:{port}"), name="test", jetstream=False)
        assert isinstance(link, FastLink)
        heard: list[tuple[int, bytes]] = []
        link.listen("ours", lambda _subject, _reply, status, _head, data: heard.append((status, data)))
        try:
            yield script, link, heard
        finally:
            await link.close()
            for writer in script.writers:
                writer.close()


def plain(number: int, data: bytes, *, sid: int = OURS) -> bytes:
    reply = b" re.ply" if number % 3 else b""
    return b"MSG ours %d%s %d\r\n%s\r\n" % (sid, reply, len(data), data)


def headed(status: int) -> bytes:
    head = b"NATS/1.0 %d\r\nA: b\r\n\r\n" % status
    return b"HMSG ours %d %d %d\r\n%sx\r\n" % (OURS, len(head), len(head) + 1, head)


@pytest.mark.parametrize("seed", range(12))
async def test_every_message_is_heard_once_and_in_order_wherever_its_bytes_are_cut(seed: int) -> None:
    draw = random.Random(seed)
    async with linked() as (script, link, heard):
        others: list[bytes] = []

        async def other(message: object) -> None:
            others.append(message.data)  # type: ignore[attr-defined]

        theirs = await link.client.subscribe("theirs", cb=other)
        await link.client.flush()
        handle = link.client._process_ping

        async def slowly() -> None:  # so that what comes meanwhile stands behind it
            await asyncio.sleep(draw.choice((0, 0.005)))
            await handle()

        link.client._process_ping = slowly  # type: ignore[method-assign]
        said, ends, expected, foreign, pings = b"", [], [], [], 0
        for number in range(300):
            ends.append(len(said))
            kind = draw.random()
            data = b"MSG ours 1 1\r\n" * draw.choice((0, 1, 1, 40)) + b"%d" % number
            if kind < 0.75:
                said += plain(number, data)
                expected.append((0, data))
            elif kind < 0.85:
                said += headed(404)
                expected.append((404, b"x"))
            elif kind < 0.92:
                said += plain(number, data, sid=theirs._id)
                foreign.append(data)
            elif kind < 0.97:
                said += b"PING\r\n"
                pings += 1
            else:
                said += draw.choice((b"+OK\r\n", f"INFO {INFO}\r\n".encode(), plain(number, data, sid=FIRST_SID + 99)))
        places = (ends[1:], range(1, len(said)))[seed % 2]  # between messages, or anywhere
        cuts = sorted(draw.sample(places, (5, 60, 200)[seed % 3]))
        before = script.pongs
        await script.say(said, cuts, pause=draw.choice((0, 0.0005)))
        await until(lambda: len(heard) >= len(expected) and len(others) >= len(foreign), "not all was heard")
        assert heard == expected
        assert others == foreign
        await until(lambda: script.pongs - before == pings, "not every ping was answered")


async def test_half_a_message_of_a_connection_that_broke_is_forgotten() -> None:
    async with linked() as (script, link, heard):
        for number in range(3):
            whole = plain(number, b"%d" % number)
            await script.say(whole + plain(number, b"lost")[:-4], [])
            await until(lambda number=number: len(heard) == number + 1)  # type: ignore[misc]
            connections = len(script.writers)
            script.writers[-1].close()
            await until(lambda connections=connections: len(script.writers) > connections and link.up)  # type: ignore[misc]
        await script.say(plain(9, b"last"), [])
        await until(lambda: len(heard) == 4)
        assert [data for _, data in heard] == [b"0", b"1", b"2", b"last"]


async def test_what_is_no_protocol_ends_the_connection() -> None:
    for wrong in (b"MSG ours\r\n", b"MSG ours %d x\r\n" % OURS, b"HELLO\r\n", b"x" * (1 << 20) + b"x" * 10):
        async with linked() as (script, link, heard):
            await script.say(plain(0, b"right") + wrong, [])
            await until(lambda script=script: len(script.writers) > 1, "it did not connect anew")  # type: ignore[misc]
            await until(lambda link=link: link.up)  # type: ignore[misc]
            await script.say(plain(1, b"again"), [])
            await until(lambda heard=heard: len(heard) == 2)  # type: ignore[misc]
            assert [data for _, data in heard] == [b"right", b"again"]
