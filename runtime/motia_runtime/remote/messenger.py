"""READ THIS FIRST: what workers are reached by. One port; `nats.messenger` is its adapter, on the connection of the app's log.

Messages go to who listens at that moment, at most once each, and are stored nowhere. Between two ends they keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

NOBODY = 503  # status of an empty message: nobody listens to what was asked

Heard: TypeAlias = Callable[[str, str, int, dict[str, str], bytes], None]  # subject, reply, status, headers, data
Answered: TypeAlias = Callable[[int, bytes], object]  # status, data


class Messenger(Protocol):
    """Subjects are NATS' own, prefix included."""

    @property
    def max_payload(self) -> int:
        """Bytes that a message may have."""
        ...

    @property
    def connected(self) -> bool: ...

    @property
    def connections(self) -> int:
        """How often there was a connection. When it has grown, messages may have been lost."""
        ...

    def send(self, subject: str, data: bytes, *, reply: str = "", head: Mapping[str, str] | None = None) -> None:
        """Queue a message. Dropped while there is no connection. With `reply`, who listens there hears NOBODY when nobody takes it."""
        ...

    def ask(
        self, subject: str, data: bytes, answered: Answered, *, timeout: float, head: Mapping[str, str] | None = None
    ) -> None:
        """Send, and have the one answer given. A status other than 0: none came, within `timeout` seconds or for want of a listener."""
        ...

    def listen(self, subject: str, heard: Heard, *, queue: str = "") -> int:
        """Have messages given to `heard`, over reconnects; each to one listener of the queue only, if one is named. Gives a number for `unlisten`."""
        ...

    async def unlisten(self, number: int) -> None:
        """No message is heard after this returns; those that the broker had sent before are."""
        ...
