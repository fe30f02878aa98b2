"""`batch`: one run for many events, each of whose effects are true once; what fails is found by halves."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from motia_runtime.batch import BatchWorker
from motia_runtime.cancels import Target, cancel

SPEC = """
name: lists
topics:
  a: {external: in, schema: {type: object, properties: {n: {type: integer}, urgency: {type: number}}, required: [n]}}
  done: {external: out}
state: {sums: {}}
steps:
  Work:
    type: event
    subscribes: [a]
    emits: [done]
    retry: {attempts: 2, delay: 10s, jitter: false}
    batch: {size: SIZE, wait: 2s}
    MORE
"""
WORK = """
import asyncio
from motia_runtime.handler import RetryLater

BAD = set()
at_once = 0
most = 0

def is_even(data, ctx):
    return data.n % 2 == 0

async def handler(events, ctx):
    global at_once, most
    at_once += 1
    most = max(most, at_once)
    await asyncio.sleep(0)
    at_once -= 1
    numbers = [event.n for event in events]
    for n in numbers:
        await ctx.state.sums.update("all", lambda old: (old or 0) + n)
    await ctx.emit("done", {"list": numbers, "attempt": ctx.attempt, "most": most})
    if "later" in BAD and ctx.attempt == 1:
        raise RetryLater(3)
    if "flush" in BAD:
        await ctx.flush()
    if BAD & set(numbers):
        raise RuntimeError("a bad one")
"""


def _spec(size: int = 10, more: str = "") -> str:
    return SPEC.replace("SIZE", str(size)).replace("MORE", more)


def _work(*bad: Any) -> str:
    return WORK.replace("BAD = set()", f"BAD = set({list(bad)!r})")


async def _lists(app: Any) -> list[list[int]]:
    return [one["list"] for one in await app.events("done")]


async def test_as_many_as_have_come_after_the_wait(make_app):
    async with make_app(_spec(), work=_work()) as app:
        for n in range(4):
            await app.emit("a", {"n": n})
        await app.settle()
        assert await _lists(app) == []
        await app.advance(1)
        await app.emit("a", {"n": 4})
        await app.advance(0.9)
        assert await _lists(app) == []
        await app.advance(0.2)
        assert await _lists(app) == [[0, 1, 2, 3, 4]]
        assert await app.state.get("sums", "all") == 10


async def test_a_full_list_does_not_wait(make_app):
    async with make_app(_spec(), work=_work()) as app:
        for n in range(25):
            await app.emit("a", {"n": n})
        await app.settle()
        assert sorted(await _lists(app)) == [list(range(10)), list(range(10, 20))]
        await app.advance(2)
        assert sorted(await _lists(app))[2] == [20, 21, 22, 23, 24]


async def test_without_a_wait_it_takes_what_is_there(make_app):
    async with make_app(_spec().replace("wait: 2s", "wait: 0s"), work=_work()) as app:
        await app.emit("a", {"n": 1})
        await app.settle()
        assert await _lists(app) == [[1]]


async def test_one_bad_event_is_found_by_halves_and_dies_alone(make_app):
    async with make_app(_spec(), work=_work(6)) as app:
        traces = [await app.emit("a", {"n": n}) for n in range(10)]
        await app.settle()
        assert sorted(await _lists(app)) == [[0, 1, 2, 3, 4], [5], [7, 8, 9]]
        assert await app.dead_letters() == []
        await app.advance(13)
        [letter] = await app.dead_letters()
        assert letter.story.attempts == 2
        assert letter.story.error.message == "a bad one"
        assert await app.state.get("sums", "all") == 45 - 6
        assert [run.outcome for run in await app.runs(traces[6])] == ["retry", "dead"]
        assert [run.outcome for run in await app.runs(traces[0])] == ["split", "ok"]


async def test_retry_later_holds_for_the_whole_list(make_app):
    async with make_app(_spec(), work=_work("later")) as app:
        for n in range(10):
            await app.emit("a", {"n": n})
        await app.settle()
        assert await _lists(app) == []
        await app.advance(3)
        [done] = await app.events("done")
        assert sorted(done["list"]) == list(range(10))
        assert done["attempt"] == 2


async def test_an_event_that_cannot_be_read_fails_alone(make_app):
    spec = _spec().replace("external: in", "external: out")  # its events are not checked at the door
    async with make_app(spec, work=_work()) as app:
        for n in range(9):
            await app.emit("a", {"n": n})
        await app._log.append("ev.a", b'{"n": "no number"}')
        await app.settle()
        assert await _lists(app) == [list(range(9))]
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "ValidationFailed"


async def test_controls_are_asked_for_each_event(make_app):
    more = "condition: steps/work.py:is_even\n    dedupe: {key: data.n, window: 1h}"
    async with make_app(_spec(more=more), work=_work()) as app:
        for n in [0, 1, 2, 3, 4, 4, 2, 8, 9, 6]:
            await app.emit("a", {"n": n})
        await app.settle()
        assert await _lists(app) == [[0, 2, 4, 8, 6]]


async def test_the_most_urgent_make_the_first_list(make_app):
    async with make_app(_spec(more="priority: data.urgency"), work=_work()) as app:
        for n in range(9):
            await app.emit("a", {"n": n, "urgency": n % 3})
        await app.advance(2)
        assert await _lists(app) == [[2, 5, 8, 1, 4, 7, 0, 3, 6]]


async def test_the_limit_counts_lists(make_app):
    async with make_app(_spec(size=5, more="concurrency: {limit: 2}"), work=_work()) as app:
        for n in range(100):
            await app.emit("a", {"n": n})
        await app.settle()
        done = await app.events("done")
        assert sorted(n for one in done for n in one["list"]) == list(range(100))
        assert max(one["most"] for one in done) == 2
        assert await app.state.get("sums", "all") == sum(range(100))


async def test_a_list_commits_as_a_whole(make_app):
    async with make_app(_spec(size=1), work=_work("flush")) as app:
        await app.emit("a", {"n": 1})
        await app.advance(12)
        [letter] = await app.dead_letters()
        assert "ctx.flush" in letter.story.error.message


async def test_the_traces_of_all_its_events_show_the_run(make_app):
    async with make_app(_spec(size=3), work=_work()) as app:
        traces = [await app.emit("a", {"n": n}) for n in range(3)]
        await app.settle()
        runs = [[run for run in await app.runs(trace) if run.step == "Work"] for trace in traces]
        [[whole], *others] = runs
        assert len(whole.events) == 3
        assert whole.trigger.event_id == whole.events[0]
        assert [len(whole.emits), len(whole.state)] == [1, 1]
        for event, [part] in zip(whole.events[1:], others, strict=True):
            assert part.batch == traces[0]
            assert part.trigger.event_id == event
            assert part.outcome == "ok"


async def test_when_the_engine_stops_what_waits_goes_back(make_app):
    async with make_app(_spec(), work=_work()) as app:
        for n in range(3):
            await app.emit("a", {"n": n})
        await app.settle()
        [worker] = [worker for worker in app._version.engine._workers if isinstance(worker, BatchWorker)]
        await worker.stop(1)
        await asyncio.sleep(0)
        backlog = await app._log.backlog("Work")
        assert backlog.waiting + backlog.in_flight == 3
        assert await _lists(app) == []


async def test_a_list_for_a_process_of_its_own(make_app):
    work = """
    import os

    def handler(events, ctx):
        ctx.emit("done", {"list": [event.n for event in events], "pid": os.getpid()})
    """
    async with make_app(_spec(more="isolation: process"), work=work) as app:
        for n in range(10):
            await app.emit("a", {"n": n})
        await app.settle()
        [done] = await app.events("done")
        assert done["list"] == list(range(10))
        assert done["pid"] != os.getpid()


HELD = """
import asyncio

began, gate = [], asyncio.Event()

async def handler(events, ctx):
    began.append([event.n for event in events])
    await ctx.state.sums.update("all", lambda old: (old or 0) + sum(began[-1]))
    await ctx.emit("done", {"list": began[-1], "attempt": ctx.attempt})
    await gate.wait()
"""


async def _under_way(app: Any, count: int) -> Any:
    """The handler's module, once its handler has been called so often."""
    module = sys.modules["steps.work"]
    for _ in range(2_000):
        if len(module.began) == count:
            return module
        await asyncio.sleep(0.002)
    raise AssertionError(f"called {len(module.began)} times")


async def test_a_list_that_runs_begins_again_without_what_is_cancelled(make_app):
    async with make_app(_spec(size=4), work=HELD) as app:
        traces = [await app.emit("a", {"n": n}) for n in range(4)]
        await _under_way(app, 1)
        await cancel(app._log, Target(traces[0]), app.clock.time())
        await _under_way(app, 2)
        await cancel(app._log, Target(traces[2], "Work"), app.clock.time())
        module = await _under_way(app, 3)
        module.gate.set()
        await app.settle()
        assert module.began == [[0, 1, 2, 3], [1, 2, 3], [1, 3]]
        assert await app.events("done") == [{"list": [1, 3], "attempt": 1}]
        assert await app.state.get("sums", "all") == 4
        outcomes = [[run.outcome for run in await app.runs(trace)] for trace in traces]
        assert outcomes == [["split", "cancelled"], ["split", "ok"], ["cancelled"], ["ok"]]


async def test_a_list_of_which_all_are_cancelled_leaves_nothing(make_app):
    async with make_app(_spec(size=2), work=HELD) as app:
        traces = [await app.emit("a", {"n": n}) for n in range(2)]
        await _under_way(app, 1)
        for trace in traces:
            await cancel(app._log, Target(trace), app.clock.time())
        await app.settle()
        assert await app.events("done") == []
        assert await app.state.get("sums", "all") is None
        assert [run.outcome for trace in traces for run in await app.runs(trace)].count("cancelled") == 2


@pytest.mark.parametrize("beaten", [False, True])
async def test_a_list_that_commits_wins_unless_it_is_beaten_to_a_key(make_app, monkeypatch, beaten):
    async with make_app(_spec(size=2), work=HELD) as app:
        append, traces, done = app._log.append, [], []

        async def slow(subject, data, **more):
            if subject.startswith("st.sums") and not done:
                done.append(1)
                await cancel(app._log, Target(traces[0]), app.clock.time())
                if beaten:
                    await append(subject, b"100")
                await asyncio.sleep(0.01)
            return await append(subject, data, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: asyncio.ensure_future(slow(*args, **more)))
        sys.modules["steps.work"].gate.set()
        traces += [await app.emit("a", {"n": n}) for n in (1, 2)]
        await app.settle()
        assert await _lists(app) == ([[2]] if beaten else [[1, 2]])
        assert await app.state.get("sums", "all") == (102 if beaten else 3)
