"""Events that may have killed the process. Two deliveries without an end can be bad luck (the process died of something else while the event
waited in a buffer); from the third on, the event runs alone among its like, with a mark written before, so that only the one that kills is
found guilty and buried, and those that merely stood by are handled.
"""

from __future__ import annotations

import asyncio

from motia_runtime.naming import encode
from motia_runtime.ports import Delivery, Log
from motia_runtime.state import DELETED, value_of
from motia_spec.model import EventStep

SUSPECT_FROM = 3  # deliveries
MARK_KEPT = 86_400.0  # seconds


class Suspects:
    """Shared by all steps of an engine."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.lane = asyncio.Lock()

    def suspected(self, delivery: Delivery) -> bool:
        return delivery.delivered >= SUSPECT_FROM

    async def may_run(self, step: EventStep, event_id: str) -> bool:
        """Write the mark and say yes, or no when the event has been run with a mark often enough: all attempts but the two before."""
        subject = _subject(step, event_id)
        old = value_of(await self._log.last(subject))
        marks = int(old.data) if old.data else 0
        if marks >= max(1, step.retry.attempts - (SUSPECT_FROM - 1)):
            return False
        await self._log.append(subject, str(marks + 1).encode(), ttl=MARK_KEPT)
        return True

    async def survived(self, step: EventStep, event_id: str) -> None:
        await self._log.append(_subject(step, event_id), b"", headers=DELETED)


def _subject(step: EventStep, event_id: str) -> str:
    # "=m" is no encoded name, so no stream of the app's can have these subjects
    return f"rt.=m.{encode(step.name)}.{encode(event_id)}"
