"""Everything below `/__workbench`: who may ask, and what answers.

The guard in front of the app (`http.guard`) has refused foreign hosts and other sites' pages. Here, beyond that: each request to the API carries the
header `X-Motia-Workbench`, which no page of another origin can send without asking first, and is never allowed to; and where there is a token, the token.
A page can't set headers of a WebSocket, and browsers always say its origin, which the guard has looked at: the live channel takes the token in its
first message, never in its address, which ends up in logs.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from motia_runtime.handler import InvalidKey, InvalidTopic, ValidationFailed
from motia_runtime.http.body import ClientGone
from motia_runtime.http.guard import Receive, Scope, Send, send_answer
from motia_runtime.http.problems import NOSNIFF, Header, Refused, problem
from motia_runtime.http.routes import Routes, shape
from motia_runtime.http.tasks import TOKEN, Access
from motia_runtime.ports import LogUnavailable, TooLarge
from motia_runtime.runner import Answer
from motia_runtime.standings import NotPausable
from motia_runtime.tasks import NoTask, TaskEnded, WhichTopic
from motia_runtime.workbench.assets import GUARDED, load_assets
from motia_runtime.workbench.bench import Bench, Gone, Missing
from motia_runtime.workbench.call import Ask, Call
from motia_runtime.workbench.live import Hub
from motia_spec.model import ApiStep, Project

ROOT = "/__workbench"
API = f"{ROOT}/api/"
LIVE = API + "live"
HEADER = b"x-motia-workbench"
JSON: tuple[Header, ...] = ((b"content-type", b"application/json"), NOSNIFF, (b"cache-control", b"no-store"))
PAGE_METHODS = b"GET, HEAD, OPTIONS"
GREETING = 10.0  # seconds until the first message on the live channel has to be there
LOCKED, GARBLED = 4401, 4400  # close codes: without the token; the first message is none

log = logging.getLogger("motia.workbench")


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of a browser on the live channel."""

    token: str | None = None


class Site:
    """Of one version of an app. Serves requests as a step's path does (`endpoint.PathEndpoint`)."""

    def __init__(self, bench: Bench, allowed: Access, routes: Mapping[str, Mapping[str, Ask]], hub: Hub) -> None:
        self._bench = bench
        self._token = allowed.token
        self._assets = load_assets()
        self._routes: Routes[Mapping[str, Ask]] = Routes()
        for path, methods in routes.items():
            self._routes.add(API + path, methods)
        self.hub = hub

    def paths(self, project: Project) -> dict[str, Site | LivePath]:
        """By path template, for `build_app`: also the site's root, when no step has that."""
        taken = any(isinstance(step, ApiStep) and shape(step.path) == "/" for step in project.steps.values())
        return {ROOT: self, LIVE: LivePath(self), ROOT + "/{rest:path}": self, **({} if taken else {"/": self})}

    def step(self, _method: str) -> None:
        """No step answers here."""

    def steps(self) -> list[Any]:
        return []

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        path = scope["raw_path"].decode("latin-1")
        try:
            if not path.startswith(API):
                await send_answer(scope, send, self._page(scope, path))
                return
            self._check(scope)
            if path == LIVE and scope["method"] == "GET":
                upgrade = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"))
                raise Refused(
                    426, "The live channel is a WebSocket; docs/workbench-api.md says how to.", headers=upgrade
                )
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Refused as refusal:
            answer = refusal.answer()
        await send_answer(scope, send, answer)

    async def live(self, receive: Receive, send: Send) -> None:
        """Serve one WebSocket of the live channel."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        try:
            async with asyncio.timeout(GREETING):
                message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            greeting = msgspec.json.decode(message.get("text") or "", type=Greeting)
        except (TimeoutError, msgspec.DecodeError, RecursionError):
            reason = 'the first message is {"token": "..."}, or {} where there is none'
            await send({"type": "websocket.close", "code": GARBLED, "reason": reason})
            return
        if self._opens((greeting.token or "").encode()):
            await self.hub.serve(receive, send)
        else:
            await send({"type": "websocket.close", "code": LOCKED, "reason": "the token is missing or wrong"})

    # -- files

    def _page(self, scope: Scope, path: str) -> Answer:
        """A file of the front end; its page for every other address, which the page itself makes sense of."""
        if scope["method"] not in ("GET", "HEAD"):
            detail = f"{scope['method']} is not among the methods of this path: {PAGE_METHODS.decode()}."
            return problem(405, detail, headers=((b"allow", PAGE_METHODS),))
        name = path.removeprefix(ROOT).lstrip("/")
        if name.startswith("ui/"):
            asset = self._assets.get(name[3:])
            if asset is None:
                return problem(404, "The Workbench has no such file.")
        else:
            asset = self._assets["index.html"]
        for key, value in scope["headers"]:
            if key == b"if-none-match" and value == asset.tag:
                return Answer(304, GUARDED, b"")
        return Answer(200, asset.headers, asset.body)

    # -- the API

    def _check(self, scope: Scope) -> None:
        """Raises `Refused`: 403 without the header, 401 without the token."""
        given: list[bytes] = []
        marked = False
        for name, value in scope["headers"]:
            if name == HEADER:
                marked = True
            elif name == b"authorization":
                given.append(value)
        if not marked:
            raise Refused(403, "Send the header X-Motia-Workbench: 1; it keeps other sites' pages out.")
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        if not self._opens(token.strip() if scheme.lower() == b"bearer" else b""):
            raise Refused(
                401,
                f"Send Authorization: Bearer with the token: that of {TOKEN}, or the one that `motia dev` has printed.",
                headers=((b"www-authenticate", b"Bearer"),),
            )

    def _opens(self, token: bytes) -> bool:
        """Whether it is the token, or none is needed."""
        return self._token is None or hmac.compare_digest(token, self._token.encode())

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        try:
            found = self._routes.find(scope["raw_path"])
            if found is None:
                return problem(404, "The Workbench's API has no such path; docs/workbench-api.md lists those it has.")
            methods, values = found
            ask = methods.get(method)
            if ask is None:
                allow = ", ".join(methods)
                detail = f"{method} is not among the methods of this path: {allow}."
                return problem(405, detail, headers=((b"allow", allow.encode()),))
            return Answer(200, JSON, msgspec.json.encode(await ask(Call(self._bench, scope, receive, values))))
        except (ClientGone, Refused):
            raise
        except Exception as error:
            return _problem(error, scope["path"])


class LivePath:
    """The path of the live channel. Answers requests as the site does."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def step(self, method: str) -> None:
        self._site.step(method)

    def steps(self) -> list[Any]:
        return self._site.steps()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        await self._site(scope, receive, send, values)

    async def socket(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self._site.live(receive, send)


def _problem(error: Exception, path: str) -> Answer:
    match error:
        case Gone():
            return problem(410, _sentence(error))
        case Missing() | NoTask():
            return problem(404, _sentence(error))
        case TaskEnded():
            return problem(409, _sentence(error), title="It has ended already")
        case ValidationFailed():
            count = len(error.faults)
            title = f"The {error.what} does not fit its schema"
            return problem(422, f"{count} fault{'s' if count != 1 else ''}", title=title, faults=error.faults)
        case InvalidKey() | InvalidTopic() | WhichTopic() | NotPausable():
            return problem(400, _sentence(error))
        case TooLarge():
            return problem(413, _sentence(error))
        case LogUnavailable():
            detail = "The broker can't be reached, or did not confirm it; try again."
            return problem(503, detail, headers=((b"retry-after", b"1"),))
    log.error("failed to answer %s", path, exc_info=error)
    return problem(500, "The request could not be answered; the app's log says why.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
