"""Messages above the broker's limit.

From the engine: a `Claim` goes in their place, and the worker asks for piece after piece; so a queue group can't tear them apart. From a worker: pieces one after the
other to the run's subject, each with its number in a header; the connection keeps their order.
"""

from __future__ import annotations

from motia_runtime.remote.wire import LARGEST

ROOM = 4_096  # bytes of a message left for subject and headers


def limit(max_payload: int) -> int:
    """Bytes that one message may have."""
    return max_payload - ROOM


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class Pieces:
    """One message at a time, as its pieces come in. Lives as long as a try of a run."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, label: str, data: bytes) -> bytes | None:
        """The whole once the last piece has come. Raises ValueError for pieces that are none."""
        number, _, count = label.partition("/")
        if not (number.isdigit() and count.isdigit() and int(number) == len(self._parts) + 1 <= int(count)):
            raise ValueError(f"piece {label!r} came after {len(self._parts)} others")
        self._size += len(data)
        if self._size > LARGEST:
            raise ValueError(f"a message has at most {LARGEST:,} bytes")
        self._parts.append(data)
        if int(number) < int(count):
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        return whole
