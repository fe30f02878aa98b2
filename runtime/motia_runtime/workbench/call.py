"""One request to the API, as its modules see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from motia_runtime.http.body import read_body
from motia_runtime.http.guard import Receive, Scope
from motia_runtime.http.problems import Refused
from motia_runtime.http.query import parse_pairs
from motia_runtime.workbench.bench import Bench

BODY_LIMIT = 4 << 20  # bytes
T = TypeVar("T")


class Call:
    """Lives as long as the request."""

    def __init__(self, bench: Bench, scope: Scope, receive: Receive, values: list[str]) -> None:
        self.bench = bench
        self.values = values  # the parameters in the path, decoded
        self._scope = scope
        self._receive = receive

    def query(self, *known: str) -> dict[str, str]:
        """The parameters of the query. Raises `Refused` (400) for one that is not known, or is given twice."""
        try:
            pairs = parse_pairs(self._scope["query_string"].decode("ascii"), "query")
        except UnicodeDecodeError:
            raise Refused(400, "The query holds characters that are not percent-encoded.") from None
        for name, value in pairs.items():
            if name not in known or not isinstance(value, str):
                raise Refused(400, f"The query may have {', '.join(known) or 'nothing'} here, once each; not {name!r}.")
        return pairs

    async def body(self, kind: type[T]) -> T:
        """The JSON body, as a struct. Raises `Refused`: 413, 415 (it has to be `application/json`), 400 for what does not fit."""
        headers = dict(self._scope["headers"])
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media != b"application/json":
            raise Refused(415, "Send the body as application/json.")
        raw = await read_body(self._receive, headers.get(b"content-length"), BODY_LIMIT)
        try:
            return msgspec.json.decode(raw or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise Refused(400, f"The body does not fit: {problem}.") from None


def number(text: str | None, default: int, most: int, name: str = "limit") -> int:
    """A whole number of a query, from 1. Raises `Refused` (400)."""
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= most:
        raise Refused(400, f"{name} is a number from 1 to {most:,}, not {text[:40]!r}.")
    return int(text)


def moment(text: str | None, name: str) -> float | None:
    """Seconds since the epoch, in a query. Raises `Refused` (400)."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e11:
        raise Refused(400, f"{name} is a time in seconds since the epoch, not {text[:40]!r}.")
    return value


Ask = Callable[[Call], Awaitable[Any]]  # gives what is sent as JSON
