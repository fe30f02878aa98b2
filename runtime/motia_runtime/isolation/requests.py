"""What a handler in a process asks of its `ctx`, done on the context of its attempt. Lives as long as the run.

Effects that need no answer from the broker are taken in the order in which they come; reads go on beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from motia_runtime.context import Context
from motia_runtime.isolation.failures import refusal
from motia_runtime.isolation.wire import Ask, Reply, Say

_json = msgspec.json.Encoder().encode


class Requests:
    """`reply` sends to the process. `refused`: errors that requests met with, by the number of the request."""

    def __init__(self, ctx: Context, reply: Callable[[Reply], None]) -> None:
        self._run = ctx._run
        self._reply = reply
        self._reads: set[asyncio.Task[None]] = set()
        self.refused: dict[int, Exception] = {}
        self._at_once: dict[str, Callable[..., None]] = {
            "emit": self._emit,
            "cancel_emit": self._cancel_emit,
            "set": self._set,
        }
        self._in_time: dict[str, Callable[..., Awaitable[Any]]] = {
            "get": self._get,
            "delete": self._delete,
            "items": self._items,
            "history": self._history,
            "flush": self._flush,
            "stream": self._stream,
            "stream_get": self._stream_get,
            "stream_set": self._stream_set,
            "stream_swap": self._stream_swap,
            "stream_delete": self._stream_delete,
            "stream_group": self._stream_group,
            "stream_send": self._stream_send,
        }

    def say(self, line: Say) -> None:
        log = {"debug": self._run.logger.debug, "warning": self._run.logger.warning, "error": self._run.logger.error}
        log.get(line.level, self._run.logger.info)(line.message, line.fields)

    def take(self, ask: Ask) -> None:
        """Answer a request, now or when the broker has."""
        act = self._at_once.get(ask.what)
        if act is None:
            task = asyncio.get_running_loop().create_task(self._answer(ask))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)
            return
        try:
            act(*ask.args)
        except Exception as problem:
            self.refuse(ask.id, problem)
        else:
            self._reply(Reply(ask.id))

    def do(self, what: str, args: list[Any]) -> None:
        """One of the effects that are taken at once. Raises what is wrong with it."""
        self._at_once[what](*args)

    def close(self) -> None:
        """The run has ended: nobody waits for what is still asked."""
        for task in self._reads:
            task.cancel()

    async def _answer(self, ask: Ask) -> None:
        try:
            act = self._in_time.get(ask.what)
            if act is None:
                raise ValueError(f"the app can't do {ask.what!r} for a worker process")
            value = await act(*ask.args)
        except Exception as problem:
            self.refuse(ask.id, problem)
        else:
            self._reply(Reply(ask.id, value))

    def refuse(self, id: int, problem: Exception) -> None:
        """Answer a request with an error."""
        self.refused[id] = problem
        self._reply(Reply(id, refusal=refusal(problem)))

    # -- effects: values are JSON texts, and stay so; the unit validates them

    def _emit(
        self, topic: Any, data: bytes, delay: float | None = None, at: float | None = None, key: str | None = None
    ) -> None:
        self._run.unit.emit(topic, msgspec.Raw(data), delay, at, key)

    def _cancel_emit(self, topic: Any, key: Any) -> None:
        self._run.unit.cancel_emit(topic, key)

    def _set(self, group: str, key: str, data: bytes, ttl: float | None = None) -> None:
        self._run.unit.set(group, key, msgspec.Raw(data), ttl)

    async def _delete(self, group: str, key: str) -> bool:
        return await self._run.unit.delete(group, key)

    async def _flush(self) -> None:
        await self._run.unit.flush()

    # -- reads

    async def _get(self, group: str, key: str) -> bytes | None:
        return _some(await self._run.unit.get(group, key))

    async def _items(self, group: str) -> dict[str, bytes]:
        return {key: _json(value) for key, value in (await self._run.unit.items(group)).items()}

    async def _history(self, group: str, key: str) -> list[bytes]:
        return [_json(value) for value in await self._run.unit.history(group, key)]

    # -- streams: written at once, as for every handler

    async def _stream(self, name: str) -> str:
        return self._run.unit.streams.known(name)

    async def _stream_get(self, name: str, group: str, id: str) -> bytes | None:
        return _some(await self._run.unit.streams.get(name, group, id))

    async def _stream_set(self, name: str, group: str, id: str, data: bytes) -> None:
        await self._run.unit.streams.set(name, group, id, msgspec.Raw(data))

    async def _stream_delete(self, name: str, group: str, id: str) -> bool:
        return await self._run.unit.streams.delete(name, group, id)

    async def _stream_group(self, name: str, group: str) -> list[bytes]:
        return [_json(value) for value in await self._run.unit.streams.get_group(name, group)]

    async def _stream_send(self, name: str, group: str, id: str | None, type: str, data: bytes) -> None:
        await self._run.unit.streams.send(name, group, id, type, msgspec.Raw(data))

    async def _stream_swap(self, name: str, group: str, id: str, old: bytes | None, new: bytes) -> tuple[bool, Any]:
        """Write `new` if the item is still `old`. Gives whether it was, and what it is now."""
        try:
            await self._run.unit.streams.update(name, group, id, lambda now: _swapped(_some(now), old, new))
        except _Changed as changed:
            return False, changed.now
        return True, new


class _Changed(Exception):
    def __init__(self, now: bytes | None) -> None:
        super().__init__()
        self.now = now


def _swapped(now: bytes | None, old: bytes | None, new: bytes) -> msgspec.Raw:
    if now != old:
        raise _Changed(now)
    return msgspec.Raw(new)


def _some(value: Any) -> bytes | None:
    return None if value is None else _json(value)
