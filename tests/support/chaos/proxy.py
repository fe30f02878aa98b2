"""A TCP proxy in user space between an app and its broker: passes, cuts, swallows, stalls or drips.

pass    bytes go both ways
cut     connections are reset, new ones refused
hole    half open: whatever is sent vanishes, nobody is told; reset when it ends, unless it is to stay so (`forget`)
stall   nothing moves, nothing is lost; goes on when it ends
drip    each piece 20 ms later
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Literal

Mode = Literal["pass", "cut", "hole", "stall", "drip"]

PIECE = 65536  # bytes
DRIP = 0.02  # seconds


class Proxy:
    """Runs in a thread of its own until `close`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._mode: Mode = "pass"
        self._flows = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._lost: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="chaos-proxy", daemon=True)
        self._thread.start()
        ready.wait(5)
        assert self.port, "the proxy did not get a port"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def turn(self, mode: Mode) -> None:
        asyncio.run_coroutine_threadsafe(self._turn(mode), self._loop).result(5)

    def forget(self) -> None:
        """Let new connections through again; those that are in the hole stay there, and nobody ever tells."""
        asyncio.run_coroutine_threadsafe(self._forget(), self._loop).result(5)

    async def _forget(self) -> None:
        self._lost |= self._open
        self._mode = "pass"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    async def _turn(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        if mode == "cut" or was == "hole":
            for writer in list(self._open):
                writer.transport.abort()
        if mode == "stall":
            self._flows.clear()
        else:
            self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "cut":
            writer.transport.abort()
            return
        self._open.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            if self._mode == "hole":  # accepted by something that is not there
                while await reader.read(PIECE):
                    continue
                return
            from_broker, other = await asyncio.open_connection("127.0.0.1", self._to)
            self._open.add(other)
            both = [
                self._loop.create_task(self._pump(reader, other)),
                self._loop.create_task(self._pump(from_broker, writer)),
            ]
            self._tasks.update(both)
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            self._tasks.difference_update(both)
        except OSError:  # the broker is away
            pass
        finally:
            for end in (writer, other):
                if end is not None:
                    self._open.discard(end)
                    self._lost.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                if self._mode == "drip":
                    await asyncio.sleep(DRIP)
                await self._flows.wait()
                if self._mode != "hole" and writer not in self._lost:
                    writer.write(piece)
                    await writer.drain()
