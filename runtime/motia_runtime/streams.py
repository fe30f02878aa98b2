"""Items of the app's streams, kept by stream, group and id. Written at once, not with the run's commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motia_runtime.codec import Codec
from motia_runtime.naming import check_group, check_key, stream_pattern, stream_subject
from motia_runtime.ports import Conflict, Log
from motia_runtime.state import DELETED, is_deleted, value_of
from motia_runtime.types import Types
from motia_spec.model import Project

UPDATE_TRIES = 50


def _subject(stream: str, group: str, id: str) -> str:
    return stream_subject(stream, check_group(group), check_key(id))


class StreamStore:
    def __init__(self, log: Log, project: Project, types: Types) -> None:
        self._log = log
        self._ttl = {s.name: s.ttl for s in project.streams.values()}
        self._codecs = {s.name: types.codec(s.schema) for s in project.streams.values()}

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
