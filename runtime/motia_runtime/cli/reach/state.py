"""State by group and key."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http, NotThere
from motia_runtime.cli.reach.way import Way
from motia_runtime.state import GroupSize, StateStore

PAGE = 1_000  # keys asked for at a time


class State(Protocol):
    async def groups(self) -> list[GroupSize]: ...

    async def values(self, group: str) -> dict[str, bytes]:
        """JSON by key, ordered."""
        ...

    async def get(self, group: str, key: str) -> bytes | None: ...

    async def set(self, group: str, key: str, plain: Any) -> None:
        """Over whatever is there. Raises `ValidationFailed`."""
        ...

    async def delete(self, group: str, key: str) -> bool:
        """False: there was nothing."""
        ...


def state_of(way: Way) -> State:
    return HttpState(way) if isinstance(way, Http) else BrokerState(way)


class BrokerState:
    def __init__(self, way: Broker) -> None:
        self._store = StateStore(way.log, way.project, way.types)

    async def groups(self) -> list[GroupSize]:
        return await self._store.groups()

    async def values(self, group: str) -> dict[str, bytes]:
        return await self._store.read_group(group)

    async def get(self, group: str, key: str) -> bytes | None:
        return (await self._store.read(group, key)).data

    async def set(self, group: str, key: str, plain: Any) -> None:
        await self._store.set(group, key, self._store.codec(group).convert(plain))

    async def delete(self, group: str, key: str) -> bool:
        return await self._store.delete(group, key)


class _Groups(msgspec.Struct):
    groups: list[GroupSize]


class _Pair(msgspec.Struct):
    key: str
    value: msgspec.Raw


class _Values(msgspec.Struct):
    keys: list[_Pair]
    next: str | None


class _Value(msgspec.Struct):
    deleted: bool
    value: msgspec.Raw


class _Deleted(msgspec.Struct):
    deleted: bool


class HttpState:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def groups(self) -> list[GroupSize]:
        return (await self._way.get(_Groups, "state")).groups

    async def values(self, group: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        after: str | None = None
        while True:
            page = await self._way.get(_Values, "state", group, values=1, limit=PAGE, after=after)
            found |= {pair.key: bytes(pair.value) for pair in page.keys}
            after = page.next
            if after is None:
                return found

    async def get(self, group: str, key: str) -> bytes | None:
        try:
            found = await self._way.get(_Value, "state", group, key)
        except NotThere:
            return None
        return None if found.deleted else bytes(found.value)

    async def set(self, group: str, key: str, plain: Any) -> None:
        await self._way.send(_Value, "PUT", "state", group, key, body={"value": plain, "revision": None})

    async def delete(self, group: str, key: str) -> bool:
        return (await self._way.send(_Deleted, "DELETE", "state", group, key, revision="any")).deleted
