"""The HTTP application of one version of a project: its steps, the pages and health checks beside them, on Litestar."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from litestar import Litestar, Request
from litestar import Response as LitestarResponse
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler, asgi

from motia_runtime.client import client_pages
from motia_runtime.controls.rate_limit import Limiter
from motia_runtime.http import refusals
from motia_runtime.http.cors import CorsPolicy
from motia_runtime.http.endpoint import Codecs, PathEndpoint, StepEndpoint
from motia_runtime.http.guard import Receive, Scope, Send, Serve, refuse_socket, send_answer
from motia_runtime.http.limited import LimitedEndpoint
from motia_runtime.http.page import AnyPage, Page
from motia_runtime.http.problems import Header, Refused, problem
from motia_runtime.http.routes import Routes, shape
from motia_runtime.http.streams.routes import StreamRoutes
from motia_runtime.runner import Answer, ApiRunner
from motia_spec.model import ApiStep, Project

PAGE_HEADERS: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
PLAIN: Header = (b"content-type", b"text/plain; charset=utf-8")
PAGE_METHODS = b"GET, HEAD, OPTIONS"

log = logging.getLogger("motia.http")


class OwnPath(Protocol):
    """A path of ours in front of the app's own: answers like that of a step, and is none."""

    def step(self, method: str, /) -> None: ...
    def steps(self) -> list[Any]: ...
    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None: ...


Socket = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


@runtime_checkable
class SocketPath(OwnPath, Protocol):
    """Such a path, without parameters, which also answers handshakes of WebSockets."""

    async def socket(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Application(Litestar):
    """A Litestar application that looks among the steps first. Everything else (pages, health, handlers passed to
    `build_app`, 404) is Litestar's own routing. Why not steps as well: `routes`."""

    def __init__(
        self,
        steps: Routes[Any],
        handlers: Sequence[Any],
        streams: StreamRoutes | None = None,
        sockets: Mapping[str, Socket] | None = None,
    ) -> None:
        """`sockets`: WebSockets of ours, by path."""
        super().__init__(
            list(handlers),
            openapi_config=None,
            logging_config=None,
            exception_handlers={HTTPException: _http_problem, Exception: _failure},
        )
        self.steps = steps
        self.streams = streams
        self.sockets = sockets or {}
        self.fixed_steps: dict[
            tuple[str, bytes], Serve
        ] = {  # what `find_step` says of paths without parameters, none of them restricted
            (method, raw_path): endpoint.serve
            for raw_path, path in steps.literals()
            if b"/__" not in raw_path and b"%" not in raw_path
            for method, endpoint in path.steps()
        }

    def find_step(self, method: str, raw_path: bytes) -> tuple[Serve, list[str]] | None:
        """What serves a request that a step answers; None for any other."""
        try:
            found = self.steps.find(raw_path)
        except Refused:
            return None
        endpoint = None if found is None else found[0].step(method)
        return None if found is None or endpoint is None else (endpoint.serve, found[1])

    # Not `async def`, which would be one more coroutine per request: it returns one.
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  # a coroutine all the same
        self, scope: Any, receive: Any, send: Any
    ) -> Coroutine[Any, Any, None]:
        if scope["type"] == "http":
            try:
                found = self.steps.find(scope["raw_path"])
            except Refused as refusal:
                refusals.count(refusals.UNMATCHED, refusal.status)
                return send_answer(scope, send, refusal.answer())
            if found is not None:
                return found[0](scope, receive, send, found[1])  # type: ignore[no-any-return]  # a step's path, or one of ours
        elif scope["type"] == "websocket":  # that of the streams at any other path
            own = self.sockets.get(scope["path"])
            if own is not None:
                return own(scope, receive, send)
            if self.streams is not None:
                return self.streams.socket(scope, receive, send)
            refusals.count(refusals.UNMATCHED, 404)
            return refuse_socket(scope, send, problem(404, "This app has no streams."))
        return super().__call__(scope, receive, send)


def build_app(
    project: Project,
    types: Codecs,
    runner: ApiRunner,
    *,
    ready: Callable[[], bool],
    pages: Mapping[str, AnyPage] | None = None,
    handlers: Sequence[Any] = (),
    runners: Mapping[str, ApiRunner] | None = None,
    limiters: Mapping[str, Limiter] | None = None,
    ours: Mapping[str, OwnPath] | None = None,
    streams: StreamRoutes | None = None,
) -> Application:
    """The application for `project`. `pages`: path to page, or to a function that makes it at each request. `handlers`: further Litestar
    route handlers. A step of the same path goes before either. `runners`, `limiters`: of the steps that have one of their own, by name. `ours`: by path,
    which no step's path goes before. A project with streams has their client beside. `streams`: who follows them."""
    cors = CorsPolicy(project.server.cors) if project.server.cors and project.server.cors.origins else None
    routes: Routes[Any] = Routes()
    paths: dict[str, PathEndpoint] = {}
    for step in project.steps.values():
        if not isinstance(step, ApiStep):
            continue
        path = paths.get(shape(step.path))
        if path is None:
            path = paths[shape(step.path)] = PathEndpoint(cors)
            routes.add(step.path, path)
        own = (runners or {}).get(step.name, runner)
        limiter = (limiters or {}).get(step.name)
        endpoint = (
            StepEndpoint(step, types, own, cors)
            if limiter is None
            else LimitedEndpoint(step, types, own, cors, limiter)
        )
        for method in step.methods:
            path.add(method, endpoint)
    for template, path_of_ours in {**(ours or {}), **(streams.paths if streams is not None else {})}.items():
        routes.add(template, path_of_ours)
    sockets = {path: each.socket for path, each in (ours or {}).items() if isinstance(each, SocketPath)}
    if project.streams:
        pages = {**client_pages(), **(pages or {})}
    system = [_health(), _readiness(ready), *(_page(path, page) for path, page in (pages or {}).items())]
    return Application(routes, [*system, *handlers], streams, sockets)


def _health() -> ASGIRouteHandler:
    return _fixed("/healthz", lambda: Answer(200, (PLAIN,), b"ok\n"))


def _readiness(ready: Callable[[], bool]) -> ASGIRouteHandler:
    return _fixed(
        "/readyz",
        lambda: Answer(200, (PLAIN,), b"ready\n") if ready() else problem(503, "The application is not ready."),
    )


def _page(path: str, page: AnyPage) -> ASGIRouteHandler:
    def answer(page: Page) -> Answer:
        return Answer(200, ((b"content-type", page.content_type.encode()), *PAGE_HEADERS), page.body)

    if isinstance(page, Page):
        made = answer(page)
        return _fixed(path, lambda: made)
    return _fixed(path, lambda: answer(page()))


def _fixed(path: str, answer: Callable[[], Answer]) -> ASGIRouteHandler:
    """A handler of GET and HEAD that takes nothing from the request."""

    @asgi(path, copy_scope=False)
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        method = scope["method"]
        if method in ("GET", "HEAD"):
            await send_answer(scope, send, answer())
        elif method == "OPTIONS":
            await send_answer(scope, send, Answer(204, ((b"allow", PAGE_METHODS),), b""))
        else:
            refusals.count(path, 405)
            detail = f"{method} is not among the methods of this path: {PAGE_METHODS.decode()}."
            await send_answer(scope, send, problem(405, detail, headers=((b"allow", PAGE_METHODS),)))

    return handler


def _respond(answer: Answer) -> LitestarResponse[bytes]:
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    media_type = headers.pop("content-type")
    return LitestarResponse(answer.body, status_code=answer.status, headers=headers, media_type=media_type)


def _http_problem(request: Request[Any, Any, Any], error: HTTPException) -> LitestarResponse[bytes]:
    if error.status_code >= 500:
        return _failure(request, error)
    refusals.count(refusals.UNMATCHED, error.status_code)
    detail = "There is nothing at this path." if error.status_code == 404 else error.detail
    headers = tuple((k.lower().encode(), str(v).encode("latin-1")) for k, v in (error.headers or {}).items())
    return _respond(problem(error.status_code, detail, headers=headers))


def _failure(request: Request[Any, Any, Any], error: Exception) -> LitestarResponse[bytes]:
    log.error("unhandled error while answering %s", request.scope["path"], exc_info=error)
    return _respond(problem(500, "The request could not be answered."))


__all__ = ["Application", "OwnPath", "SocketPath", "build_app"]
