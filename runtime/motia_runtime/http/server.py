"""The HTTP server, in the event loop of whoever starts it: no process, thread or signal handler of its own, no access log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import Any

from uvicorn.config import Config

from motia_runtime.http.listen import CannotListen, PortTaken, listen, shown_url
from motia_runtime.http.protocol import Connection
from motia_runtime.http.shared import Limits, State

GRACE = 10.0  # seconds that running requests may take once the server stops

log = logging.getLogger("motia.http")


class Server:
    """Has its port from the beginning; answers from `start` until `stop`."""

    def __init__(self, app: Any, host: str, asked_port: int, sockets: list[socket.socket], limits: Limits) -> None:
        self.host = host
        self.asked_port = asked_port
        self.port: int = sockets[0].getsockname()[1]
        self._sockets = sockets
        self._state = State(limits)
        self._config = Config(
            app,
            loop="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    @property
    def moved(self) -> bool:
        """The port that was asked for was taken, and this is another."""
        return self.asked_port not in (0, self.port)

    @property
    def url(self) -> str:
        return shown_url(self.host, self.port)

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    async def start(self) -> None:
        """Take connections, also those that have waited since the port was taken."""
        loop = asyncio.get_running_loop()
        self._config.load()
        self._state.tick(time.time())
        for sock in self._sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: Connection(self._config, self._state, {}, loop), sock=sock, backlog=2048
                )
            )
        self._sweeper = loop.create_task(self._sweep(loop))

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        limits = self._state.limits
        shortest = min(
            limits.header_timeout,
            limits.body_timeout,
            limits.idle_timeout,
            limits.write_timeout,
            limits.linger,
            limits.ping_interval,
        )
        while True:
            self._state.tick(time.time())
            now = loop.time()
            for connection in list(self._state.connections):
                if isinstance(connection, Connection):
                    connection.check(now)
            await asyncio.sleep(min(1.0, shortest / 4))

    async def wait_stopped(self) -> None:
        await self._stopped.wait()

    async def stop(self, grace: float = GRACE) -> int:
        """Accept nothing more, answer what has begun (`grace` seconds at most), close. Returns how many requests were cut off."""
        state = self._state
        state.draining = True
        for server in self._servers:
            server.close()
        if not self._servers:
            for sock in self._sockets:
                sock.close()
        for connection in list(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(state.empty.wait(), grace)
        if state.tasks:
            log.warning("%d requests were still running after %g s and are cut off", len(state.tasks), grace)
        cut = list(state.tasks)
        for task in cut:
            task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*cut, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        self._stopped.set()
        return len(cut)


def bind(
    app: Any, *, host: str, port: int, find_free: bool = False, share: bool = False, limits: Limits | None = None
) -> Server:
    """A server that has its port and answers nobody yet: clients wait until `Server.start`. `find_free`: when the port is taken use the next
    free one (then `Server.moved`). `share`: other processes serve the same port; clients go to those that have started.
    Raises `PortTaken`, `CannotListen`."""
    return Server(app, host, port, listen(host, port, find_free=find_free, share=share), limits or Limits())


async def serve(app: Any, *, host: str, port: int, find_free: bool = False, limits: Limits | None = None) -> Server:
    """Listen and answer with the ASGI application `app`, until `Server.stop`. Parameters and errors as of `bind`."""
    server = bind(app, host=host, port=port, find_free=find_free, limits=limits)
    try:
        await server.start()
    except BaseException:
        await server.stop(0)
        raise
    return server


__all__ = ["CannotListen", "Limits", "PortTaken", "Server", "bind", "serve"]
