"""Live streams under load: 2,000 clients over 200 groups, 1,000 updates a second; nothing lost for who reads, the last state for who doesn't, memory flat.

    python tests/benchmarks/bench_streams.py [--scale 1] [--seconds 20] [--rounds N]

Three processes: a real `motia start` with its embedded broker; the clients, each on a WebSocket of its own; the writers, whose every update is a PUT that a
step's handler writes to the stream. An update carries its number and its time, so that a client knows what it has missed and how long it took.

    readers   2,000 clients that follow one of 200 groups each; they must see every update of their group once, in order
    crowd     20 readers of one more group, with 100 updates a second of 8 KB: they must see each as well
    sleepers  100 clients of that same group that read nothing for 20 seconds; awake again, they must see each item as it is then

Ends with 1 when something was lost, or the app's memory grew by more than a quarter after the first fifth of the time. `--scale 0.1` is a tenth of
clients, groups and updates of the readers, for machines that have other work.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.process import AppProcess, running_app, write_project

ITEMS = 5  # of each group
WRITERS = 16  # connections that write
HOT, HOT_RATE, HOT_BYTES = "hot", 100, 8_000  # the group that sleepers follow: updates a second, bytes of each
CROWD, SLEEPERS = 20, 100
SLEEP = 20.0  # seconds; after 30 the app sends away who takes nothing
GROWTH = 1.25  # of memory, between the first fifth and the end
CATCH_UP = 60.0  # seconds after the last update that clients may take to have it
SPEC = """
name: bench
streams: {feed: {}}
steps:
  Put: {type: api, method: PUT, path: "/feed/{group}/{id}", handler: steps/put.py, uses: {streams: [feed]}}
"""
PUT = """
async def handler(request, ctx):
    await ctx.streams.feed.set(request.path_params["group"], request.path_params["id"], request.body)
"""


class Item(msgspec.Struct):
    id: str
    n: int  # counts up, of each item
    at: float  # of the machine's monotonic clock, the same in all processes


class Event(msgspec.Struct):
    type: str
    data: list[Item] | Item | None = None


class Frame(msgspec.Struct):
    event: Event


Counts = dict[str, dict[str, int]]  # by group and item: how often it was written

_frame = msgspec.json.Decoder(Frame).decode


class Client(asyncio.Protocol):
    """One WebSocket that follows one group, as a browser would. `sleeps`: reads nothing once it has joined, until `wake`."""

    transport: asyncio.Transport

    def __init__(self, group: str, sleeps: bool, took: list[float]) -> None:
        self.group = group
        self.sleeps = sleeps
        self.last: dict[str, int] = {}
        self.updates = self.lost = self.doubled = 0
        self.closed = False
        self.joined = asyncio.get_running_loop().create_future()
        self._took = took
        self._buffer = bytearray()
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:  # uvloop's transports are of a class of their own
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        head = ("GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket")
        transport.write("\r\n".join((*head, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "")).encode())

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"a client of {self.group} was not let in: {error}"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self.joined.set_exception(ConnectionError(bytes(buffer[:200])))
                return
            self._upgraded = True
            at = end + 4
            message = {"streamName": "feed", "groupId": self.group, "subscriptionId": "1"}
            self._send(json.dumps({"type": "join", "data": message}).encode())
        while (found := _message(buffer, at)) is not None:
            opcode, payload, at = found
            if opcode == 1:
                self._take(_frame(payload))
            elif opcode == 9:
                self._send(payload, 0x8A)
        del buffer[:at]

    def _send(self, payload: bytes, first: int = 0x81) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(bytes((first,)) + length + bytes(4) + payload)  # a mask of zeros: changes nothing

    def _take(self, frame: Frame) -> None:
        data = frame.event.data
        if isinstance(data, list):
            self.last = {item.id: item.n for item in data}
            self.joined.set_result(None)
            if self.sleeps:
                self.transport.pause_reading()
        elif data is not None:
            self.updates += 1
            missed = data.n - self.last.get(data.id, 0) - 1
            if missed < 0:
                self.doubled += 1
            self.lost += max(0, missed)
            self.last[data.id] = data.n
            if not self.sleeps:
                self._took.append(time.monotonic() - data.at)


def _message(buffer: bytearray, at: int) -> tuple[int, bytes, int] | None:
    """Opcode, payload and end of the frame that begins there, when all of it has come."""
    if len(buffer) < at + 2:
        return None
    size, begin = buffer[at + 1], at + 2
    if size > 125:
        more = 2 if size == 126 else 8
        if len(buffer) < begin + more:
            return None
        size, begin = int.from_bytes(buffer[begin : begin + more], "big"), begin + more
    end = begin + size
    return None if len(buffer) < end else (buffer[at] & 15, bytes(buffer[begin:end]), end)


def run_clients(pipe: Pipe, port: int, groups: int, clients: int, crowd: int, sleepers: int) -> None:
    async def connect(group: str, sleeps: bool, took: list[float]) -> Client:
        sock = socket.socket()
        if sleeps:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
            )  # as little as can be: what it does not read stays with the app
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        _, client = await loop.create_connection(lambda: Client(group, sleeps, took), sock=sock)
        await asyncio.wait_for(client.joined, CATCH_UP)
        return client

    async def main() -> None:
        took: list[float] = []
        began = time.perf_counter()
        wanted = [(f"g{n % groups}", False) for n in range(clients)] + [(HOT, False)] * crowd + [(HOT, True)] * sleepers
        everybody: list[Client] = []
        for first in range(0, len(wanted), 100):
            part = [connect(group, sleeps, took) for group, sleeps in wanted[first : first + 100]]
            everybody += await asyncio.gather(*part)
        pipe.send(time.perf_counter() - began)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, pipe.recv)
        for client in everybody:
            if client.sleeps and not client.closed:
                client.transport.resume_reading()
        final: Counts = await loop.run_in_executor(None, pipe.recv)  # once all is written
        deadline = time.monotonic() + CATCH_UP
        behind = everybody
        while behind and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            behind = [c for c in behind if c.last != final[c.group]]
        pipe.send(_counted(everybody, took, final))

    uvloop.run(main())


def _counted(everybody: list[Client], took: list[float], final: Counts) -> dict[str, Any]:
    kinds: dict[str, list[Client]] = {
        "readers": [c for c in everybody if c.group != HOT],
        "crowd": [c for c in everybody if c.group == HOT and not c.sleeps],
        "sleepers": [c for c in everybody if c.sleeps],
    }
    found: dict[str, Any] = {
        kind: {
            "clients": len(those),
            "written": sum(sum(final[c.group].values()) for c in those),
            "received": sum(c.updates for c in those),
            "left out": sum(c.lost for c in those),
            "doubled": sum(c.doubled for c in those),
            "sent away": sum(c.closed for c in those),
            "not up to date": sum(c.last != final[c.group] for c in those),
        }
        for kind, those in kinds.items()
    }
    found["took"] = statistics.quantiles(took, n=1000) if len(took) > 1 else []
    return found


def run_writers(pipe: Pipe, port: int, groups: int, rate: int, seconds: float) -> None:
    fill = "x" * HOT_BYTES

    async def write(places: list[tuple[str, str]], per_second: float, begin: float, counts: Counts) -> None:
        """One connection that writes its items in turn, at an even pace or as fast as it is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(round(per_second * seconds)):
            await asyncio.sleep(max(0.0, begin + turn / per_second - time.monotonic()))
            group, item = places[turn % len(places)]
            counts[group][item] = n = counts[group].get(item, 0) + 1
            body = json.dumps({"n": n, "at": time.monotonic(), "fill": fill if group == HOT else ""}).encode()
            head = f"PUT /feed/{group}/{item} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 204"), answer
        writer.close()

    async def main() -> None:
        names = [f"g{n}" for n in range(groups)]
        counts: Counts = {name: {} for name in (*names, HOT)}
        writers = min(WRITERS, groups)
        begin = time.monotonic()
        items = [f"i{n}" for n in range(ITEMS)]
        some = [[(name, item) for item in items for name in names[n::writers]] for n in range(writers)]
        await asyncio.gather(
            *(write(places, rate / writers, begin, counts) for places in some),
            *(write([(HOT, item)], HOT_RATE / ITEMS, begin, counts) for item in items),
        )
        pipe.send((counts, time.monotonic() - begin))

    uvloop.run(main())


def receive(pipe: Pipe, process: Any) -> Any:
    """What a process has to say; its end is an error before that."""
    while not pipe.poll(0.1):
        if not process.is_alive() and not pipe.poll():
            raise RuntimeError("a process of the benchmark has failed")
    return pipe.recv()


def resident(app: AppProcess) -> float:
    """MB of the app's own process."""
    lines = Path(f"/proc/{app.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def round_of(scale: float, seconds: float) -> bool:
    """One round, told in a table. False: it is not as it should be."""
    groups, clients = max(4, round(200 * scale)), max(8, round(2_000 * scale))
    rate = round(
        (1_000 - HOT_RATE) * scale
    )  # of the other groups; the hot one has its own in full, as else nothing fills up
    crowd, sleepers = max(2, round(CROWD * scale)), max(4, round(SLEEPERS * scale))
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, running_app(write_project(Path(name), SPEC, put=PUT)) as app:
        port = int(app.url.rpartition(":")[2])
        alone = resident(app)
        here, there = spawn.Pipe()
        followers = spawn.Process(target=run_clients, args=(there, port, groups, clients, crowd, sleepers), daemon=True)
        followers.start()
        joined = receive(here, followers)
        here_w, there_w = spawn.Pipe()
        writers = spawn.Process(target=run_writers, args=(there_w, port, groups, rate, seconds), daemon=True)
        connected = resident(app)
        began = time.monotonic()
        writers.start()
        memory: list[tuple[float, float]] = []
        asleep = True
        while not here_w.poll(0.25):
            memory.append((time.monotonic() - began, resident(app)))
            if asleep and memory[-1][0] > min(SLEEP, seconds):
                here.send("wake")
                asleep = False
            if not writers.is_alive():
                break
        final, spent = receive(here_w, writers)
        if asleep:
            here.send("wake")
        here.send(final)
        found = receive(here, followers)
        caught_up = resident(app)
        followers.join(10)
        writers.join(10)
    written = sum(sum(items.values()) for items in final.values())
    frames = sum(found[kind]["received"] for kind in ("readers", "crowd", "sleepers"))
    print(f"{clients + crowd + sleepers:,} clients joined {groups + 1} groups in {joined:.1f} s")
    print(
        f"{written:,} updates in {spent:.1f} s: {written / spent:,.0f}/s written, {frames / spent:,.0f} frames/s received"
    )
    if took := found.pop("took"):
        print(
            f"from the PUT to who reads: median {took[499] * 1000:.1f} ms, 99 % {took[989] * 1000:.1f} ms, 99.9 % {took[998] * 1000:.1f} ms"
        )
    columns = list(found["readers"])
    print("".join(f"{column:>16}" for column in ("", *columns)))
    for kind, row in found.items():
        print(f"{kind:>16}" + "".join(f"{row[column]:>16,}" for column in columns))
    early = max((mb for at, mb in memory if at <= spent / 5), default=connected)
    late = max(mb for _, mb in memory[-3:])
    print(
        f"memory of the app: {alone:.0f} MB alone, {connected:.0f} MB with its clients, {early:.0f} MB after a fifth, {late:.0f} MB at the end, {caught_up:.0f} MB after"
    )
    wrong = [
        f"{what} of {kind}: {found[kind][what]:,}"
        for kind, row in found.items()
        for what in ("left out", "doubled", "sent away", "not up to date")
        if row[what] and (kind, what) != ("sleepers", "left out")
    ]
    if not found["sleepers"]["left out"]:
        wrong.append("the sleepers missed nothing: the updates were too few to fill what lies between")
    if late > early * GROWTH:
        wrong.append(f"memory grew from {early:.0f} to {late:.0f} MB")
    print("as it should be" if not wrong else "WRONG: " + "; ".join(wrong))
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    right = [
        round_of(options.scale, options.seconds) for _ in range(options.rounds)
    ]  # each is told, whatever the ones before
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
