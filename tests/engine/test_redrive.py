"""Dead letters driven again: each once, whatever dies; what they went through goes along."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from motia_runtime.deadletters import ROUNDS, DeadLetters, Wanted
from motia_runtime.naming import retry_subject
from support.faulty import FaultyLog

SPEC = """
name: t
topics: {ask: {}, other: {}}
state: {free: {}}
steps:
  Work: {type: event, subscribes: [ask, other], uses: {state: [free]}, retry: {attempts: 2, delay: 1s}}
"""
WORK = """
async def handler(data, ctx):
    if await ctx.state.free.get("mended"):
        await ctx.state.free.update(str(data), lambda n: (n or 0) + 1)
        return
    raise (ValueError if data == "value" else KeyError)(f"no {data}")
"""


async def fail(app, *events):
    for event in events:
        await app.emit("other" if event == "other" else "ask", event)
        await app.advance(5)
    return await app.dead_letters()


async def test_a_letter_tells_what_its_event_went_through(make_app):
    async with make_app(SPEC, work=WORK) as app:
        [letter] = await fail(app, "a")
        first = letter.story
        assert first.history == []
        for number in range(1, ROUNDS + 3):
            await app.redrive(letter)
            await app.advance(5)
            [letter] = await app.dead_letters()
            story = letter.story
            assert story.redrives == number
            assert len(story.history) == min(number, ROUNDS)
            assert [past.attempts for past in story.history] == [2] * len(story.history)
            assert story.history[-1].error.message == "'no a'"
            assert story.history[-1].error.stack == ""
            times = [past.failed_at for past in story.history] + [story.failed_at]
            assert times == sorted(times)
            assert (times[0] == first.failed_at) == (number <= ROUNDS)
        assert letter.plain()["history"][-1]["error"]["type"] == "KeyError"


async def test_letters_are_chosen_by_what_they_tell(make_app):
    async with make_app(SPEC, work=WORK) as app:
        letters = await fail(app, "a", "value", "other", "b")
        dead = DeadLetters(app._log)
        at = {letter.data.decode().strip('"'): letter.story.failed_at for letter in letters}

        async def chosen(**which):
            found = await dead.every(Wanted(**which))
            assert found == (await dead.list(wanted=Wanted(**which), limit=10))
            return [letter.data.decode().strip('"') for letter in found]

        assert await chosen() == ["b", "other", "value", "a"]
        assert await chosen(step="Work") == ["b", "other", "value", "a"]
        assert await chosen(step="None") == []
        assert await chosen(topic="ask") == ["b", "value", "a"]
        assert await chosen(error="ValueError") == ["value"]
        assert await chosen(topic="ask", error="KeyError") == ["b", "a"]
        assert await chosen(since=at["value"]) == ["b", "other", "value"]
        assert await chosen(since=at["value"], until=at["other"]) == ["value"]
        assert [letter.id for letter in await dead.list(wanted=Wanted(topic="ask"), limit=2)] == [
            letters[0].id,
            letters[2].id,
        ]


async def test_commands_at_once_redrive_a_letter_once(make_app):
    async with make_app(SPEC, work=WORK) as app:
        letters = await fail(app, "a", "b", "c")
        await app.state.set("free", "mended", True)
        several = [DeadLetters(app._log) for _ in range(4)]
        done = await asyncio.gather(*(dead.redrive(letter) for dead in several for letter in letters))
        assert sum(done) == 3
        await app.settle()
        assert await app.dead_letters() == []
        assert [await app.state.get("free", each) for each in "abc"] == [1, 1, 1]
        assert len(await app._log.scan(retry_subject("Work"), limit=100)) == 3 + 3  # retries and redrives


@pytest.mark.parametrize("kind", ["die before", "die after"])
@pytest.mark.parametrize("moment", range(2))
async def test_a_command_that_dies_and_is_given_again_long_after(make_app, kind, moment):
    async with make_app(SPEC, work=WORK) as app:
        letters = await fail(app, "a", "b")
        await app.state.set("free", "mended", True)
        log = FaultyLog(app._log, kind, 5 + 3 + moment)  # the claim or the event of the second
        command = asyncio.create_task(_redrive(DeadLetters(log), letters))
        while not log.happened:
            await asyncio.sleep(0)
        await app.settle()
        command.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await command
        [left] = await app.dead_letters()
        await app.advance(3_600)  # no id is known any more, and plans are swept
        assert await DeadLetters(app._log).redrive(left)
        await app.advance(60)
        assert await app.dead_letters() == []
        assert [await app.state.get("free", each) for each in "ab"] == [1, 1]
        redriven = [r.headers["Motia-Event"] for r in await app._log.scan("retry.Work", limit=100) if r.id]
        assert len(redriven) == len(set(redriven)) == 2


async def _redrive(dead, letters):
    for letter in letters:
        await dead.redrive(letter)


async def test_what_was_purged_is_not_redriven(make_app):
    async with make_app(SPEC, work=WORK) as app:
        [letter] = await fail(app, "a")
        dead = DeadLetters(app._log)
        assert await dead.purge(letter)
        assert not await dead.redrive(letter)
        await app.advance(10)
        assert await app.dead_letters() == []


async def test_what_came_from_outside_keeps_its_history_too(make_app):
    spec = SPEC.replace("ask: {}", "ask: {external: in, schema: {type: string}}")
    async with make_app(spec, work=WORK) as app:
        await app.publish("ask", b"7", headers={"Motia-History": "nonsense"})
        await app.settle()
        for number in range(3):
            [letter] = await app.dead_letters()
            assert letter.story.redrives == len(letter.story.history) == number
            await app.redrive(letter)
            await app.settle()
