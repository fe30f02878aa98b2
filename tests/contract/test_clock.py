"""Time that a test turns by hand, and the memory log on it."""

from __future__ import annotations

import asyncio
import time

from motia_runtime.clock import SystemClock, Timers, VirtualClock
from motia_runtime.memory import MemoryLog
from motia_runtime.ports import Delivery


async def test_everything_due_runs_in_order_at_its_own_time() -> None:
    clock = VirtualClock(start=1000.0)
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, when: float, then: float = 0.0) -> None:
        await clock.sleep_until(when)
        seen.append((name, clock.time()))
        if then:
            await sleeper(name + "'", clock.time() + then)

    tasks = [asyncio.create_task(sleeper("b", 1020.0)), asyncio.create_task(sleeper("a", 1010.0, then=5.0))]
    tasks.append(asyncio.create_task(sleeper("late", 1100.0)))
    await clock.advance(50)
    assert seen == [("a", 1010.0), ("a'", 1015.0), ("b", 1020.0)]
    assert (clock.time(), clock.next_due()) == (1050.0, 1100.0)
    tasks[2].cancel()
    await clock.advance(0)
    assert clock.next_due() is None
    await clock.sleep_until(5)


async def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    began = time.time()
    await clock.sleep_until(began + 0.05)
    assert time.time() >= began + 0.05
    assert abs(clock.time() - time.time()) < 1
    await clock.sleep_until(0)


async def test_timers_can_be_cancelled_and_come_in_order() -> None:
    clock = VirtualClock()
    timers = Timers(clock)
    seen: list[int] = []
    start = clock.time()
    handles = [timers.at(start + n, lambda n=n: seen.append(n)) for n in (3, 1, 2, 4)]
    handles[2].cancel()
    await clock.advance(3)
    assert seen == [1, 3]
    assert clock.next_due() == start + 4
    handles[3].cancel()
    await clock.advance(0)
    assert clock.next_due() is None
    timers.close()


async def test_delays_ttl_dedupe_and_redelivery_follow_the_clock() -> None:
    clock = VirtualClock()
    log = MemoryLog(clock, ack_wait=30)
    seen: list[Delivery] = []
    await log.consume("c", ["ev.>"], seen.append, credit=100)
    start = clock.time()
    await log.append("ev.a", b"in an hour", at=start + 3600, id="x")
    await log.append("st.g.k", b"for a day", ttl=86400)
    await clock.advance(3599)
    assert seen == []
    await clock.advance(1)
    assert [(d.record.data, d.record.time, d.delivered) for d in seen] == [(b"in an hour", start + 3600, 1)]
    await clock.advance(29)
    assert len(seen) == 1
    seen[0].touch()
    await clock.advance(29)
    assert len(seen) == 1
    await clock.advance(1)
    assert [d.delivered for d in seen] == [1, 2]
    seen[0].nak(0)  # it is no longer his to give back
    await clock.advance(1)
    assert len(seen) == 2
    seen[1].nak(600)
    await clock.advance(599.9)
    assert len(seen) == 2
    await clock.advance(0.1)
    assert [d.delivered for d in seen] == [1, 2, 3]
    seen[2].ack()
    await clock.advance(0)
    assert clock.next_due() == start + 86400
    seq = await log.append("ev.a", b"again", id="x")
    assert await log.append("ev.a", b"again", id="x") == seq
    assert await log.last("st.g.k") is not None
    await clock.advance(86400)
    assert await log.last("st.g.k") is None
    log.close()
