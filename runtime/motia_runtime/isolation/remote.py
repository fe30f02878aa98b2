"""What stands behind `ctx` in a worker process: the members of `effects.Unit`, `streams.StreamStore`, `runlog.RunLogger` and `runs.Attempt` that
contexts use, each a request to the app. Values are validated here, where the handler sees the error, and once more there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from motia_runtime.codec import Codec
from motia_runtime.context import Secrets
from motia_runtime.handler import Trigger
from motia_runtime.isolation.wire import Run, Say
from motia_runtime.ports import Conflict
from motia_runtime.runlog import LINE_LENGTH, RunLogger, in_words, plain
from motia_runtime.types import Types
from motia_spec.model import EventStep, Project

UPDATE_TRIES = 50  # of an item of a stream that others write as well


class Line(Protocol):
    """To the app. Safe to use from any thread."""

    def ask(self, run: int, what: str, *args: Any) -> Future[Any]: ...
    def say(self, line: Say) -> None: ...


class Codecs:
    """Of what a step reads and writes. Lives as long as the process."""

    def __init__(self, project: Project, types: Types, step: EventStep) -> None:
        self.emits = {e.topic: types.codec(project.topics[e.topic].schema) for e in step.emits}
        self.streams = {s.name: types.codec(s.schema) for s in project.streams.values()}
        self._state = {g.name: types.codec(g.schema) for g in project.state.values()}
        self.any = types.codec(None)

    def of_group(self, group: str) -> Codec:
        return self._state.get(group, self.any)


class RemoteAttempt:
    """`context.Running`, over here."""

    __slots__ = (
        *("logger", "number", "run_id", "secrets", "span_id"),
        *("step", "trace_id", "tracestate", "trigger", "unit"),
    )

    def __init__(self, step: str, run: Run, line: Line, codecs: Codecs, secrets: Secrets) -> None:
        self.step = step
        self.run_id = run.run_id
        self.trace_id = run.trace_id
        self.span_id = run.span_id
        self.tracestate = run.tracestate
        self.number = run.attempt
        self.trigger: Trigger = run.trigger
        self.secrets = secrets
        self.logger = RemoteLogger(step, run.trace_id, run.number, line)
        self.unit = RemoteUnit(run.number, line, codecs)


class RemoteLogger(RunLogger):
    __slots__ = ("_line", "_number")

    def __init__(self, step: str, trace_id: str, number: int, line: Line) -> None:
        super().__init__(step, trace_id)
        self._number = number
        self._line = line

    def _add(self, level: str, message: object, fields: dict[str, Any] | None, more: dict[str, Any]) -> None:
        every = {**fields, **more} if fields else more
        told = {str(key): plain(value) for key, value in every.items()}
        self._line.say(Say(self._number, level, in_words(message)[:LINE_LENGTH], told))


class RemoteUnit:
    """`effects.Unit`, over here."""

    __slots__ = ("_codecs", "_line", "_number", "streams")

    def __init__(self, number: int, line: Line, codecs: Codecs) -> None:
        self._number = number
        self._line = line
        self._codecs = codecs
        self.streams = RemoteStreams(number, line, codecs)

    def emit(self, topic: str, data: Any, delay: float | None, at: float | None, key: str | None = None) -> None:
        codec = self._codecs.emits.get(topic) if isinstance(topic, str) else None
        # a topic that the step does not emit is refused by the app, in its words
        encoded = b"null" if codec is None else codec.encode(data)
        self._now("emit", topic if isinstance(topic, str) else repr(topic), encoded, delay, at, key)

    def cancel_emit(self, topic: str, key: str) -> None:
        self._now("cancel_emit", topic if isinstance(topic, str) else repr(topic), key)

    def set(self, group: str, key: str, value: Any, ttl: float | None) -> None:
        self._now("set", group, key, self._codecs.of_group(group).encode(value), ttl)

    async def delete(self, group: str, key: str) -> bool:
        there: bool = await self._ask("delete", group, key)
        return there

    async def get(self, group: str, key: str) -> Any:
        data = await self._ask("get", group, key)
        return None if data is None else self._codecs.of_group(group).decode(data, trusted=True)

    get_to_change = get  # who is beaten to a key learns of it when it commits

    async def items(self, group: str) -> dict[str, Any]:
        decode = self._codecs.of_group(group).decode
        return {key: decode(data, trusted=True) for key, data in (await self._ask("items", group)).items()}

    async def history(self, group: str, key: str) -> list[Any]:
        decode = self._codecs.of_group(group).decode
        return [decode(data, trusted=True) for data in await self._ask("history", group, key)]

    async def flush(self) -> None:
        await self._ask("flush")

    def _now(self, what: str, *args: Any) -> None:
        self._line.ask(self._number, what, *args).result()

    async def _ask(self, what: str, *args: Any) -> Any:
        return await asyncio.wrap_future(self._line.ask(self._number, what, *args))


class RemoteStreams:
    """`streams.StreamStore`, over here."""

    __slots__ = ("_any", "_codecs", "_line", "_number")

    def __init__(self, number: int, line: Line, codecs: Codecs) -> None:
        self._number = number
        self._line = line
        self._codecs = codecs.streams
        self._any = codecs.any

    def known(self, stream: str) -> str:
        if stream in self._codecs:
            return stream
        known: str = self._line.ask(self._number, "stream", stream).result()  # which says no
        return known

    async def get(self, stream: str, group: str, id: str) -> Any:
        return self._read(stream, await self._ask("stream_get", stream, group, id))

    async def set(self, stream: str, group: str, id: str, value: Any) -> None:
        await self._ask("stream_set", stream, group, id, self._codecs[stream].encode(value))

    async def update(self, stream: str, group: str, id: str, change: Callable[[Any], Any]) -> Any:
        old: bytes | None = await self._ask("stream_get", stream, group, id)
        for _ in range(UPDATE_TRIES):
            value = change(self._read(stream, old))
            done, old = await self._ask("stream_swap", stream, group, id, old, self._codecs[stream].encode(value))
            if done:
                return value
        raise Conflict(f"{UPDATE_TRIES} concurrent updates came first")

    async def delete(self, stream: str, group: str, id: str) -> bool:
        there: bool = await self._ask("stream_delete", stream, group, id)
        return there

    async def get_group(self, stream: str, group: str) -> list[Any]:
        return [self._read(stream, data) for data in await self._ask("stream_group", stream, group)]

    async def send(self, stream: str, group: str, id: str | None, type: str, data: Any) -> None:
        await self._ask("stream_send", stream, group, id, type, self._any.encode(data))

    def _read(self, stream: str, data: bytes | None) -> Any:
        return None if data is None else self._codecs[stream].decode(data, trusted=True)

    async def _ask(self, what: str, *args: Any) -> Any:
        return await asyncio.wrap_future(self._line.ask(self._number, what, *args))
