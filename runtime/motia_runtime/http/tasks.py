"""Tasks over HTTP, under `/__motia/tasks`, in front of the app's own paths. Who reaches them can decide for the app, so they are there only when `access`
says so; the guard has refused foreign hosts and other sites' pages before."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.handler import Fault, ValidationFailed
from motia_runtime.http.body import ClientGone, decode_body, read_body
from motia_runtime.http.guard import Receive, Scope, Send, is_loopback, send_answer
from motia_runtime.http.problems import NOSNIFF, Header, Refused, problem
from motia_runtime.http.query import parse_pairs
from motia_runtime.ports import LogUnavailable, TooLarge
from motia_runtime.runner import Answer
from motia_runtime.tasks import NoTask, TaskEnded, Tasks, WhichTopic

TOKEN = "MOTIA_ADMIN_TOKEN"  # noqa: S105  # name of the environment variable
SHORTEST = 16  # characters of a token
MOST = 1_000  # tasks in a list
LONGEST_BY = 200  # characters

HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"), NOSNIFF, (b"cache-control", b"no-store"))

Ask = Callable[[Scope, Receive, list[str]], Awaitable[Any]]

log = logging.getLogger("motia.http")


class Access(msgspec.Struct, frozen=True):
    """Who may ask: whoever knows the token; None: whoever reaches the server."""

    token: str | None


def access(token: str | None, host: str, *, dev: bool) -> Access | None:
    """What a server that listens on `host` allows. With a token, who knows it; without, nobody, but in development on this machine. None: nobody."""
    if token:
        if len(token) >= SHORTEST:
            return Access(token)
        log.warning("%s has fewer than %d characters: /__motia/tasks and the Workbench stay closed", TOKEN, SHORTEST)
        return None
    return Access(None) if dev and is_loopback(host) else None


class TaskPath:
    """One path: what it answers by method. Serves requests as a step's path does (`endpoint.PathEndpoint`)."""

    def __init__(self, allowed: Access, methods: dict[str, Ask]) -> None:
        self._token = allowed.token
        self._methods = {**methods, "HEAD": methods["GET"]}
        self._allow = ", ".join(sorted({*self._methods, "OPTIONS"})).encode()

    def step(self, _method: str) -> None:
        """No step answers here."""

    def steps(self) -> list[Any]:
        return []

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        try:
            answer = await self._answer(scope, receive, values)
        except ClientGone:
            return
        await send_answer(scope, send, answer)

    async def _answer(self, scope: Scope, receive: Receive, values: list[str]) -> Answer:
        allow: Header = (b"allow", self._allow)
        method = scope["method"]
        try:
            self._check(scope)
            if method == "OPTIONS":
                return Answer(204, (allow,), b"")
            ask = self._methods.get(method)
            if ask is None:
                detail = f"{method} is not among the methods of this path: {self._allow.decode()}."
                return problem(405, detail, headers=(allow,))
            return Answer(200, HEADERS, msgspec.json.encode(await ask(scope, receive, values)))
        except ClientGone:
            raise
        except Refused as refusal:
            return refusal.answer()
        except NoTask as error:
            return problem(404, _sentence(error))
        except TaskEnded as error:
            status, title = (410, "The time is over") if error.expired else (409, "Completed already")
            return problem(status, _sentence(error), title=title, extra={"task": error.task.plain()})
        except WhichTopic as error:
            return problem(400, _sentence(error))
        except ValidationFailed as error:
            title = "The answer does not fit its schema"
            return problem(422, f"{_count(error.faults)} in the {error.what}", title=title, faults=error.faults)
        except TooLarge as error:
            return problem(413, _sentence(error))
        except LogUnavailable as error:
            log.error("a task could not be read or ended: %s", error)
            detail = "The broker did not confirm it; it may be done. Look at the task, or try again."
            return problem(503, detail, headers=((b"retry-after", b"1"),))
        except Exception as error:
            log.error("failed to answer %s", scope["path"], exc_info=error)
            return problem(500, "The request could not be answered.")

    def _check(self, scope: Scope) -> None:
        """Raises `Refused` (401) for who does not know the token."""
        if self._token is None:
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token.encode()):
            raise Refused(
                401,
                f"Send Authorization: Bearer with the token in {TOKEN}.",
                headers=((b"www-authenticate", b"Bearer"),),
            )


def task_paths(tasks: Tasks, allowed: Access, body_limit: int) -> dict[str, TaskPath]:
    """By path template."""
    any_json = Codec("body")

    async def listed(scope: Scope, receive: Receive, values: list[str]) -> Any:
        query = _query(scope, "step", "limit")
        limit = query.get("limit", "100")
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:6]) <= MOST:
            raise Refused(400, f"limit is a number from 1 to {MOST:,}.")
        return {"tasks": [task.plain() for task in await tasks.waiting(step=query.get("step"), limit=int(limit[:6]))]}

    async def shown(scope: Scope, receive: Receive, values: list[str]) -> Any:
        task = await tasks.get(*values)
        if task is None:
            raise NoTask("{} has no task {!r}".format(*values))
        return task.plain()

    async def completed(scope: Scope, receive: Receive, values: list[str]) -> Any:
        query = _query(scope, "topic", "by")
        by = query.get("by", "")
        if len(by) > LONGEST_BY:
            raise Refused(400, f"by has {LONGEST_BY} characters at most.")
        noted = dict(scope["headers"])
        raw = await read_body(receive, noted.get(b"content-length"), body_limit)
        coding = noted.get(b"content-encoding")
        step, task = values
        answer = decode_body(raw, noted.get(b"content-type"), coding, any_json) if raw else None
        return (await tasks.complete(step, task, answer, topic=query.get("topic"), by=by)).plain()

    return {
        "/__motia/tasks": TaskPath(allowed, {"GET": listed}),
        "/__motia/tasks/{step}/{id}": TaskPath(allowed, {"GET": shown, "POST": completed}),
    }


def _query(scope: Scope, *known: str) -> dict[str, str]:
    try:
        pairs = parse_pairs(scope["query_string"].decode("ascii"), "query")
    except UnicodeDecodeError:
        raise Refused(400, "The query holds characters that are not percent-encoded.") from None
    for name, value in pairs.items():
        if name not in known or not isinstance(value, str):
            raise Refused(400, f"The query may have {' and '.join(known)} here, once each; {name!r} was given.")
    return pairs


def _count(faults: list[Fault]) -> str:
    return f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."
