"""Where `MOTIA_METRICS` says: a server of its own, so that the app's port tells the world nothing of how the app does."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from motia_runtime.engine import Engine
from motia_runtime.http.guard import Hosts, Receive, Scope, Send, Switch, send_answer
from motia_runtime.http.listen import CannotListen, PortTaken
from motia_runtime.http.problems import NOSNIFF, problem
from motia_runtime.http.server import Server, serve
from motia_runtime.metrics.counts import RunCounts
from motia_runtime.metrics.now import Queues, of_engine, of_process
from motia_runtime.metrics.text import CONTENT_TYPE
from motia_runtime.otlp.telemetry import Telemetry
from motia_runtime.ports import Log
from motia_runtime.runner import Answer
from motia_spec.model import Project

SETTING = "MOTIA_METRICS"  # environment variable: PORT or HOST:PORT; empty: no metrics
DEFAULT_HOST = "127.0.0.1"

_log = logging.getLogger("motia.metrics")


class Metrics:
    """Of one process. Lives as long as it; `count` and `show` give it a version of the app. `start` and `stop` once each."""

    def __init__(self, host: str, port: int, log: Log, *, shared: bool) -> None:
        """`shared`: one of several processes with the same setting, which take the ports from this one on."""
        self._host = host
        self._port = port
        self._log = log
        self._shared = shared
        self._counts = RunCounts()
        self._queues = Queues(log)
        self._engine: Engine | None = None
        self._project: Project | None = None
        self._server: Server | None = None
        self.telemetry: Telemetry | None = None  # what is exported, if anything is

    @property
    def port(self) -> int:
        """That it listens on, once started."""
        assert self._server is not None
        return self._server.port

    def count(self, engine: Engine) -> None:
        """Its runs, with those of older versions. Before it starts, so that none is missed."""
        engine.records.meter = self._counts.count

    def show(self, engine: Engine, project: Project) -> None:
        """As the version that runs now."""
        self._engine, self._project = engine, project

    async def start(self) -> None:
        """Raises `CannotListen`."""
        app = Switch(self._serve, Hosts(self._host, ()), counted=False)
        try:
            self._server = await serve(app, host=self._host, port=self._port, find_free=self._shared)
        except PortTaken as taken:
            by = f" by {taken.holder}" if taken.holder else ""
            raise CannotListen(
                f"{SETTING}: port {taken.port} on {self._host} is already in use{by}; stop it, or choose another port"
            ) from taken
        except CannotListen as refused:
            raise CannotListen(f"{SETTING}: {refused.strerror}") from refused
        _log.info("metrics at %s/metrics", self._server.url.removeprefix("http://"))

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    async def page(self) -> bytes:
        assert self._engine is not None
        assert self._project is not None
        self._engine.records.flush()  # what has ended is counted
        queues = await self._queues.lines(self._project)
        lines = [*self._counts.lines(), *queues, *of_engine(self._engine, self._log), *of_process()]
        if self.telemetry is not None:
            lines += self.telemetry.lines()
        return "".join(lines).encode()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["path"] != "/metrics":
            answer = problem(404, "There is only /metrics here.")
        elif scope["method"] not in ("GET", "HEAD"):
            answer = problem(405, "Metrics are read with GET.", headers=((b"allow", b"GET, HEAD"),))
        else:
            answer = Answer(200, ((b"content-type", CONTENT_TYPE), NOSNIFF), await self.page())
        await send_answer(scope, send, answer)


def metrics_of(environ: Mapping[str, str], log: Log, *, shared: bool) -> Metrics | None:
    """What the environment asks for. Raises `CannotListen` for what is no address."""
    setting = environ.get(SETTING, "").strip()
    if not setting:
        return None
    host, _, port = setting.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise CannotListen(f"{SETTING} is {setting!r}, and should be PORT or HOST:PORT, such as 9464 or 0.0.0.0:9464")
    return Metrics(host.strip("[]") or DEFAULT_HOST, int(port), log, shared=shared)
