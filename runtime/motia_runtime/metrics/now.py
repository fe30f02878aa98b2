"""What is looked up when somebody asks: steps at the broker, streams, the process."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from motia_runtime.engine import Engine
from motia_runtime.http import refusals
from motia_runtime.metrics.text import family
from motia_runtime.naming import dead_subject
from motia_runtime.ports import Log, LogUnavailable
from motia_runtime.standings import standings
from motia_spec.model import Project

FRESH = 5.0  # seconds that what the broker has said is told again
STATM = Path("/proc/self/statm")

_log = logging.getLogger("motia.metrics")


class Queues:
    """What the broker knows of the steps. Asked at most every `FRESH` seconds, however many ask us."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = asyncio.Lock()
        self._asked: tuple[Project, float] | None = None
        self._lines: list[str] = []

    async def lines(self, project: Project) -> list[str]:
        """None while the broker can't be reached."""
        async with self._lock:
            if self._asked is not None and self._asked[0] is project and time.monotonic() - self._asked[1] < FRESH:
                return self._lines
            if not self._log.connected():
                return []
            try:
                self._lines = list(await self._ask(project))
            except LogUnavailable as problem:
                _log.warning("metrics lack what the broker knows: %s", problem)
                return []
            self._asked = project, time.monotonic()
            return self._lines

    async def _ask(self, project: Project) -> Iterable[str]:
        found = await standings(self._log, project)
        letters = await self._log.counts("dlq.>")
        steps = ("step",)
        waiting = {(each.step,): each.waiting for each in found if each.waiting is not None}
        in_flight = {(each.step,): each.in_flight for each in found if each.in_flight is not None}
        paused = {(each.step,): each.paused_until is not None for each in found if each.waiting is not None}
        dead = {(each.step,): letters.get(dead_subject(each.step), 0) for each in found if (each.step,) in waiting}
        return [
            *family("gauge", "motia_step_waiting", "Not delivered yet, over all instances.", steps, waiting),
            *family("gauge", "motia_step_in_flight", "Delivered and not ended, over all instances.", steps, in_flight),
            *family("gauge", "motia_step_paused", "1: paused.", steps, paused),
            *family("gauge", "motia_step_dead_letters", "Dead letters of the step.", steps, dead),
            *family("gauge", "motia_dead_letters", "All dead letters of the app.", (), {(): sum(letters.values())}),
        ]


def of_engine(engine: Engine, log: Log) -> Iterable[str]:
    """What this process has in hand, and its clients of streams."""
    hub = engine.live
    counts = hub.counts
    in_hand = {(step,): count for step, count in engine.in_hand().items()}
    yield from family("gauge", "motia_broker_connected", "1: the broker is connected.", (), {(): log.connected()})
    yield from family(
        "gauge", "motia_step_in_hand", "Deliveries that this process runs or is about to.", ("step",), in_hand
    )
    yield from family(
        "gauge", "motia_http_requests_running", "Requests that steps answer now.", (), {(): engine.requests}
    )
    yield from family(
        "counter",
        "motia_http_requests_refused_total",
        "Requests that were answered without running a step.",
        ("route", "status"),
        refusals.counts(),
    )
    yield from family("gauge", "motia_stream_clients", "Clients that follow streams here.", (), {(): len(hub.clients)})
    for name, words, count in (
        ("frames", "Frames sent to clients of streams.", counts.sent),
        ("frames_coalesced", "Frames that a later one of the same item replaced for a slow client.", counts.coalesced),
        ("events_discarded", "Events that a slow client did not get.", counts.discarded),
        ("clients_dropped", "Clients that were too slow.", counts.dropped),
        ("messages_refused", "Messages of clients that could not be understood, or came too often.", counts.refused),
        ("joins_denied", "Joins that were denied.", counts.denied),
    ):
        yield from family("counter", f"motia_stream_{name}_total", words, (), {(): count})


def of_process() -> Iterable[str]:
    yield from family("counter", "process_cpu_seconds_total", "User and system time.", (), {(): time.process_time()})
    if STATM.exists():  # Linux
        resident = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        yield from family("gauge", "process_resident_memory_bytes", "Resident memory.", (), {(): resident})
