"""`join`: one run when an event of each topic has come for the same key, with all of them."""

from __future__ import annotations

import sys
from typing import Any

SPEC = """
name: t
topics:
  paid: {external: in, schema: {type: object, required: [id], properties: {id: {type: string}, n: {type: integer}, order: {type: string}}}}
  packed: {external: in}
  signed: {external: in}
  done: {external: out}
steps:
  Ship:
    type: event
    subscribes: [paid, packed, signed]
    join: {by: data.id, timeout: 1h}
    emits: [done]
    retry: {attempts: 2, delay: 10s, jitter: false}
"""
SHIP = """
runs = []
failures = 0

async def handler(events, ctx):
    global failures
    await ctx.emit("done", events["paid"].id)
    if failures:
        failures -= 1
        raise RuntimeError("not this time")
    runs.append((events["paid"].n, events["packed"]["n"], events["signed"]["n"], ctx.attempt))

async def wanted(events, ctx):
    return sorted(events) == ["packed", "paid", "signed"] and events["paid"].n != 13
"""


def _runs() -> list[Any]:
    runs: list[Any] = sys.modules["steps.ship"].runs
    return runs


async def _emit(app: Any, key: str, **events: int) -> list[str]:
    traces = []
    for topic, n in events.items():
        traces.append(await app.emit(topic, {"id": key, "n": n}))
        await app.settle()
    return traces


async def test_one_run_when_all_have_come_whatever_their_order(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "a", packed=1, signed=2)
        await _emit(app, "b", paid=3, packed=4)
        assert _runs() == []
        await _emit(app, "b", signed=5)
        assert _runs() == [(3, 4, 5, 1)]
        await _emit(app, "a", paid=6)
        assert _runs() == [(3, 4, 5, 1), (6, 1, 2, 1)]
        await app.advance(7200)
        assert await app.dead_letters() == []
        assert await app.events("done") == ["b", "a"]


async def test_all_at_once_and_many_keys(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        for n in range(30):
            for topic in ("paid", "packed", "signed"):
                await app.emit(topic, {"id": f"k{n}", "n": n})
        await app.settle()
        assert sorted(_runs()) == [(n, n, n, 1) for n in range(30)]


async def test_the_newest_of_a_topic_counts_and_after_the_run_a_new_set_begins(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "a", paid=1, packed=2)
        await _emit(app, "a", paid=3, signed=4)
        assert _runs() == [(3, 2, 4, 1)]
        await _emit(app, "a", signed=5, paid=6)
        assert len(_runs()) == 1
        await _emit(app, "a", packed=7)
        assert _runs()[1:] == [(6, 7, 5, 1)]


async def test_the_trace_tells_who_waited_and_who_completed(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        first, second, last = await _emit(app, "a", paid=1, packed=2, signed=3)
        assert [run.outcome for run in await app.runs(first)] == ["waiting"]
        assert [run.outcome for run in await app.runs(second)] == ["waiting"]
        assert [run.outcome for run in await app.runs(last)] == ["joined", "ok"]


async def test_a_failed_run_is_tried_again_with_the_same_set_and_redriven(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "z", paid=0)  # so that the handler is there
        vars(sys.modules["steps.ship"])["failures"] = 3
        await _emit(app, "a", paid=1, packed=2, signed=3)
        await _emit(app, "a", paid=4, packed=5)
        await app.advance(60)
        [letter] = await app.dead_letters()
        assert (letter.story.topic, letter.story.attempts) == ("join:paid,packed,signed", 2)
        assert _runs() == []
        await app.redrive(letter)
        await app.advance(60)
        assert _runs() == [(1, 2, 3, 2)]
        await _emit(app, "a", signed=6)
        assert _runs()[1:] == [(4, 5, 6, 1)]
        assert await app.events("done") == ["a", "a"]


async def test_a_set_that_is_not_complete_in_time_is_a_dead_letter_and_can_be_redriven(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "a", paid=1)
        await app.advance(1800)
        await _emit(app, "a", signed=3)
        await app.advance(1790)
        assert await app.dead_letters() == []
        await app.advance(20)
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "JoinTimeout"
        assert 'for "a" there was none of packed; there is paid, signed' in letter.story.error.message
        assert letter.data == b'{"paid":{"id":"a","n":1},"signed":{"id":"a","n":3}}'
        await _emit(app, "a", packed=2, paid=7)
        assert _runs() == []
        await app.redrive(letter)
        await app.settle()
        assert _runs() == [(7, 2, 3, 1)], "what has come since is newer than what the letter has"
        await app.advance(7200)
        assert await app.dead_letters() == []


async def test_a_redriven_set_waits_as_long_again(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "a", paid=1)
        for turn in range(3):
            await app.advance(3610)
            [letter] = await app.dead_letters()
            assert letter.data == b'{"paid":{"id":"a","n":1}}', turn
            await app.redrive(letter)
            await app.settle()
            assert await app.dead_letters() == []
        await _emit(app, "a", packed=2, signed=3)
        assert _runs() == [(1, 2, 3, 1)]


async def test_without_dead_letters_a_late_set_is_gone(make_app):
    async with make_app(SPEC.replace("emits: [done]", "emits: [done]\n    deadLetter: false"), ship=SHIP) as app:
        await _emit(app, "a", paid=1)
        await app.advance(3700)
        assert await app.dead_letters() == []
        await _emit(app, "a", packed=2, signed=3)
        assert _runs() == []


async def test_an_event_without_the_key_or_that_can_not_be_read_is_a_dead_letter(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await app.emit("packed", {"n": 1})
        await app._log.append("ev.paid", b'{"n": 1}')
        await app.settle()
        assert {letter.story.error.type for letter in await app.dead_letters()} == {
            "JoinKeyMissing",
            "ValidationFailed",
        }
        [unkeyed] = [letter for letter in await app.dead_letters() if letter.story.error.type == "JoinKeyMissing"]
        assert "data.id" in unkeyed.story.error.message


async def test_the_condition_is_asked_with_all_of_them(make_app):
    spec = SPEC.replace("emits: [done]", "emits: [done]\n    condition: steps/ship.py:wanted")
    async with make_app(spec, ship=SHIP) as app:
        await _emit(app, "a", paid=13, packed=2, signed=3)
        *_, last = await _emit(app, "b", paid=1, packed=2, signed=3)
        assert _runs() == [(1, 2, 3, 1)]
        assert [run.outcome for run in await app.runs(last)] == ["joined", "ok"]


async def test_events_that_are_too_large_together_are_a_dead_letter(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await app.emit("packed", {"id": "a", "n": 1, "text": "x" * 600_000})
        await app.emit("signed", {"id": "a", "n": 1, "text": "x" * 600_000})
        await app.settle()
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "TooLarge"


async def test_one_that_comes_again_long_after_its_set_is_done_is_not_used_twice(make_app):
    async with make_app(SPEC, ship=SHIP) as app:
        await _emit(app, "a", paid=1, packed=2, signed=3)
        [record] = await app._log.scan("ev.signed", limit=1)
        worker = app._version.engine._workers[-1]
        await _emit(app, "a", paid=4, packed=5)

        class Again:
            delivered = 2
            ended = ""

            def __init__(self):
                self.record = record

            def ack(self):
                self.ended = "ack"

        again: Any = Again()
        await worker._handle(again)
        await app.settle()
        assert again.ended == "ack"
        assert len(_runs()) == 1
