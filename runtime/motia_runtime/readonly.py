"""What a run changes, for functions that may change nothing: every read works, every effect is refused where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from motia_runtime.effects import Unit
from motia_runtime.handler import ReadOnly
from motia_runtime.streams import StreamStore


class ReadOnlyUnit(Unit):
    """Takes the place of the attempt's unit. Raises `ReadOnly`."""

    def _open_streams(self) -> StreamStore:
        return _ReadOnlyStreams(self._services.streams)

    def emit(self, topic: str, data: Any, delay: float | None, at: float | None, key: str | None = None) -> NoReturn:
        raise ReadOnly(f"it emits {topic!r}")

    def cancel_emit(self, topic: str, key: str) -> NoReturn:
        raise ReadOnly(f"it cancels an emit of {topic!r}")

    def set(self, group: str, key: str, value: Any, ttl: float | None) -> NoReturn:
        raise ReadOnly(f"it sets {key!r} in the state group {group!r}")

    async def delete(self, group: str, key: str) -> NoReturn:
        raise ReadOnly(f"it deletes {key!r} from the state group {group!r}")

    async def flush(self) -> NoReturn:
        raise ReadOnly("it calls flush")


class _ReadOnlyStreams(StreamStore):
    def __init__(self, streams: StreamStore) -> None:
        vars(self).update(vars(streams))

    async def set(self, stream: str, group: str, id: str, value: Any) -> NoReturn:
        raise ReadOnly(f"it sets {id!r} in the stream {stream!r}")

    async def update(self, stream: str, group: str, id: str, change: Callable[[Any], Any]) -> NoReturn:
        raise ReadOnly(f"it updates {id!r} in the stream {stream!r}")

    async def delete(self, stream: str, group: str, id: str) -> NoReturn:
        raise ReadOnly(f"it deletes {id!r} from the stream {stream!r}")

    async def send(self, stream: str, group: str, id: str | None, type: str, data: Any) -> NoReturn:
        raise ReadOnly(f"it sends {type!r} to the stream {stream!r}")
