"""`debounce`: after quiet, one run with the newest event; at the latest some time after the first."""

from __future__ import annotations

import asyncio
import random

import pytest

from motia_runtime.app import load_version
from motia_runtime.controls.control import Input
from motia_runtime.controls.debounce import Burst, older
from motia_runtime.ports import LogUnavailable
from motia_runtime.trace import new_trace

SPEC = """
name: t
topics: {a: {external: in, schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
state: {done: {}}
steps:
  Work: {type: event, subscribes: [a], debounce: {wait: 10s, max: 60s}, retry: {attempts: 3, backoff: fixed, delay: 4s, jitter: false}}
"""
WORK = """
runs = []
failures = 0

async def handler(data, ctx):
    global failures
    if failures:
        failures -= 1
        raise RuntimeError("not this time")
    runs.append(data.n)
    await ctx.state.done.set(str(data.n), ctx.attempt)
"""


def _runs() -> list[int]:
    import sys

    runs: list[int] = sys.modules["steps.work"].runs
    return runs


async def _emit(app, *numbers: int) -> list[str]:
    traces = [await app.emit("a", {"n": n}) for n in numbers]
    await app.settle()
    return traces


async def _outcomes(app, traces: list[str]) -> list[list[str]]:
    return [[run.outcome for run in await app.runs(trace)] for trace in traces]


async def test_after_quiet_the_newest_is_handled_and_the_others_leave_a_record(make_app):
    async with make_app(SPEC, work=WORK) as app:
        traces = await _emit(app, 1, 2)
        await app.advance(6)
        traces += await _emit(app, 3)
        await app.advance(9.5)
        assert _runs() == []
        await app.advance(1)
        assert _runs() == [3]
        await app.advance(600)
        assert _runs() == [3]
        assert await _outcomes(app, traces) == [["debounced"], ["debounced"], ["ok"]]


async def test_a_second_burst_is_a_run_of_its_own(make_app):
    async with make_app(SPEC, work=WORK) as app:
        for n in range(1, 4):
            await _emit(app, 10 * n, 10 * n + 1)
            await app.advance(11)
        assert _runs() == [11, 21, 31]


async def test_it_never_waits_longer_than_max(make_app):
    """An event every 4 s for two minutes, so that it is never quiet."""
    async with make_app(SPEC, work=WORK) as app:
        start, when = app.clock.time(), {}
        for n in range(30):
            await _emit(app, n)
            await app.advance(4)
            for seen in _runs():
                when.setdefault(seen, app.clock.time() - start)
        await app.advance(20)
        assert _runs()[-1] == 29
        assert len(_runs()) == 2
        first = _runs()[0]
        assert first in (14, 15), "the newest event of the first minute"
        assert 60 <= when[first] <= 64


async def test_without_max_it_waits_for_quiet_however_long(make_app):
    async with make_app(SPEC.replace(", max: 60s", ""), work=WORK) as app:
        for n in range(100):
            await _emit(app, n)
            await app.advance(9)
        assert _runs() == []
        await app.advance(2)
        assert _runs() == [99]


async def test_a_failed_run_is_tried_again_with_its_own_event(make_app):
    async with make_app(SPEC, work=WORK) as app:
        import sys

        sys.modules["steps.work"].failures = 2
        (trace,) = await _emit(app, 1)
        await app.advance(12)
        await _emit(app, 2)
        await app.advance(60)
        assert _runs() == [1, 2]
        assert await _outcomes(app, [trace]) == [["retry", "retry", "ok"]]
        assert await app.state.items("done") == {"1": 3, "2": 1}


async def test_dead_letters_that_are_sent_again_are_handled_at_once(make_app):
    async with make_app(SPEC, work=WORK) as app:
        import sys

        sys.modules["steps.work"].failures = 3
        await _emit(app, 1)
        await app.advance(60)
        (letter,) = await app.dead_letters()
        await _emit(app, 2)
        await app.redrive(letter)
        await app.settle()
        assert _runs() == [1]
        await app.advance(11)
        assert _runs() == [1, 2]


async def test_an_event_that_can_not_be_read_takes_nobodys_place(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await _emit(app, 1)
        await app._log.append("ev.a", b'{"n": "one"}')
        await app.advance(11)
        assert _runs() == [1]
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "ValidationFailed"


async def test_one_that_waits_is_one_record_of_the_log(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await _emit(app, *range(500))
        (waiting,) = await app._log.scheduled("deb.>", limit=10)
        assert waiting.data == b'{"n":499}'
        await app.advance(11)
        assert await app._log.scheduled("deb.>", limit=10) == []
        assert _runs() == [499]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_broker_does_the_newest_is_handled_last_and_once(make_app, monkeypatch, seed):
    """Every append may fail before it is stored, or after; every event leaves exactly one end."""
    dice = random.Random(seed)
    async with make_app(SPEC, work=WORK) as app:
        append, failed = app._log.append, []

        async def stored(awaited):
            await awaited
            raise LogUnavailable("no answer")

        def shaky(subject, *args, **more):
            ours = subject.startswith(("rt.=b.", "retry."))
            if ours and dice.random() < 0.3 and len(failed) < 40:
                failed.append(subject)
                if dice.random() < 0.5:
                    return stored(append(subject, *args, **more))
                raise LogUnavailable("no room")
            return append(subject, *args, **more)

        monkeypatch.setattr(app._log, "append", shaky)
        traces = []
        for n in range(25):
            traces += await _emit(app, n)
            await app.advance(dice.choice([0, 0, 0.5, 3, 12]))
        await app.advance(300)
        assert failed
        runs = _runs()
        assert runs == sorted(set(runs))
        assert runs[-1] == 24
        ends = await _outcomes(app, traces)
        assert [n for n, outcomes in enumerate(ends) if "ok" in outcomes] == runs
        assert all(set(outcomes) <= {"ok", "debounced"} and outcomes for outcomes in ends)
        assert all(outcomes.count("ok") <= 1 for outcomes in ends)


def _asked(event: str, seen: float) -> Input:
    return Input("a", event, 1, 0, new_trace(), seen)


@pytest.mark.parametrize(
    ("one", "other", "is_older"),
    [
        (("5", 10.0), ("6", 11.0), True),
        (("9", 10.0), ("10", 10.0), True),
        (("6", 11.0), ("5", 10.0), False),
        (("5", 10.0), ("5", 10.0), False),
        (("6", 3.0), ("5", 10.0), False),  # the broker's clock was set back
        (("1", 20.0), ("999", 10.0), False),  # the stream was made anew
        (("st.5", 10.0), ("6", 11.0), False),  # of different streams
        (("st.5", 10.0), ("st.6", 11.0), True),
        (("x", 10.0), ("y", 11.0), False),
    ],
)
def test_which_of_two_events_is_older(one, other, is_older):
    assert older(_asked(*one), _asked(*other)) is is_older
    assert older(_asked(*one), Burst(*other, None)) is is_older


@pytest.mark.parametrize("seed", range(4))
async def test_engines_that_share_a_burst_lose_its_newest_event_to_nobody(make_app, monkeypatch, seed):
    """Two engines on one log, whose appends take different times, so that slots and records are written in any order."""
    dice = random.Random(seed)
    async with make_app(SPEC, work=WORK) as app:
        second = load_version(app._version.project, app._log, app.clock)
        await second.engine.start()
        append = app._log.append

        async def slow(args, more):
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            return await append(*args, **more)

        monkeypatch.setattr(app._log, "append", lambda *args, **more: slow(args, more))
        traces = []
        for n in range(30):
            traces.append(await app.emit("a", {"n": n}))
            if dice.random() < 0.2:
                await _both(app, second, dice.choice([1, 8, 12]))
        await _both(app, second, 300)
        second.engine.records.flush()
        ends = await _outcomes(app, traces)
        assert ends[-1] == ["ok"]
        assert all(outcomes in (["ok"], ["debounced"]) for outcomes in ends), ends
        waited = [n for n, outcomes in enumerate(ends) if outcomes == ["ok"]]
        assert sorted(int(key) for key in await app.state.items("done")) == waited
        await second.engine.stop(0)


async def _both(app, second, seconds: float) -> None:
    end = app.clock.time() + seconds
    while True:
        quiet = 0
        while quiet < 20:
            await asyncio.sleep(0)
            quiet = 0 if app._version.engine.busy or second.engine.busy else quiet + 1
        due = app.clock.next_due()
        if due is None or due > end:
            await app.clock.advance(end - app.clock.time())
            return
        await app.clock.advance(max(0.0, due - app.clock.time()))
