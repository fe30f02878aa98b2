"""Handlers in the form of the original: Python files that describe their step in a `config` block of their own.

Such a handler is given what it was written for, and nothing in it has to change:

    async def handler(req, context)     # api: a dict with body, pathParams, queryParams, headers, rawBody
    async def handler(input, context)   # event: plain dicts and lists
    async def handler(context)          # cron

    await context.emit({"topic": "order.created", "data": order})
    await context.state.get_group("orders")
    await context.streams.board.set("all", order["id"], item)

The engine's rules hold for it as for any other: emits and state come true when it returns, values are validated, undeclared topics are errors. Without
the `config` block a handler is one of this version's form. What the context has beyond the original's is there as well (`context.attempt`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec

from motia_runtime.context.base import BaseContext
from motia_runtime.context.blocking import BaseSyncContext
from motia_runtime.handler import Request

_KINDS = ("api", "event", "cron", "noop")


def is_original(module: ModuleType) -> bool:
    """Does a file describe its step itself?"""
    config = getattr(module, "config", None)
    return isinstance(config, dict) and config.get("type") in _KINDS and isinstance(config.get("name"), str)


def adapt(function: Callable[..., Any], module: ModuleType, *, is_async: bool) -> Callable[..., Any]:
    """A handler or middleware of the original's form, to be called as one of this version's: with the context last, or, for a middleware,
    with `next` behind it. `module`: its file."""
    config = getattr(module, "config", None)
    flows = config.get("flows", ()) if isinstance(config, dict) else ()

    async def awaited(*args: Any) -> Any:
        return await function(*_arguments(args, flows))

    def blocking(*args: Any) -> Any:
        return function(*_arguments(args, flows))

    return awaited if is_async else blocking


def _arguments(args: tuple[Any, ...], flows: Iterable[str]) -> list[Any]:
    found: list[Any] = []
    request: _Carried | None = None
    for arg in args:
        if isinstance(arg, Request):
            request = arg if isinstance(arg, _Carried) else _Carried(arg)
            found.append(request.original)
        elif callable(arg) and request is not None:  # the `next` of a middleware takes no arguments there
            found.append(_next(arg, request))
        elif isinstance(arg, BaseContext):
            found.append(OriginalContext(arg, flows))
        else:
            found.append(plain(arg))
    return found


def _next(function: Callable[[Any], Any], request: Any) -> Callable[..., Any]:
    return lambda *_: function(request)


class _Carried(Request[Any, Any, Any]):
    """A request with the dict that stands for it, so that a handler sees what a middleware has put into that."""

    __slots__ = ("original",)

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        super().__init__(
            request.body,
            request.path_params,
            request.query_params,
            request.headers,
            request.raw_body,
            request.method,
            request.path,
        )
        self.original: dict[str, Any] = {
            "body": plain(request.body),
            "pathParams": plain(request.path_params),
            "queryParams": plain(request.query_params),
            "headers": dict(request.headers),
            "rawBody": request.raw_body.decode("utf-8", "replace"),
            "method": request.method,
            "path": request.path,
        }


def plain(value: Any) -> Any:
    """Dicts and lists in place of the generated types."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    return msgspec.to_builtins(value, str_keys=True, builtin_types=(bytes,))


class Found(dict[str, Any]):
    """What `state.get` gives. The original wraps a dict as {"data": value}, and gives {"data": None} when there is none; handlers that know it
    read `found["data"]`, others use the value itself. Here both work: a dict that answers "data" with the whole, unless it has that key itself."""

    def __missing__(self, key: str) -> Any:
        if key == "data":
            return dict(self) or None
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self or (key == "data" and self) else default


def _wrapped(value: Any) -> Any:
    if value is None:
        return Found()
    return Found(value) if isinstance(value, dict) else value


class OriginalContext:
    """The original's context over this version's. For a plain function the methods block, as those of `SyncContext`."""

    def __init__(self, ctx: Any, flows: Iterable[str]) -> None:
        self._ctx = ctx
        self.flows = list(flows)
        self.state = _State(ctx)
        self.streams = _Streams(ctx)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    @property
    def traceId(self) -> str:  # the original's word
        trace_id: str = self._ctx.trace_id
        return trace_id

    def emit(self, event: dict[str, Any]) -> Any:
        """`messageGroupId` is the business of `orderBy` in the spec, and ignored."""
        if not isinstance(event, dict) or not isinstance(event.get("topic"), str):
            raise TypeError(f'emit takes {{"topic": ..., "data": ...}}, not {event!r}')
        return self._ctx.emit({"topic": event["topic"], "data": event.get("data")})


class _Part:
    """`then` runs something on a result: at once for a plain function, else when it is awaited."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._blocks = isinstance(ctx, BaseSyncContext)

    def _then(self, result: Any, change: Callable[[Any], Any]) -> Any:
        if self._blocks:
            return change(result)

        async def wait() -> Any:
            return change(await result)

        return wait()


class _State(_Part):
    def get(self, group: str, key: str) -> Any:
        return self._then(self._ctx.state[group].get(key), lambda value: _wrapped(plain(value)))

    def set(self, group: str, key: str, value: Any) -> Any:
        return self._ctx.state[group].set(key, value)

    def delete(self, group: str, key: str) -> Any:
        return self._ctx.state[group].delete(key)

    def get_group(self, group: str) -> Any:
        return self._then(self._ctx.state[group].list(), plain)

    getGroup = get_group  # the original has both

    def clear(self, group: str) -> Any:
        return self._ctx.state[group].clear()


class _Streams(_Part):
    def __getattr__(self, name: str) -> _Stream:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> _Stream:
        return _Stream(self._ctx, self._ctx.streams[name])


class _Stream(_Part):
    def __init__(self, ctx: Any, items: Any) -> None:
        super().__init__(ctx)
        self._items = items

    def get(self, group: str, id: str) -> Any:
        return self._then(self._items.get(group, id), plain)

    def set(self, group: str, id: str, data: Any) -> Any:
        return self._then(self._items.set(group, id, data), plain)

    def delete(self, group: str, id: str) -> Any:
        return self._items.delete(group, id)

    def get_group(self, group: str) -> Any:
        return self._then(self._items.get_group(group), plain)

    getGroup = get_group  # the original has both

    def send(self, channel: dict[str, Any], event: dict[str, Any]) -> Any:
        return self._items.send(channel, event)
