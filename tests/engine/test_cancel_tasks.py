"""Cancelling a trace with an open task: its timer does nothing any more, least of all at once."""

from __future__ import annotations

from motia_runtime.cancels import Target, cancel

SPEC = """
name: t
topics: {review: {external: in}, rejected: {external: out}}
steps:
  Approve: {type: noop, subscribes: [review], emits: [rejected], manual: {timeout: 48h, onTimeout: {topic: rejected, data: {late: true}}}}
"""


async def test_its_timer_neither_fires_early_nor_later(make_app):
    async with make_app(SPEC) as app:
        trace = await app.emit("review", {"id": "a"})
        other = await app.emit("review", {"id": "b"})
        await app.settle()
        dropped = await cancel(app._log, Target(trace), app.clock.time())
        assert (dropped.again, dropped.emits) == (1, 0)
        await app.settle()
        assert [run.outcome for run in await app.runs(trace)] == ["waiting", "cancelled"]
        assert await app.events("rejected") == []
        await app.advance(49 * 3_600)
        assert await app.events("rejected") == [{"late": True}]  # of the other one
        assert len(await app.runs(trace)) == 2
        assert len(await app.runs(other)) >= 1
