"""Cron: one tick per due time, what overlaps, what was missed."""

from __future__ import annotations

import sys

NOON = 1_700_049_600.0  # 2023-11-15 12:00:00 UTC

SPEC = """
name: t
state: {{ticks: {{}}}}
steps:
  Tick: {{type: cron, cron: "{cron}", {more} retry: {{attempts: 2, delay: 5s, jitter: false}}}}
"""
TICK = """
async def handler(ctx):
    assert ctx.trigger.type == "cron"
    await ctx.state.ticks.update(str(int(ctx.trigger.due)), lambda old: (old or 0) + 1)
"""


def spec(cron: str = "*/10 * * * *", more: str = "") -> str:
    return SPEC.format(cron=cron, more=more + "," if more else "")


async def test_one_run_per_due_time(make_app):
    async with make_app(spec(), start=NOON, tick=TICK) as app:
        await app.advance(3600)
        assert await app.state.items("ticks") == {str(int(NOON + 600 * n)): 1 for n in range(1, 7)}


async def test_two_instances_make_one_tick_each(make_app):
    from motia_runtime.app import load_version

    async with make_app(spec(), start=NOON, tick=TICK) as app:
        second = load_version(app._version.project, app._log, app.clock)
        await second.engine.start()
        try:
            await app.advance(3600)
        finally:
            await second.engine.stop(0)
        assert await app.state.items("ticks") == {str(int(NOON + 600 * n)): 1 for n in range(1, 7)}


async def test_time_zones_move_the_due_time(make_app):
    async with make_app(spec("0 14 * * *", "timezone: Europe/Berlin"), start=NOON, tick=TICK) as app:
        await app.advance(86_400)
        assert list(await app.state.items("ticks")) == [str(int(NOON + 3600))], (
            "14:00 in Berlin is 13:00 UTC in November"
        )


async def test_a_failed_tick_is_tried_again(make_app):
    tick = """
    tries = []

    async def handler(tick, ctx):
        tries.append((int(tick.due), ctx.attempt))
        raise RuntimeError("boom")
    """
    async with make_app(spec(), start=NOON, tick=tick) as app:
        await app.advance(660)
        assert sys.modules["steps.tick"].tries == [(NOON + 600, 1), (NOON + 600, 2)]


SLOW = """
import asyncio
runs = []
go = asyncio.Event()

async def handler(ctx):
    runs.append(int(ctx.trigger.due))
    await go.wait()
"""


async def _through_a_long_run(make_app, overlap):
    async with make_app(spec(more=f"timeout: 1h, overlap: {overlap}"), start=NOON, tick=SLOW) as app:
        await app.clock.advance(600)
        await _until(lambda: len(sys.modules["steps.tick"].runs) == 1)
        await app.clock.advance(600)
        await app.clock.advance(600)
        if overlap == "allow":
            await _until(lambda: len(sys.modules["steps.tick"].runs) == 3)
        sys.modules["steps.tick"].go.set()
        await app.settle()
        await app.advance(600)
        return [int(r - NOON) // 600 for r in sys.modules["steps.tick"].runs]


async def _until(done, timeout=5.0):
    import asyncio
    import time

    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def test_overlap_skip_leaves_out_what_comes_due_meanwhile(make_app):
    assert await _through_a_long_run(make_app, "skip") == [1, 4]


async def test_overlap_queue_runs_it_afterwards(make_app):
    assert await _through_a_long_run(make_app, "queue") == [1, 2, 3, 4]


async def test_overlap_allow_runs_it_beside(make_app):
    assert await _through_a_long_run(make_app, "allow") == [1, 2, 3, 4]


async def _after_a_pause(make_app, pause, catch_up):
    from motia_runtime.app import load_version

    async with make_app(spec(more=f"catchUp: {catch_up}"), start=NOON, tick=TICK) as app:
        await app.advance(600)
        await app._version.engine.stop(0)
        await app.clock.advance(pause)
        app._version = load_version(app._version.project, app._log, app.clock)
        await app._version.engine.start()
        await app.settle()
        return [int(int(k) - NOON) for k in await app.state.items("ticks")]


async def test_a_missed_tick_runs_once_when_catch_up_allows(make_app):
    assert await _after_a_pause(make_app, 1500, "10m") == [600, 1800], "of two missed ones the newest"


async def test_a_missed_tick_is_left_out_when_it_is_too_old(make_app):
    assert await _after_a_pause(make_app, 1500, "1m") == [600]


async def test_a_record_that_is_no_tick_stops_no_schedule(make_app):
    async with make_app(spec(), start=NOON, tick=TICK) as app:
        await app.advance(600)
        await app._log.append("cron.Tick", b"not a tick")
        await app.advance(1200)
        assert [int(int(k) - NOON) for k in await app.state.items("ticks")] == [600, 1200, 1800]
