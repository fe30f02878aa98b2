"""The wall clock is set while an engine runs: what it renews goes on by the time that passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from motia_runtime import leading, orphans
from motia_runtime.clock import SystemClock, VirtualClock, following
from motia_runtime.memory.log import MemoryLog
from motia_runtime.nats.log import NatsLog

OpenLog = Callable[..., Awaitable[NatsLog]]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the wall clock is ahead."""
    real, by = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + by[0])
    return by


async def test_a_leader_goes_on_renewing(ahead: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "RENEWED", 0.05)
    log = MemoryLog(VirtualClock())
    leader = leading.Leadership(log, SystemClock(), "Work", "me")
    ahead[0] = 3600.0
    assert await leader.take()
    keeping = asyncio.create_task(leader.keep())
    await asyncio.sleep(0)
    ahead[0] = 0.0
    await renewed(log, "rt.=o.Work", 3)
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_an_engine_goes_on_noting_its_open_plans(ahead: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "RENEWED", 0.05)
    log = MemoryLog(VirtualClock())
    mine = orphans.Orphans(log, SystemClock(), "me")
    ahead[0] = 3600.0
    async with mine.place() as (_, seen):
        seen(1)
        await asyncio.sleep(0)  # its renewing begins
        ahead[0] = 0.0
        await renewed(log, orphans.note_subject("me"), 3)
    await mine.stop()


async def test_a_delay_is_as_long_as_it_says(ahead: list[float], nats_log: OpenLog) -> None:
    clock = SystemClock()
    log = await nats_log(now=clock.time)
    ahead[0] = 3600.0
    began = clock.steady()
    await log.append("ev.later", b"", at=clock.time() + 1.5)  # as a retry: neither at once nor in an hour
    ahead[0] = -3600.0
    await log.append("ev.later", b"", at=clock.time() + 1.5)
    async with asyncio.timeout(30):
        while len(await log.scan("ev.later", limit=9)) < 2:
            await asyncio.sleep(0.05)
    assert clock.steady() - began >= 1.4


async def test_the_clock_of_an_app_is_that_of_its_broker(nats_log: OpenLog, ahead: list[float]) -> None:
    log = await nats_log()
    real = time.time()
    ahead[0] = 86_400.0
    clock = SystemClock()  # of a process that began while the machine was a day ahead
    assert clock.time() - real > 80_000
    async with following(clock, log.feed):
        assert abs(clock.time() - real) < 60


async def renewed(log: MemoryLog, subject: str, times: int) -> None:
    seqs = set()
    async with asyncio.timeout(5):
        while len(seqs) < times:
            record = await log.last(subject)
            seqs.add(record and record.seq)
            await asyncio.sleep(0.01)
