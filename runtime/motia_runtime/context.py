"""What a handler gets as `ctx`: one per attempt of a run, gone when the handler has returned.

`BaseContext` is what every step has; `Context` adds emits, state and streams without types. Generated contexts (`CreateOrder.Context`)
derive from `BaseContext` and add the same members with the types of their step; at run time all of them are this `Context`.
Plain functions get a `SyncContext`: the same members, but its methods block instead of being awaited.

State writes and emits are buffered and become true together when the handler returns (`effects`). Reads see the run's own writes.
"""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, TypeVar

from motia_runtime.handler import Trigger
from motia_runtime.runlog import RunLogger

if TYPE_CHECKING:
    from motia_runtime.effects import Unit

T = TypeVar("T")


class Emission(TypedDict):
    """The original's form of an emit: `await ctx.emit({"topic": "order.created", "data": order})`."""

    topic: str
    data: Any


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
        value = change(await self.get(key))
        return await self.set(key, value)

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


class Secrets(Mapping[str, str]):
    """The environment variables that the spec declares under `secrets`. Values are read when asked for, and never printed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            declared = ", ".join(self._names) or "none"
            raise KeyError(
                f"{name} is not a secret of this app (declared: {declared}); add it under `secrets` in the spec"
            )
        try:
            return os.environ[name]
        except KeyError:
            raise KeyError(f"the secret {name} is not set; set the environment variable {name}") from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in os.environ)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._names)})"


class Running(Protocol):
    """The attempt behind a context (`runs.Attempt`)."""

    @property
    def step(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def trigger(self) -> Trigger: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def logger(self) -> RunLogger: ...
    @property
    def unit(self) -> Unit: ...


class BaseContext:
    """What every context has."""

    __slots__ = ("_run",)

    def __init__(self, run: Running) -> None:
        self._run = run

    @property
    def trace_id(self) -> str:
        """32 hex digits, the same for all runs that descend from one trigger."""
        return self._run.trace_id

    @property
    def step(self) -> str:
        return self._run.step

    @property
    def attempt(self) -> int:
        """1 the first time."""
        return self._run.number

    @property
    def trigger(self) -> Trigger:
        return self._run.trigger

    @property
    def secrets(self) -> Secrets:
        return self._run.secrets

    @property
    def logger(self) -> RunLogger:
        """Lines that belong to this run: `ctx.logger.info("charged", amount=12)`."""
        return self._run.logger

    @property
    def topic(self) -> str | None:
        """The topic of the event that is handled; None when it was not an event."""
        return self.trigger.topic

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt and redelivery of this run: pass it to outside services, so that they can ignore repeats."""
        return self._run.unit.run_id

    def new_id(self) -> str:
        """A new id, unique and ordered by time (UUID version 7 as text)."""
        return new_id()


class Context(BaseContext):
    __slots__ = ()

    async def emit(
        self, topic: str | Emission, data: Any = None, *, delay: float | None = None, at: float | None = None
    ) -> None:
        """Emit an event when the run commits. `delay` in seconds from the commit, or `at` in seconds since the epoch, for later.
        Raises `InvalidTopic` when the step does not declare the topic, `ValidationFailed` when the data does not fit its schema."""
        if not isinstance(topic, str):
            data = topic["data"]
            topic = topic["topic"]
        self._run.unit.emit(topic, data, delay, at)

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
        return self.set(key, change(self.get(key)))

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
        self, topic: str | Emission, data: Any = None, *, delay: float | None = None, at: float | None = None
    ) -> None:
        self._call(self._context.emit(topic, data, delay=delay, at=at))

    @property
    def state(self) -> SyncState:
        return SyncState(self._context.state, self._call)

    @property
    def streams(self) -> SyncStreams:
        return SyncStreams(self._context.streams, self._call)

    def flush(self) -> None:
        self._call(self._context.flush())


def new_id() -> str:
    """A UUID version 7 (RFC 9562) as text: 48 bits of milliseconds, then 74 random bits."""
    import time
    import uuid

    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64  # version 7
    value = value & ~(0xC000 << 48) | 0x8000 << 48  # variant of RFC 9562
    return str(uuid.UUID(int=value))
