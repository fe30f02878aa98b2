"""Plans that no input repeats, left half done by an engine that died."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motia_runtime.clock import VirtualClock
from motia_runtime.commit import Claim, Commits
from motia_runtime.memory import MemoryLog
from motia_runtime.orphans import RENEWED, STALE, Orphans
from motia_runtime.plans import Emitted, Planned, Write
from motia_runtime.ports import LogUnavailable
from motia_runtime.sweep import Sweeper
from support.faulty import FaultyLog


def effects(name: str) -> Planned:
    return Planned("", "", [Write(f"st.done.{name}", b"1", 0)], [Emitted("ev.b", name.encode())])


async def test_a_plan_of_which_nobody_knew_that_it_was_stored_is_completed_like_others():
    """Its engine got no answer to it, noted that a later one was done, and died while it was completing the first."""
    clock = VirtualClock()
    log = MemoryLog(clock)
    faulty = FaultyLog(log, "reply lost", at=1)  # the first call notes that there will be plans
    orphans = Orphans(faulty, clock, "first")
    commits = Commits(faulty, clock, orphans)
    with pytest.raises(LogUnavailable):
        await commits.commit(Claim("run1", None, None), "", effects("one"), ())
    assert await commits.commit(Claim("run2", None, None), "", effects("two"), ())
    await clock.advance(RENEWED + 1)

    append = faulty.append

    async def die_at_the_event(subject: str, *args: Any, **more: Any) -> int:
        faulty.dead |= subject == "ev.b"
        return await append(subject, *args, **more)

    faulty.append = die_at_the_event  # type: ignore[method-assign]
    completing = asyncio.create_task(orphans.finish_own(commits))
    while not faulty.dead:
        await asyncio.sleep(0)
    assert [record.data for record in await log.scan("st.done.one", limit=9)] == [b"1"]
    assert [record.data for record in await log.scan("ev.b", limit=9)] == [b"two"], "it is half done"

    others = Orphans(log, clock, "second")
    sweeper = Sweeper(log, clock, Commits(log, clock, others), others, "second")
    await sweeper.round()
    await clock.advance(STALE + 1)
    await sweeper.round()
    assert sorted(record.data for record in await log.scan("ev.b", limit=9)) == [b"one", b"two"]
    completing.cancel()
    await asyncio.wait([completing])
