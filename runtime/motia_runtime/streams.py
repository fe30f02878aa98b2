"""Items of the app's streams, kept by stream, group and id, and events to who follows them. Both at once, not with the run's commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.naming import check_group, check_key, live_subject, stream_pattern, stream_subject
from motia_runtime.ports import Conflict, Log, TooLarge
from motia_runtime.state import DELETED, is_deleted, value_of
from motia_runtime.types import Types
from motia_spec.model import Project

_encode = msgspec.json.Encoder().encode

UPDATE_TRIES = 50
LONGEST_TYPE = 200  # characters of an event's type


def _subject(stream: str, group: str, id: str) -> str:
    return stream_subject(stream, check_group(group), check_key(id))


class Told(msgspec.Struct):
    """An event as it is sent to those who follow a group or an item. It is stored nowhere."""

    type: str
    data: msgspec.Raw


class StreamStore:
    def __init__(self, log: Log, project: Project, types: Types) -> None:
        self._log = log
        self._ttl = {s.name: s.ttl for s in project.streams.values()}
        self._codecs = {s.name: types.codec(s.schema) for s in project.streams.values()}
        self._any = types.codec(None)

    def known(self, stream: str) -> str:
        """The name itself; KeyError when the spec declares no such stream."""
        if stream not in self._codecs:
            declared = ", ".join(sorted(self._codecs)) or "none"
            raise KeyError(f"no stream {stream!r} (declared: {declared}); add it under `streams` in the spec")
        return stream

    def codec(self, stream: str) -> Codec:
        return self._codecs[stream]

    async def get(self, stream: str, group: str, id: str) -> Any:
        data = value_of(await self._log.last(_subject(stream, group, id))).data
        return None if data is None else self._codecs[stream].decode(data)

    async def set(self, stream: str, group: str, id: str, value: Any) -> None:
        data = self._codecs[stream].encode(value)
        await self._log.append(_subject(stream, group, id), data, ttl=self._ttl[stream])

    async def update(self, stream: str, group: str, id: str, change: Callable[[Any], Any]) -> Any:
        subject, codec = _subject(stream, group, id), self._codecs[stream]
        for _ in range(UPDATE_TRIES):
            old = value_of(await self._log.last(subject))
            value = change(None if old.data is None else codec.decode(old.data))
            try:
                await self._log.append(subject, codec.encode(value), expect=old.revision, ttl=self._ttl[stream])
            except Conflict:
                continue
            return value
        raise Conflict(f"{UPDATE_TRIES} concurrent updates came first")

    async def delete(self, stream: str, group: str, id: str) -> bool:
        subject = _subject(stream, group, id)
        if value_of(await self._log.last(subject)).data is None:
            return False
        await self._log.append(subject, b"", headers=DELETED)
        return True

    async def get_group(self, stream: str, group: str) -> list[Any]:
        records = await self._log.lasts(stream_pattern(stream, check_group(group)))
        return [self._codecs[stream].decode(r.data) for r in records if not is_deleted(r)]

    async def send(self, stream: str, group: str, id: str | None, type: str, data: Any) -> None:
        """Tell whoever follows the group, or the item, at this moment. Raises `ValueError` for a type that is none."""
        if not isinstance(type, str) or not 1 <= len(type) <= LONGEST_TYPE:
            raise ValueError(
                f"send to {stream!r}: the type of an event is 1 to {LONGEST_TYPE} characters, not {type!r:.80}"
            )
        subject = live_subject(stream, check_group(group), None if id is None else check_key(id))
        told = _encode(Told(type, msgspec.Raw(self._any.encode(data))))
        if len(told) > self._log.max_size:
            raise TooLarge(f"send to {stream!r}: {len(told):,} bytes of JSON; at most {self._log.max_size:,} fit")
        self._log.feed.tell(subject, told)
