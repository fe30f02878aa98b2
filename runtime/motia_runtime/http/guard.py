"""The door: who may ask (Host, Origin), and which application answers.

DNS rebinding lets any web page talk to a server on this machine under a name of its own, so a request is answered only under names we
know, before anything is routed. Our own pages and calls (`/__motia`, `/__workbench`) also refuse what another site's page sends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from motia_runtime.http import refusals
from motia_runtime.http.problems import Refused
from motia_runtime.runner import Answer

if TYPE_CHECKING:
    from motia_runtime.http.cycle import Cycle

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
Serve = Callable[[Any, list[str]], Coroutine[Any, Any, None]]  # of an exchange and the parameters in its path
Find = Callable[[str, bytes], tuple[Serve, list[str]] | None]  # by method and path

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS = ("", "0.0.0.0", "::", "[::]")  # noqa: S104  # compared with, not bound to
WORKBENCH = "/__workbench"
RESTRICTED = ("/__motia", WORKBENCH)
STREAMS = "/__motia/streams/"  # restricted as well, but pages of the origins in `server.cors` may read them
DIRECT = "motia.answer"  # key of the scope: our server's way to take a whole response at once (`cycle`)
KNOWN_HOSTS = 256  # verdicts kept
DRAIN = 10.0  # seconds that requests of a replaced application may take

_SLASHES = re.compile("//+")
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")


def host_name(host: str) -> str | None:
    """The name in a Host value, in lower case, without port; IPv6 addresses in brackets and shortest form. None when malformed."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    if (name := match["name"]) is not None:
        return str(name).lower()
    try:
        return f"[{ipaddress.IPv6Address(match['v6'])}]"
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from this machine alone."""
    return host in LOOPBACK or host == "::1" or host.startswith("127.")


def _as_host(host: str) -> str:
    """A host of the spec, which may be a bare IPv6 address, as `host_name` gives it."""
    host = host.strip()
    name = host_name(f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host)
    return host.lower() if name is None else name


class Hosts:
    """The names this server answers to, and the origins that may open WebSockets besides its own (those of `server.cors`).

    `open`: any name, for application routes only (a public server without `server.hosts`).
    """

    def __init__(self, host: str, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        listed = [_as_host(h) for h in hosts]
        own = [] if host in WILDCARDS else [_as_host(host)]
        self.names = frozenset([*LOOPBACK, *own, *listed])
        bound = own[0] if own else ""
        self.open = not listed and bound not in LOOPBACK and not bound.startswith("127.")
        self.origins = frozenset(origin.rstrip("/").lower().encode() for origin in origins)
        self._known: dict[bytes, str | None] = {}
        self._passed: set[bytes] = set()

    def passes(self, host: bytes) -> bool:
        """Whether `check` lets this Host ask for what is not restricted."""
        if host in self._passed:
            return True
        try:
            self.check(host, restricted=False)
        except Refused:
            return False
        if len(self._passed) >= KNOWN_HOSTS:
            self._passed.clear()
        self._passed.add(host)
        return True

    def check(self, host: bytes, restricted: bool) -> None:
        """Raises `Refused`: 400 for a malformed Host, 421 for a foreign one."""
        known = self._known
        if host in known:
            name = known[host]
        else:
            name = host_name(host.decode("latin-1"))
            if len(known) >= KNOWN_HOSTS:
                known.clear()
            known[host] = name
        if name is None:
            raise Refused(400, "The Host header is not a host name with an optional port.")
        if name in self.names or (self.open and not restricted):
            return
        raise Refused(421, f"This server does not answer for {name!r}; add it to server.hosts to change that.")


def _check_site(headers: list[tuple[bytes, bytes]], host: bytes, origins: frozenset[bytes]) -> None:
    """Refuse what another site's page sends: by Origin (also "null") unless it is in `origins`, by Sec-Fetch-Site."""
    if origins and any(name == b"origin" and value.lower() in origins for name, value in headers):
        return
    for name, value in headers:
        if name == b"origin":
            scheme, mark, authority = value.partition(b"://")
            if not mark or scheme not in (b"http", b"https") or authority.lower() != host.lower():
                raise Refused(403, "This address is only for pages of this server itself.")
        elif name == b"sec-fetch-site" and value.lower() == b"cross-site":
            raise Refused(403, "This address is not for other sites.")


class _Served:
    """One application with its requests in flight."""

    __slots__ = ("app", "find", "fixed", "idle", "in_flight")

    def __init__(self, app: App) -> None:
        self.app = app
        self.fixed: Mapping[tuple[str, bytes], Serve] = getattr(app, "fixed_steps", {})
        self.find: Find | None = getattr(app, "find_step", None)
        self.in_flight = 0
        self.idle: asyncio.Event | None = None  # made when somebody waits for it

    def leave(self) -> None:
        self.in_flight -= 1
        if self.idle is not None and not self.in_flight:
            self.idle.set()


class Switch:
    """The outermost ASGI callable. Lives as long as the server; the application behind it can be replaced between two requests.

    Applications get no lifespan events: what a step needs is opened and closed by the engine, not by the HTTP side.
    """

    def __init__(self, app: App, hosts: Hosts, *, counted: bool = True) -> None:
        """`counted`: requests that are refused here are among those of the app (`refusals`)."""
        self._served = _Served(app)
        self.hosts = hosts
        self._counted = counted

    @property
    def current(self) -> App:
        return self._served.app

    @property
    def in_flight(self) -> int:
        """Requests the current application is answering."""
        return self._served.in_flight

    async def swap(self, app: App, *, hosts: Hosts | None = None, timeout: float = DRAIN) -> bool:
        """Answer every request from now on with `app`, then wait until the old one has answered what it had begun, `timeout`
        seconds at most. False: some of it still runs (and will run to its end)."""
        old, self._served = self._served, _Served(app)
        if hosts is not None:
            self.hosts = hosts
        if old.in_flight:
            old.idle = asyncio.Event()
            try:
                await asyncio.wait_for(old.idle.wait(), timeout)
            except TimeoutError:
                return False
        return True

    def take(self, cycle: Cycle) -> Coroutine[Any, Any, None] | None:
        """The short way from our own server to a step: what is to be run, or None for what goes the way of ASGI. The same checks, and no scope,
        messages and coroutines of the layers in between."""
        if not self.hosts.passes(cycle.host):
            return None  # to be refused
        served = self._served
        path = cycle.raw_path
        values: list[str] = []
        serve = served.fixed.get((cycle.method, path))
        if serve is None:
            if b"/__" in path or b"%" in path or served.find is None:
                return None  # perhaps restricted
            found = served.find(cycle.method, path)
            if found is None:
                return None
            serve, values = found
        served.in_flight += 1
        cycle.leave = served.leave
        return serve(cycle, values)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            return
        host = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                break
        try:
            # Litestar takes several slashes for one, so this does as well
            path = _SLASHES.sub("/", scope["path"]) if "/__" in scope["path"] else ""
            if kind == "websocket" or path.startswith(RESTRICTED):
                self.hosts.check(host, restricted=True)
                shared = path.startswith(STREAMS) or (kind == "websocket" and not path.startswith(WORKBENCH))
                _check_site(scope["headers"], host, self.hosts.origins if shared else frozenset())
            else:
                self.hosts.check(host, restricted=False)
        except Refused as refusal:
            if self._counted:
                refusals.count(refusals.UNMATCHED, refusal.status)
            if kind == "websocket":
                await refuse_socket(scope, send, refusal.answer())
            else:
                await send_answer(scope, send, refusal.answer())
            return
        served = self._served
        served.in_flight += 1
        try:
            await served.app(scope, receive, send)
        finally:
            served.leave()


async def refuse_socket(scope: Scope, send: Send, answer: Answer) -> None:
    """Answer a handshake: with this where the server can, else with its own 403."""
    if "websocket.http.response" not in scope.get("extensions", ()):
        await send({"type": "websocket.close", "code": 1008})
        return
    start = {"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": answer.body})


async def send_answer(scope: Scope, send: Send, answer: Answer, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Send a whole response: to our own server with one call, which saves two messages and two coroutines, to others as ASGI has it."""
    direct = scope.get(DIRECT)
    if direct is not None and direct(answer.status, answer.headers + extra, answer.body):
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers + extra})
    await send({"type": "http.response.body", "body": answer.body})
