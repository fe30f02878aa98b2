"""What a handler is called with, as JSON, and what a worker says it has returned, as the rest of the engine takes it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from motia_runtime.handler import Request, Response
from motia_runtime.remote.wire import Result, dump


class ApiInput(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A request. The raw body is text, or base64 when it is no UTF-8."""

    body: Any
    path_params: dict[str, str]
    query_params: Any
    headers: dict[str, str]
    method: str
    path: str
    raw_body: str = ""
    raw_body64: str = msgspec.field(name="rawBodyBase64", default="")


def input_of(args: tuple[Any, ...]) -> bytes:
    """The JSON text of what a handler gets beside its context; of a cron step, null."""
    if not args:
        return b"null"
    value = args[0]
    return dump(_request(value)) if isinstance(value, Request) else dump(value)


def _request(request: Request) -> ApiInput:
    found = ApiInput(
        body=None if isinstance(request.body, bytes) else request.body,
        path_params=request.path_params,
        query_params=request.query_params,
        headers=request.headers,
        method=request.method,
        path=request.path,
    )
    try:
        found.raw_body = request.raw_body.decode()
    except UnicodeDecodeError:
        found.raw_body64 = base64.b64encode(request.raw_body).decode()
    return found


def result_of(result: Result | None, *, plain: bool) -> Any:
    """What the handler would have returned here. JSON stays encoded, unless it is to be `plain`, for who looks at it. Raises ValueError for what
    is no base64."""
    if result is None:
        return None
    body: Any = result.body
    first = bytes(memoryview(result.body)[:1])
    if result.base64:
        body = base64.b64decode(msgspec.json.decode(result.body, type=str), validate=True)
    elif plain or first in (b'"', b"n", b"t", b"f"):  # answers differ by these: a str is sent as text, None as nothing
        body = msgspec.json.decode(result.body)
    if result.status is None:
        return body
    return Response(body, result.status, result.headers)
