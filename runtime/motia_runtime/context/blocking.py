"""The context of plain functions, and its state and streams: the members of `awaited`, but methods block the thread that calls them."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from motia_runtime.context.awaited import Context, State, StateGroup, StreamItems, Streams
from motia_runtime.context.base import BaseContext, Channel, Emission, StreamEvent

T = TypeVar("T")


class SyncStateGroup(Generic[T]):
    """`StateGroup` for plain functions."""

    __slots__ = ("_call", "_group")

    def __init__(self, group: StateGroup[T], call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._group = group
        self._call = call

    def get(self, key: str) -> T | None:
        value: T | None = self._call(self._group.get(key))
        return value

    def set(self, key: str, value: T, *, ttl: float | None = None) -> T:
        self._call(self._group.set(key, value, ttl=ttl))
        return value

    def update(self, key: str, change: Callable[[T | None], T]) -> T:
        return self.set(key, change(self._call(self._group._get_to_change(key))))

    def delete(self, key: str) -> bool:
        return bool(self._call(self._group.delete(key)))

    def list(self) -> builtins.list[T]:
        return list(self.items().values())

    def items(self) -> dict[str, T]:
        values: dict[str, T] = self._call(self._group.items())
        return values

    def keys(self) -> builtins.list[str]:
        return list(self.items())

    def clear(self) -> None:
        self._call(self._group.clear())

    def history(self, key: str) -> builtins.list[T]:
        values: builtins.list[T] = self._call(self._group.history(key))
        return values


class BaseSyncState:
    __slots__ = ("_call", "_state")

    def __init__(self, state: State, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._state = state
        self._call = call

    def __getitem__(self, group: str) -> SyncStateGroup[Any]:
        return SyncStateGroup(self._state[group], self._call)


class SyncState(BaseSyncState):
    """`State` for plain functions."""

    __slots__ = ()

    def __getattr__(self, group: str) -> SyncStateGroup[Any]:
        if group.startswith("_"):
            raise AttributeError(group)
        return self[group]

    def get(self, group: str, key: str) -> Any:
        return self[group].get(key)

    def set(self, group: str, key: str, value: Any, *, ttl: float | None = None) -> Any:
        return self[group].set(key, value, ttl=ttl)

    def update(self, group: str, key: str, change: Callable[[Any], Any]) -> Any:
        return self[group].update(key, change)

    def delete(self, group: str, key: str) -> bool:
        return self[group].delete(key)

    def list(self, group: str) -> builtins.list[Any]:
        return self[group].list()

    def get_group(self, group: str) -> builtins.list[Any]:
        return self[group].list()

    def items(self, group: str) -> dict[str, Any]:
        return self[group].items()

    def keys(self, group: str) -> builtins.list[str]:
        return self[group].keys()

    def clear(self, group: str) -> None:
        self[group].clear()

    def history(self, group: str, key: str) -> builtins.list[Any]:
        return self[group].history(key)


class SyncStreamItems(Generic[T]):
    """`StreamItems` for plain functions."""

    __slots__ = ("_call", "_items")

    def __init__(self, items: StreamItems[T], call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._items = items
        self._call = call

    def get(self, group: str, id: str) -> T | None:
        value: T | None = self._call(self._items.get(group, id))
        return value

    def set(self, group: str, id: str, value: T) -> T:
        self._call(self._items.set(group, id, value))
        return value

    def update(self, group: str, id: str, change: Callable[[T | None], T]) -> T:
        value: T = self._call(self._items.update(group, id, change))
        return value

    def delete(self, group: str, id: str) -> bool:
        return bool(self._call(self._items.delete(group, id)))

    def get_group(self, group: str) -> builtins.list[T]:
        values: builtins.list[T] = self._call(self._items.get_group(group))
        return values

    def send(self, group: str | Channel, type: str | StreamEvent, data: Any = None, *, id: str | None = None) -> None:
        self._call(self._items.send(group, type, data, id=id))


class BaseSyncStreams:
    __slots__ = ("_call", "_streams")

    def __init__(self, streams: Streams, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._streams = streams
        self._call = call

    def __getitem__(self, name: str) -> SyncStreamItems[Any]:
        return SyncStreamItems(self._streams[name], self._call)


class SyncStreams(BaseSyncStreams):
    __slots__ = ()

    def __getattr__(self, name: str) -> SyncStreamItems[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]


class BaseSyncContext(BaseContext):
    """What every context of a plain function has."""

    __slots__ = ("_context", "_loop")

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(context._run)
        self._context = context
        self._loop = loop

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class SyncContext(BaseSyncContext):
    """`Context` for plain functions: call from the thread that the function runs in."""

    __slots__ = ()

    def emit(
        self,
        topic: str | Emission,
        data: Any = None,
        *,
        delay: float | None = None,
        at: float | None = None,
        key: str | None = None,
    ) -> None:
        self._call(self._context.emit(topic, data, delay=delay, at=at, key=key))

    def cancel_emit(self, topic: str, key: str) -> None:
        self._call(self._context.cancel_emit(topic, key))

    @property
    def state(self) -> SyncState:
        return SyncState(self._context.state, self._call)

    @property
    def streams(self) -> SyncStreams:
        return SyncStreams(self._context.streams, self._call)

    def flush(self) -> None:
        self._call(self._context.flush())
