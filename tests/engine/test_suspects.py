"""Events that come again and again without an end: guilty only when processes died of them."""

from __future__ import annotations

import asyncio
import os

import pytest

from motia_runtime import suspects as suspects_module
from motia_runtime.bind import Bound
from motia_runtime.isolation.apart import Apart
from motia_runtime.ports import LogUnavailable
from motia_runtime.suspects import BESIDE, GUILTY, UNLUCKY, Lane, Suspects
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


def suspects(app) -> Suspects:
    """Those of another process."""
    return Suspects(app._log, Apart(app._version.project))


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
    """Alone in the app, as a condition is."""
    async with make_app(SPEC, work=WORK) as app:
        first, second = suspects(app), suspects(app)
        assert await first.may_run(STEP, "7")
        assert await first.may_run(STEP, "7"), "its own mark is no death"
        for _ in range(GUILTY - 1):
            assert await suspects(app).may_run(STEP, "7"), "a death or two may be bad luck"
        assert not await second.may_run(STEP, "7"), "the third one died, too"
        assert await second.may_run(STEP, "8")
        second.cleared(STEP, "8")
        await second.stop()
        assert await first.may_run(STEP, "8")


async def test_an_app_that_dies_while_one_runs_in_a_process_of_its_own_makes_it_guilty_only_in_the_end(make_app):
    """A handler that takes long may well be alone whenever something else kills the app; one that takes all memory takes the app along each time."""
    async with make_app(SPEC, work=WORK) as app:
        for _ in range(UNLUCKY):
            assert await suspects(app).may_run(STEP, "7", apart=True)
        assert not await suspects(app).may_run(STEP, "7", apart=True)


async def test_its_own_process_that_dies_while_the_app_lives_is_proof(make_app):
    async with make_app(SPEC, work=WORK) as app:
        first, second = suspects(app), suspects(app)
        assert await first.may_run(STEP, "7", apart=True)
        assert not await first.died(STEP, "7")
        assert not await first.died(STEP, "7")
        assert await second.may_run(STEP, "7", apart=True), "the app has died, which proves nothing"
        assert await second.died(STEP, "7"), "what was proved before still counts"
        assert not await first.may_run(STEP, "7", apart=True)


async def test_a_handler_that_is_in_another_process_anyway_stays_there(make_app):
    """In a worker over NATS, or by `isolation: process`: when the app dies, its handler has not done that."""

    async def run(*_):
        raise AssertionError("not called")

    handler = Bound(STEP.handler, run, False, 2, elsewhere=run)
    async with make_app(SPEC, work=WORK) as app:
        for _ in range(UNLUCKY + 1):  # the first one runs it beside others
            async with suspects(app).trial(STEP, "7", handler) as trial:
                assert (trial.guilty, trial.handler) == (False, None)
        async with suspects(app).trial(STEP, "7", handler) as trial:
            assert trial.guilty


async def test_one_that_was_alone_for_its_condition_is_alone_for_its_run(make_app):
    """Else the mark that its run leaves would count for nothing, and it could kill for ever."""
    async with make_app(SPEC, work=WORK) as app:
        async with suspects(app).trial(STEP, "7"):
            pass  # the process dies here
        second = suspects(app)
        for _ in ("its condition", "its run"):
            async with second.trial(STEP, "7") as trial, asyncio.timeout(5):
                assert not trial.guilty
                assert second.lane.wanted, "alone"
        for _ in range(GUILTY - 1):
            assert await suspects(app).may_run(STEP, "7")
        assert not await suspects(app).may_run(STEP, "7")


IN_PLACE = """
import os

async def handler(data, ctx):
    if os.getpid() == data["app"]:
        raise RuntimeError("this is the app")
    if data["die"]:
        with open(data["deaths"], "a") as deaths:
            deaths.write("x")
        os._exit(3)
    await ctx.state.done.update("n", lambda old: (old or 0) + 1)
"""


@pytest.mark.parametrize(
    ("more", "die"), [("", False), ("", True), (", batch: {size: 1}", True), (", orderBy: data.key", True)]
)
async def test_who_is_alone_runs_in_a_process_of_its_own_whose_death_the_app_outlives(
    make_app, monkeypatch, tmp_path, more, die
):
    monkeypatch.setattr(suspects_module, "SUSPECT_FROM", 1)
    work = IN_PLACE
    if "batch" in more:
        work = work.replace("data, ctx", "events, ctx").replace("    if os", "    (data,) = events\n    if os", 1)
    async with make_app(SPEC.replace("{attempts: 3}", "{attempts: 3}" + more), work=work) as app:
        event = {"app": os.getpid(), "die": die, "key": "k", "deaths": str(tmp_path / "deaths")}
        step = app._version.project.steps["Work"]
        assert await suspects(app).may_run(step, "1", alone=False), "beside others, in a process that dies then"
        await app.emit("a", event)
        await app.advance(10)
        if die:
            assert (tmp_path / "deaths").read_text() == "x" * GUILTY
            (letter,) = await app.dead_letters()
            assert letter.story.error.type == "ProcessDied"
            assert "ended with exit code 3" in letter.story.error.message
            assert await app.state.get("done", "n") is None
        else:
            assert await app.dead_letters() == []
            assert await app.state.get("done", "n") == 1
        async with asyncio.timeout(5):
            while any(r.data for r in await app._log.lasts("rt.=m.>")):
                await asyncio.sleep(0.001)


async def test_what_can_not_run_in_another_process_runs_in_the_app(make_app, monkeypatch, caplog):
    """Its file is different by now: the app has it loaded, another process can't import it."""
    monkeypatch.setattr(suspects_module, "SUSPECT_FROM", 1)
    async with make_app(SPEC, work=IN_PLACE) as app:
        step = app._version.project.steps["Work"]
        (app._version.project.root / "steps" / "work.py").write_text("import nothing_of_this_name")
        assert await suspects(app).may_run(step, "1")
        await app.emit("a", {"app": os.getpid(), "die": False})
        await app.advance(3)
        assert "can't in a process of its own: Work: steps/work.py can't be imported" in caplog.text
        (letter,) = await app.dead_letters()
        assert letter.story.error.message == "this is the app"


async def test_those_that_stood_by_when_a_process_died_are_tried_alone_and_none_is_guilty(make_app):
    async with make_app(SPEC, work=WORK) as app:
        first, second = suspects(app), suspects(app)
        async with first.trial(STEP, "1") as one, first.trial(STEP, "2") as two:
            assert (one.guilty, two.guilty) == (False, False)
        # the process dies here: the marks stay
        order = []

        async def run(event_id: str) -> None:
            async with second.trial(STEP, event_id) as trial:
                order.append(("begin", event_id, not trial.guilty))
                await asyncio.sleep(0)
                order.append(("end", event_id, not trial.guilty))
            second.cleared(STEP, event_id)

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
