"""The context of async handlers, and its state and streams: methods are awaited."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from motia_runtime.context.base import BaseContext, Channel, Emission, StreamEvent

if TYPE_CHECKING:
    from motia_runtime.effects import Unit

T = TypeVar("T")


class StateGroup(Generic[T]):
    """One group of the app's state, as seen by one run. Keys are strings of 1 to 512 bytes."""

    __slots__ = ("_name", "_unit")

    def __init__(self, unit: Unit, name: str) -> None:
        self._unit = unit
        self._name = name

    async def get(self, key: str) -> T | None:
        """The value, or None. A key that is read and then written is written only if nobody else wrote it in between; otherwise
        the run starts again from its input."""
        value: T | None = await self._unit.get(self._name, key)
        return value

    async def set(self, key: str, value: T, *, ttl: float | None = None) -> T:
        """`ttl` in seconds, at least 1; the group's `ttl` when not given. Raises `ValidationFailed` when the value does not fit the group's schema."""
        self._unit.set(self._name, key, value, ttl)
        return value

    async def update(self, key: str, change: Callable[[T | None], T]) -> T:
        """Read, change, write: never loses a concurrent update. `change` gets None for a key that is not there."""
        return await self.set(key, change(await self._get_to_change(key)))

    async def _get_to_change(self, key: str) -> T | None:
        value: T | None = await self._unit.get_to_change(self._name, key)
        return value

    async def delete(self, key: str) -> bool:
        """True when there was a value."""
        return await self._unit.delete(self._name, key)

    async def list(self) -> builtins.list[T]:
        return list((await self._unit.items(self._name)).values())

    async def items(self) -> dict[str, T]:
        """Every key and value, ordered by key."""
        return await self._unit.items(self._name)

    async def keys(self) -> builtins.list[str]:
        return list(await self._unit.items(self._name))

    async def clear(self) -> None:
        """Delete every key of the group."""
        for key in await self._unit.items(self._name):
            await self._unit.delete(self._name, key)

    async def history(self, key: str) -> builtins.list[T]:
        """The revisions that are kept (`history` of the group), oldest first, without the run's own writes."""
        return await self._unit.history(self._name, key)


class BaseState:
    """`ctx.state`: groups by attribute or index."""

    __slots__ = ("_unit",)

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __getitem__(self, group: str) -> StateGroup[Any]:
        return StateGroup(self._unit, group)


class State(BaseState):
    """State without types: `ctx.state.orders.get(id)` and `ctx.state.get("orders", id)` mean the same."""

    __slots__ = ()

    def __getattr__(self, group: str) -> StateGroup[Any]:
        if group.startswith("_"):
            raise AttributeError(group)
        return StateGroup(self._unit, group)

    async def get(self, group: str, key: str) -> Any:
        return await self[group].get(key)

    async def set(self, group: str, key: str, value: Any, *, ttl: float | None = None) -> Any:
        return await self[group].set(key, value, ttl=ttl)

    async def update(self, group: str, key: str, change: Callable[[Any], Any]) -> Any:
        return await self[group].update(key, change)

    async def delete(self, group: str, key: str) -> bool:
        return await self[group].delete(key)

    async def list(self, group: str) -> builtins.list[Any]:
        return await self[group].list()

    async def get_group(self, group: str) -> builtins.list[Any]:
        return await self[group].list()

    async def items(self, group: str) -> dict[str, Any]:
        return await self[group].items()

    async def keys(self, group: str) -> builtins.list[str]:
        return await self[group].keys()

    async def clear(self, group: str) -> None:
        await self[group].clear()

    async def history(self, group: str, key: str) -> builtins.list[Any]:
        return await self[group].history(key)


class StreamItems(Generic[T]):
    """One stream of the app: items in groups. Unlike state, an item is written at once, so that people see progress while a run goes on;
    a retry of the run writes it again."""

    __slots__ = ("_name", "_unit")

    def __init__(self, unit: Unit, name: str) -> None:
        self._unit = unit
        self._name = name

    async def get(self, group: str, id: str) -> T | None:
        value: T | None = await self._unit.streams.get(self._name, group, id)
        return value

    async def set(self, group: str, id: str, value: T) -> T:
        """Raises `ValidationFailed` when the value does not fit the stream's schema."""
        await self._unit.streams.set(self._name, group, id, value)
        return value

    async def update(self, group: str, id: str, change: Callable[[T | None], T]) -> T:
        """Read, change, write; tried again when somebody else wrote the item in between."""
        value: T = await self._unit.streams.update(self._name, group, id, change)
        return value

    async def delete(self, group: str, id: str) -> bool:
        return await self._unit.streams.delete(self._name, group, id)

    async def get_group(self, group: str) -> builtins.list[T]:
        """The items of a group, ordered by id."""
        return await self._unit.streams.get_group(self._name, group)

    async def send(
        self, group: str | Channel, type: str | StreamEvent, data: Any = None, *, id: str | None = None
    ) -> None:
        """Tell those who follow the group, or with `id` that item, at this moment: an event that is stored nowhere. `data` is any JSON."""
        if isinstance(group, str):
            to, item = group, id
        else:
            to, item = group["groupId"], group.get("id")
        if isinstance(type, str):
            kind = type
        else:
            kind, data = type["type"], type.get("data")
        await self._unit.streams.send(self._name, to, item, kind, data)


class BaseStreams:
    """`ctx.streams`: the app's streams by attribute or index."""

    __slots__ = ("_unit",)

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __getitem__(self, name: str) -> StreamItems[Any]:
        return StreamItems(self._unit, self._unit.streams.known(name))


class Streams(BaseStreams):
    __slots__ = ()

    def __getattr__(self, name: str) -> StreamItems[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]


class Context(BaseContext):
    __slots__ = ()

    async def emit(
        self,
        topic: str | Emission,
        data: Any = None,
        *,
        delay: float | None = None,
        at: float | None = None,
        key: str | None = None,
    ) -> None:
        """Emit an event when the run commits. `delay` in seconds from the commit, or `at` in seconds since the epoch, for later; it waits under
        `key` then, if one is given, in place of what waited under that key of the topic, and can be cancelled.
        Raises `InvalidTopic` when the step does not declare the topic, `ValidationFailed` when the data does not fit its schema."""
        if not isinstance(topic, str):
            data = topic["data"]
            topic = topic["topic"]
        self._run.unit.emit(topic, data, delay, at, key)

    async def cancel_emit(self, topic: str, key: str) -> None:
        """When the run commits, have nothing wait under this key of the topic any more. No harm if nothing does, or its time has come."""
        self._run.unit.cancel_emit(topic, key)

    @property
    def state(self) -> State:
        return State(self._run.unit)

    @property
    def streams(self) -> Streams:
        return Streams(self._run.unit)

    async def flush(self) -> None:
        """Commit what was buffered so far. What is flushed stays, even if the handler fails later: a retry does not repeat it, as long as
        the handler emits and writes in the same order."""
        await self._run.unit.flush()
