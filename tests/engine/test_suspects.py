"""Events that come again and again without an end: guilty only when processes died of them."""

from __future__ import annotations

import asyncio

from motia_runtime.ports import LogUnavailable
from motia_runtime.suspects import BESIDE, GUILTY, Lane, Suspects
from motia_spec.model import EventStep, Handler, Retry

SPEC = """
name: t
topics: {a: {external: in}}
state: {done: {}}
steps:
  Work: {type: event, subscribes: [a], retry: {attempts: 3}}
"""
WORK = """
async def handler(data, ctx):
    await ctx.state.done.update("n", lambda old: (old or 0) + 1)
"""
STEP = EventStep(name="Work", handler=Handler(path="steps/work.py"), subscribes=(), retry=Retry(attempts=3))


async def test_an_outage_of_the_broker_makes_nobody_guilty(make_app, monkeypatch):
    """Ten times the effects can't be stored; each time the event is given back. It is handled when the broker is there again."""
    async with make_app(SPEC, work=WORK) as app:
        append, refusals = app._log.append, [0]

        def away(subject, *args, **more):
            if subject == "st.done.n" and refusals[0] < 10:
                refusals[0] += 1
                raise LogUnavailable("no room")
            return append(subject, *args, **more)

        monkeypatch.setattr(app._log, "append", away)
        await app.emit("a", None)
        await app.advance(60)
        assert refusals[0] == 10
        assert await app.state.get("done", "n") == 1
        assert await app.dead_letters() == []
        async with asyncio.timeout(5):
            while any(r.data for r in await app._log.lasts("rt.>")):
                await asyncio.sleep(0.001)


async def test_processes_that_die_are_counted_and_the_living_are_not(make_app):
    async with make_app(SPEC, work=WORK) as app:
        first, second = Suspects(app._log), Suspects(app._log)
        assert await first.may_run(STEP, "7")
        assert await first.may_run(STEP, "7"), "its own mark is no death"
        for _ in range(GUILTY - 1):
            assert await Suspects(app._log).may_run(STEP, "7"), "a death or two may be bad luck"
        assert not await second.may_run(STEP, "7"), "the third one died, too"
        assert await second.may_run(STEP, "8")
        second.survived(STEP, "8")
        await second.stop()
        assert await first.may_run(STEP, "8")


async def test_those_that_stood_by_when_a_process_died_are_tried_alone_and_none_is_guilty(make_app):
    async with make_app(SPEC, work=WORK) as app:
        first, second = Suspects(app._log), Suspects(app._log)
        async with first.trial(STEP, "1") as one, first.trial(STEP, "2") as two:
            assert (one, two) == (True, True), "side by side"
        # the process dies here: the marks stay
        order = []

        async def run(event_id: str) -> None:
            async with second.trial(STEP, event_id) as may_run:
                order.append(("begin", event_id, may_run))
                await asyncio.sleep(0)
                order.append(("end", event_id, may_run))
            second.survived(STEP, event_id)

        await asyncio.wait_for(asyncio.gather(run("1"), run("2"), run("3")), 5)
        by_two = [what for what in order if what[1] in "12"]
        assert by_two in (
            [("begin", a, True), ("end", a, True), ("begin", b, True), ("end", b, True)]
            if (a, b) == ("1", "2")
            else [("begin", "2", True), ("end", "2", True), ("begin", "1", True), ("end", "1", True)]
            for a, b in (("1", "2"), ("2", "1"))
        )
        await second.stop()


async def test_one_that_is_to_run_alone_waits_for_those_under_way_and_not_for_all_that_wait():
    lane, began, go_on = Lane(), [], asyncio.Event()

    async def beside(number: int) -> None:
        async with lane.beside("Work"):
            began.append(number)
            await go_on.wait()

    async def alone(name: str) -> None:
        async with lane.alone():
            assert lane.under_way == 1
            began.append(name)
            await asyncio.sleep(0)
            assert began[-1] == name, "nobody begins meanwhile"

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(5 * BESIDE):
            group.create_task(beside(number))
        await asyncio.sleep(0)
        group.create_task(alone("a"))
        group.create_task(alone("b"))
        await asyncio.sleep(0)
        go_on.set()
    assert began[: BESIDE + 2] == [*range(BESIDE), "a", "b"]
    assert sorted(began[BESIDE + 2 :]) == list(range(BESIDE, 5 * BESIDE))


async def test_a_place_is_given_back_by_who_is_cancelled():
    lane = Lane()
    async with lane.beside("Work"):
        waiting = asyncio.create_task(lane.alone().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        async with asyncio.timeout(5), lane.beside("Work"):
            assert lane.under_way == 2


async def test_a_step_does_not_wait_behind_those_of_another():
    lane, go_on, began = Lane(), asyncio.Event(), []

    async def slow(number: int) -> None:
        async with lane.beside("Slow"):
            began.append(number)
            await go_on.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(2 * BESIDE):
            group.create_task(slow(number))
        await asyncio.sleep(0)
        assert len(began) == BESIDE
        async with lane.beside("Work"):
            assert lane.under_way == BESIDE + 1
        go_on.set()
