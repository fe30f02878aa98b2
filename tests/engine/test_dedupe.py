"""`dedupe`: one event of each key within the window, whatever comes in between."""

from __future__ import annotations

import pytest

from motia_runtime.controls.keys import key_of
from motia_runtime.handler import Model
from motia_runtime.ports import LogUnavailable

SPEC = """
name: t
topics:
  a: {external: in, schema: {type: object, properties: {id: {}, n: {type: integer}}}}
  b: {external: in}
state: {done: {}}
steps:
  Work: {type: event, subscribes: [a, b], dedupe: {key: data.id, window: 60s}, retry: {attempts: 3, delay: 90s, jitter: false}}
"""
WORK = """
failures = {}

async def handler(data, ctx):
    if failures.get(data["n"], 0) > 0:
        failures[data["n"]] -= 1
        raise RuntimeError("not this time")
    await ctx.state.done.set(f"{data['n']}", ctx.attempt)
"""


async def _handled(app) -> list[int]:
    await app.settle()
    return sorted(int(key) for key in await app.state.items("done"))


async def test_the_first_of_each_key_is_handled_and_the_others_leave_a_record(make_app):
    async with make_app(SPEC, work=WORK) as app:
        traces = [await app.emit("a", {"id": key, "n": n}) for n, key in enumerate(["x", "x", "y", "x"])]
        assert await _handled(app) == [0, 2]
        outcomes = [[run.outcome for run in await app.runs(trace)] for trace in traces]
        assert outcomes == [["ok"], ["duplicate"], ["ok"], ["duplicate"]]


async def test_a_key_counts_over_all_topics_of_the_step(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("a", {"id": "x", "n": 0})
        await app.emit("b", {"id": "x", "n": 1})
        assert await _handled(app) == [0]


async def test_after_the_window_the_next_one_is_handled(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("a", {"id": "x", "n": 0})
        await app.advance(59)
        await app.emit("a", {"id": "x", "n": 1})
        await app.advance(2)
        await app.emit("a", {"id": "x", "n": 2})
        await app.advance(59)
        await app.emit("a", {"id": "x", "n": 3})
        assert await _handled(app) == [0, 2]


async def test_events_without_the_key_are_like_no_other(make_app):
    async with make_app(SPEC, work=WORK) as app:
        for n in range(2):
            await app.emit("a", {"n": n})
            await app.emit("a", {"id": None, "n": 2 + n})
        assert await _handled(app) == [0, 1, 2, 3]


async def test_equal_values_are_one_key_and_likely_ones_are_not(make_app):
    async with make_app(SPEC, work=WORK) as app:
        same = [1, 1.0], [{"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}]
        other = ["1", True, "true", [1], "", {"a": 1, "b": [3]}, "x" * 3000, "x" * 3001, "a.b *>"]
        for n, key in enumerate([*same[0], *same[1], *other]):
            await app.emit("a", {"id": key, "n": n})
        assert await _handled(app) == [0, 2, *range(4, 4 + len(other))]


async def test_retries_and_redrives_pass_when_the_key_has_gone_to_another(make_app):
    async with make_app(SPEC, work=WORK) as app:
        import sys

        sys.modules["steps.work"].failures[0] = 3
        await app.emit("a", {"id": "x", "n": 0})
        await app.advance(70)
        await app.emit("a", {"id": "x", "n": 1})  # after the window
        assert await _handled(app) == [1]
        await app.advance(600)
        (letter,) = await app.dead_letters()
        assert letter.story.attempts == 3
        await app.emit("a", {"id": "x", "n": 2})
        await app.redrive(letter)
        assert await _handled(app) == [0, 1, 2]


async def test_an_event_whose_engine_died_after_the_claim_passes_by_its_own_claim(make_app, monkeypatch):
    """The claim is stored, then the broker goes away before the run's effects: the event is given back, and comes again."""
    async with make_app(SPEC, work=WORK) as app:
        append, refused = app._log.append, []

        def away(subject, *args, **more):
            if subject.startswith("tx.") and len(refused) < 2:
                refused.append(subject)
                raise LogUnavailable("no room")
            return append(subject, *args, **more)

        monkeypatch.setattr(app._log, "append", away)
        await app.emit("a", {"id": "x", "n": 0})
        await app.emit("a", {"id": "x", "n": 1})
        await app.advance(30)
        assert len(refused) == 2
        assert await _handled(app) == [0]


async def test_a_claim_that_was_stored_though_the_broker_did_not_say_so_is_ones_own(make_app, monkeypatch):
    async with make_app(SPEC, work=WORK) as app:
        append, lost = app._log.append, []

        async def silent(awaited):
            await awaited
            raise LogUnavailable("no answer")

        def no_answer(subject, *args, **more):
            if subject.startswith("rt.=d.") and not lost:
                lost.append(subject)
                return silent(append(subject, *args, **more))
            return append(subject, *args, **more)

        monkeypatch.setattr(app._log, "append", no_answer)
        trace = await app.emit("a", {"id": "x", "n": 0})
        await app.advance(30)
        assert lost
        assert await _handled(app) == [0]
        assert [run.outcome for run in await app.runs(trace)] == ["ok"]


async def test_an_event_that_can_not_be_read_is_a_dead_letter_and_claims_nothing(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app._log.append("ev.a", b'{"id": "x", "n": "one"}')
        await app.settle()
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "ValidationFailed"
        await app.emit("a", {"id": "x", "n": 1})
        assert await _handled(app) == [1]


async def test_of_many_at_once_one_is_handled(make_app):
    async with make_app(SPEC, work=WORK) as app:
        for n in range(100):
            await app._log.append("ev.a", b'{"id": "x", "n": %d}' % n)
        assert len(await _handled(app)) == 1


class Order(Model):
    id: str
    customer: dict[str, int]


@pytest.mark.parametrize(
    ("path", "key"),
    [(("id",), '"o"'), (("customer", "n"), "1"), (("customer",), '{"n":1}'), (("x",), None), (("id", "x"), None)],
)
def test_keys_are_read_from_generated_types_too(path, key):
    assert key_of(Order(id="o", customer={"n": 1}), path) == key
