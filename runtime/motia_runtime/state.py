"""State outside of a run: what the CLI, the tests and the Workbench read and write. Runs buffer their writes (`effects`) over the same reads."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.naming import check_group, check_key, state_names, state_pattern, state_subject
from motia_runtime.plans import Planned, Write, encode_plan
from motia_runtime.ports import Conflict, Log, Record
from motia_runtime.types import Types
from motia_spec.model import Project

DELETED = {"KV-Operation": "DEL"}  # how NATS key-value buckets mark a deleted key


class Value(msgspec.Struct, frozen=True):
    """What a key holds. `revision` is 0 when the key was never written; `data` is None when it holds nothing."""

    data: bytes | None
    revision: int
    id: str | None = None  # of the record that holds it


class GroupSize(msgspec.Struct, frozen=True):
    group: str
    keys: int
    bytes: int


def value_of(record: Record | None) -> Value:
    if record is None:
        return Value(None, 0)
    return Value(None if is_deleted(record) else record.data, record.seq, record.id)


def is_deleted(record: Record) -> bool:
    """True for a delete marker, whether a run, `nats kv` or the end of a ttl left it."""
    return record.headers.get("KV-Operation") in ("DEL", "PURGE") or "Nats-Marker-Reason" in record.headers


def subject_of(group: str, key: str) -> str:
    """The subject of a key, or `InvalidKey`."""
    return state_subject(check_group(group), check_key(key))


class StateStore:
    """State by group and key. Groups that the spec does not declare hold any JSON.

    Raises `ValidationFailed` for a value that does not fit its group's schema, `InvalidKey` for a bad key, `LogUnavailable`."""

    def __init__(self, log: Log, project: Project, types: Types) -> None:
        self._log = log
        self._ttl = {g.name: g.ttl for g in project.state.values()}
        self._history = {g.name: g.history for g in project.state.values()}
        self._codecs: dict[str, Codec] = {g.name: types.codec(g.schema) for g in project.state.values()}
        self._any = types.codec(None)

    def codec(self, group: str) -> Codec:
        return self._codecs.get(group, self._any)

    def ttl(self, group: str) -> float | None:
        return self._ttl.get(group)

    async def read(self, group: str, key: str) -> Value:
        return value_of(await self._log.last(subject_of(group, key)))

    async def read_group(self, group: str) -> dict[str, bytes]:
        """Every key of the group that holds a value, ordered by key."""
        records = await self._log.lasts(state_pattern(check_group(group)))
        found = {state_names(r.subject)[1]: r.data for r in records if not is_deleted(r)}
        return dict(sorted(found.items()))

    async def get(self, group: str, key: str) -> Any:
        data = (await self.read(group, key)).data
        return None if data is None else self.codec(group).decode(data)

    async def set(self, group: str, key: str, value: Any) -> None:
        await self._put(group, key, self.codec(group).encode(value))

    async def delete(self, group: str, key: str) -> bool:
        """False when there was nothing to delete."""
        return await self._put(group, key, None)

    async def replace(self, group: str, key: str, value: Any, revision: int) -> None:
        """Set it, unless somebody has written the key since it had that revision (0: never written): then `Conflict`."""
        await self._put(group, key, self.codec(group).encode(value), expect=revision)

    async def remove(self, group: str, key: str, revision: int) -> bool:
        """Delete it, unless somebody has written the key since it had that revision: then `Conflict`. False when there was nothing to delete."""
        return await self._put(group, key, None, expect=revision)

    async def _put(self, group: str, key: str, data: bytes | None, expect: int | None = None) -> bool:
        """Write over whatever is there, or over the revision `expect` alone. When a run has written it, a plan says so first: it may be the only evidence that this run came so far."""
        subject = subject_of(group, key)
        ttl = None if data is None else self.ttl(group)
        while True:
            old = value_of(await self._log.last(subject))
            if expect is not None and expect != old.revision:
                raise Conflict(f"{group}/{key} has been written since")
            if data is None and old.data is None:
                return False
            if old.id is not None:
                plan = Planned(f"put:{secrets.token_hex(8)}", "", [Write(subject, data, old.revision, old.id, ttl)])
                await self._log.append(f"tx.=x.{secrets.token_hex(8)}", encode_plan(plan), expect=0)
            headers = DELETED if data is None else None
            try:
                await self._log.append(subject, data or b"", headers=headers, expect=old.revision, ttl=ttl)
            except Conflict:
                continue
            return True

    async def items(self, group: str) -> dict[str, Any]:
        codec = self.codec(group)
        return {key: codec.decode(data) for key, data in (await self.read_group(group)).items()}

    async def history(self, group: str, key: str) -> list[Any]:
        """The newest revisions of a key, oldest first: as many as the group's `history` says (1 for groups the spec does not declare)."""
        codec = self.codec(group)
        records = await self._log.history(subject_of(group, key))
        return [codec.decode(r.data) for r in records[-self._history.get(group, 1) :] if not is_deleted(r)]

    async def groups(self) -> list[GroupSize]:
        """Groups that hold something, or are declared; ordered by name."""
        sizes: dict[str, tuple[int, int]] = dict.fromkeys(self._codecs, (0, 0))
        for record in await self._log.lasts("st.>"):
            if not is_deleted(record):
                group, _ = state_names(record.subject)
                keys, size = sizes.get(group, (0, 0))
                sizes[group] = (keys + 1, size + len(record.data))
        return [GroupSize(group, *sizes[group]) for group in sorted(sizes)]
