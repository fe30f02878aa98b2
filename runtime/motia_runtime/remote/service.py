"""A worker as a NATS micro service (ADR-32 of NATS): what `nats micro ls|info|stats` show."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from motia_runtime.remote.messenger import Messenger
from motia_runtime.remote.wire import QUEUE, dump

TYPE = "io.nats.micro.v1."


class Endpoint(msgspec.Struct):
    """One step. Its name has letters, digits, "_" and "-" only."""

    name: str
    subject: str
    step: str
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    spent: float = 0.0  # seconds

    def count(self, seconds: float, error: str = "") -> None:
        self.requests += 1
        self.spent += seconds
        if error:
            self.errors += 1
            self.last_error = error


class Service:
    """Answers who asks which services there are. Lives as long as its worker serves."""

    def __init__(
        self,
        messenger: Messenger,
        *,
        id: str,
        name: str,
        version: str,
        description: str,
        metadata: dict[str, str],
        endpoints: list[Endpoint],
    ) -> None:
        self._messenger = messenger
        self._who: dict[str, Any] = {"name": name, "id": id, "version": version, "metadata": metadata}
        self._description = description
        self._endpoints = endpoints
        self._started = (
            datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        self._listening: list[int] = []

    def start(self) -> None:
        name, own = self._who["name"], self._who["id"]
        verbs = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        for verb, answer in verbs.items():

            def heard(_: str, reply: str, status: int, head: dict[str, str], data: bytes, answer: Any = answer) -> None:
                if reply:
                    self._messenger.send(reply, dump(answer()))

            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{name}", f"$SRV.{verb}.{name}.{own}"):
                self._listening.append(self._messenger.listen(subject, heard))

    async def stop(self) -> None:
        for number in self._listening:
            await self._messenger.unlisten(number)

    def _ping(self) -> dict[str, Any]:
        return {"type": TYPE + "ping_response", **self._who}

    def _info(self) -> dict[str, Any]:
        endpoints = [{**_place(e), "metadata": {"step": e.step}} for e in self._endpoints]
        return {"type": TYPE + "info_response", **self._who, "description": self._description, "endpoints": endpoints}

    def _stats(self) -> dict[str, Any]:
        endpoints = [
            {
                **_place(e),
                "num_requests": e.requests,
                "num_errors": e.errors,
                "last_error": e.last_error,
                "processing_time": int(e.spent * 1e9),
                "average_processing_time": int(e.spent * 1e9 / e.requests) if e.requests else 0,
            }
            for e in self._endpoints
        ]
        return {"type": TYPE + "stats_response", **self._who, "started": self._started, "endpoints": endpoints}


def _place(endpoint: Endpoint) -> dict[str, Any]:
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": QUEUE}
