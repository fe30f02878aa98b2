"""By the HTTP API of the app's Workbench: one connection, and what its refusals mean to who gave the command."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
import msgspec

from motia_runtime.cli.errors import Failure
from motia_runtime.cli.reach.app import Names, StepNames
from motia_runtime.cli.reach.url import Base, parse_url
from motia_runtime.handler import Fault, ValidationFailed

CONNECT = 10.0  # seconds to connect
ANSWER = 60.0  # seconds of silence of an app that is asked
NO_PATH = "The Workbench's API has no such path"  # how the app says that it is older than the question
MARK = {"X-Motia-Workbench": "1"}

T = TypeVar("T")


class Unreachable(Failure):
    """Nothing answers, or nothing that could be understood."""


class NotThere(Failure):
    """The app has no such thing. The message is the app's."""


class Gone(NotThere):
    """Any more: it has had its end."""


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    errors: list[Fault] = []


class Http:
    """Lives as long as the command; connects when it is asked. Every method raises `Failure` for what has gone wrong, and `ValidationFailed`."""

    def __init__(self, base: Base, token: str | None) -> None:
        self._base = base
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    async def get(self, kind: type[T], *path: str | int, **query: str | float | None) -> T:
        """The answer, as that type. Parameters that are None are left out."""
        return self._read(kind, await self._ask("GET", path, query, None))

    async def send(self, kind: type[T], method: str, *path: str | int, body: Any = None, **query: str | float) -> T:
        """Change something. `body`: what is sent as JSON."""
        data = msgspec.json.encode({} if body is None else body) if method != "DELETE" else None
        # a connection that has lain idle may be gone when it is used, and nobody could tell then what has been done
        self.close()
        return self._read(kind, await self._ask(method, path, query, data))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- one request

    async def _ask(self, method: str, path: tuple[str | int, ...], query: dict[str, Any], body: bytes | None) -> bytes:
        target = self._base.path + "/__workbench/api/" + "/".join(quote(str(part), safe="") for part in path)
        if words := {name: str(value) for name, value in query.items() if value is not None}:
            target += "?" + urlencode(words)
        used = self._connection is not None
        try:
            status, kind, data = await self._exchange(method, target, body)
        except Unreachable:
            if not used:
                raise
            status, kind, data = await self._exchange(method, target, body)  # the app had closed it meanwhile
        if status == 200 and kind == "application/json":
            return data
        raise self._refusal(status, kind, data)

    async def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, str, bytes]:
        """In a thread, so that ^C ends it: then the connection is shut, and the thread ends with it."""
        if self._connection is None:
            self._connection = self._base.connection(CONNECT)
        connection = self._connection
        headers = dict(MARK)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"

        def work() -> tuple[int, str, bytes]:
            if connection.sock is None:
                connection.connect()
                assert connection.sock is not None
                connection.sock.settimeout(ANSWER)
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            kind = (answer.getheader("content-type") or "").partition(";")[0].strip().lower()
            return answer.status, kind, answer.read()

        try:
            return await asyncio.to_thread(work)
        except asyncio.CancelledError:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self.close()
            raise Unreachable(self._explain(problem)) from problem

    def _explain(self, problem: Exception) -> str:
        where = self._base.shown
        match problem:
            case ssl.SSLCertVerificationError():
                return (
                    f"the certificate of {where} is not trusted: {problem.verify_message}; "
                    "SSL_CERT_FILE names the file with the certificate of an authority of your own"
                )
            case ssl.SSLError():
                return f"no TLS with {where} ({problem.reason or problem}); if it has none, the address begins with http://"
            case TimeoutError():
                return f"{where} does not answer in time"
            case http.client.HTTPException() | ConnectionResetError() | BrokenPipeError():
                hint = "" if self._base.secure else "; if it wants TLS, the address begins with https://"
                return f"{where} answers, but not in HTTP, or it has closed the connection{hint}"
            case socket.gaierror():
                return f"{where} can't be reached: no address is known for {self._base.host!r}"
            case OSError():
                why = problem.strerror or str(problem)
                return f"{where} can't be reached: {why}; is the app running there?"
        return f"{where} can't be asked: {problem}"

    def _read(self, kind: type[T], data: bytes) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Failure(
                f"{self._base.shown} answers in a way that this version does not understand ({problem}); is it a Motia app of another version?"
            ) from None

    def _refusal(self, status: int, kind: str, data: bytes) -> Exception:
        where = self._base.shown
        if kind != "application/problem+json":
            if 300 <= status < 400:
                return Failure(f"{where} leads elsewhere (status {status}); give the address that it leads to")
            return Failure(f"{where} is no Motia app: it answers with status {status} and {kind or 'nothing'}")
        try:
            told = msgspec.json.decode(data, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            told = _Problem()
        detail = (told.detail or told.title).removesuffix(".")
        if status == 401:
            why = "another token than that" if self._token else "a token"
            return Failure(
                f"{where} wants {why}: set MOTIA_TOKEN, or give --token; it is the one in MOTIA_ADMIN_TOKEN where the app runs, or that `motia dev` has printed"
            )
        if status == 404 and detail.startswith(NO_PATH):
            return Failure(
                f"the app at {where} is older than this command and can't answer it; update it, or leave out --url to go to its broker"
            )
        if status in (404, 410):
            return (NotThere if status == 404 else Gone)(detail)
        if status == 422 and told.errors:
            what = told.title.removeprefix("The ").removesuffix(" does not fit its schema")
            return ValidationFailed(what, told.errors)
        return Failure(detail or f"{where} answers with status {status}")


class HttpApp:
    """The app at an address. It is asked at once what it consists of, so whatever is wrong with the address is told first. Raises `Failure`, `UsageError`."""

    def __init__(self, url: str, token: str | None) -> None:
        self._base = parse_url(url)
        self._token = token or self._base.token
        if self._token is not None and not (self._token.isascii() and self._token.isprintable()):
            raise click.UsageError("the token holds characters that no token has")  # not shown: it may be a secret
        self.names = self._ask_names()

    def _ask_names(self) -> Names:
        async def go() -> _App:
            async with self.open() as way:
                try:
                    return await way.get(_App, "app")
                except NotThere:
                    raise Failure(
                        f"{self._base.shown} answers, but has no API for commands there: `motia start` serves it with --workbench only"
                    ) from None

        app = asyncio.run(go())
        steps = {
            step.name: StepNames(step.kind, tuple(sorted({s.name for s in step.subscribes if s.kind == "topic"})))
            for step in app.steps
        }
        flows = {flow.name: tuple(flow.steps) for flow in app.flows}
        return Names(steps, frozenset(topic.name for topic in app.topics), flows)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Http]:
        way = Http(self._base, self._token)
        try:
            yield way
        finally:
            way.close()


class _Subscription(msgspec.Struct):
    kind: str
    name: str


class _Step(msgspec.Struct):
    name: str
    kind: str
    subscribes: list[_Subscription]


class _Named(msgspec.Struct):
    name: str


class _Flow(msgspec.Struct):
    name: str
    steps: list[str]


class _App(msgspec.Struct):
    """Of what `GET app` tells, what is needed here."""

    steps: list[_Step]
    topics: list[_Named]
    flows: list[_Flow]
