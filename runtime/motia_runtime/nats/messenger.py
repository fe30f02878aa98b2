"""The port `remote.messenger` on a connection to NATS."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from motia_runtime.nats.link import Link
from motia_runtime.ports import LogUnavailable
from motia_runtime.remote.messenger import Answered, Heard


class NatsMessenger:
    """Lives as long as the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.connections = 1
        link.on_up.append(self._came_up)

    def _came_up(self) -> None:
        self.connections += 1

    @property
    def max_payload(self) -> int:
        return self._link.max_payload

    @property
    def connected(self) -> bool:
        return self._link.up

    def send(self, subject: str, data: bytes, *, reply: str = "", head: Mapping[str, str] | None = None) -> None:
        self._link.publish(subject, data, head, reply=reply)

    def ask(
        self, subject: str, data: bytes, answered: Answered, *, timeout: float, head: Mapping[str, str] | None = None
    ) -> None:
        self._link.ask(subject, data, lambda status, _, data: answered(status, data), head=head, timeout=timeout)

    def listen(self, subject: str, heard: Heard, *, queue: str = "") -> int:
        return self._link.listen(subject, heard, queue=queue)

    async def unlisten(self, number: int) -> None:
        self._link.unlisten(number)
        with contextlib.suppress(LogUnavailable):  # then nothing comes any more either
            await self._link.barrier()
        self._link.forget(number)

    async def close(self) -> None:
        """Send what is pending and leave."""
        await self._link.close()
