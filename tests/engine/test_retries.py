"""Failure: how often, when, and where an event ends that can't be handled."""

from __future__ import annotations

import asyncio
import time

import pytest

from motia_runtime.runs import retry_delay
from motia_spec.model import Retry

SPEC = """
name: t
topics: {a: {external: in, schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
state: {tries: {}}
policies:
  retry:
    three: {attempts: 3, backoff: exponential, delay: 10s, max: 1m, jitter: false, skip: [Skipped]}
steps:
  Work: {type: event, subscribes: [a], retry: three, timeout: 300ms}
"""
WORK = """
import asyncio, time
from motia_runtime.handler import NonRetryable

class Skipped(Exception): ...
class Worse(Skipped): ...

tries = []

async def handler(data, ctx):
    tries.append((data["n"], ctx.attempt))
    await ctx.state.tries.set(f"leak-{data['n']}-{ctx.attempt}", 1)
    match data["n"]:
        case 0: raise RuntimeError("boom")
        case 1:
            if ctx.attempt < 3: raise RuntimeError("not yet")
        case 2: raise NonRetryable("never")
        case 3: raise Worse("skip me")
        case 4: await asyncio.sleep(60)
        case 5:
            while True: pass
"""


def _tries():
    import sys

    return sys.modules["steps.work"].tries


async def test_a_failing_event_is_tried_as_often_as_the_policy_says_then_buried(make_app):
    async with make_app(SPEC, work=WORK) as app:
        trace = await app.emit("a", {"n": 0})
        await app.settle()
        assert _tries() == [(0, 1)]
        await app.advance(9)
        assert _tries() == [(0, 1)], "the first retry waits 10 s"
        await app.advance(2)
        assert _tries() == [(0, 1), (0, 2)]
        await app.advance(20)
        assert _tries() == [(0, 1), (0, 2), (0, 3)]
        [letter] = await app.dead_letters()
        story = letter.story
        assert (story.step, story.topic, story.attempts, story.trace_id) == ("Work", "a", 3, trace)
        assert (story.error.type, story.error.message) == ("RuntimeError", "boom")
        assert 'steps/work.py:14 in handler: case 0: raise RuntimeError("boom")' in story.error.stack
        assert letter.plain()["data"] == {"n": 0}
        assert [r.outcome for r in await app.runs(trace)] == ["retry", "retry", "dead"]
        assert await app.state.items("tries") == {}, "a failed attempt leaves no effects"


async def test_a_retry_that_succeeds_leaves_only_its_own_effects(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("a", {"n": 1})
        await app.advance(60)
        assert await app.state.items("tries") == {"leak-1-3": 1}
        assert await app.dead_letters() == []


@pytest.mark.parametrize(("n", "error"), [(2, "NonRetryable"), (3, "Worse")])
async def test_errors_that_are_not_retried_are_buried_at_once(make_app, n, error):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("a", {"n": n})
        await app.settle()
        [letter] = await app.dead_letters()
        assert (letter.story.error.type, letter.story.attempts) == (error, 1)


@pytest.mark.parametrize("n", [4, 5])
async def test_a_handler_that_hangs_ends_at_its_timeout(make_app, n):
    """4 awaits for ever; 5 never awaits, so the whole loop stands still until the watchdog interrupts it."""
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("a", {"n": n})
        await app.settle()
        await app.advance(60)
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "HandlerTimeout"
        assert letter.story.attempts == 3


async def test_a_handler_that_never_awaits_has_all_of_its_time_and_no_more(make_app):
    spec = """
    name: t
    steps:
      Work: {type: api, method: POST, path: /work, timeout: 2s}
    """
    work = """
    import asyncio

    async def handler(request, ctx):
        await asyncio.sleep(request.body["awaits"])
        while True: pass
    """
    async with make_app(spec, work=work) as app:
        for awaits in (0, 1.9):
            await asyncio.sleep(0.3)  # the loop shows that it lives
            time.sleep(0.9)  # then stands still, which the handler can't help
            began = time.perf_counter()
            answer = await app.request("POST", "/work", json={"awaits": awaits})
            took = time.perf_counter() - began
            assert answer.status == 504
            assert 2 <= took < 3.8, "what it awaits counts as well"


async def test_a_plain_function_that_never_ends_is_interrupted(make_app):
    work = """
    def handler(data, ctx):
        while True: pass
    """
    async with make_app(SPEC, work=work) as app:
        await app.emit("a", {"n": 4})
        await app.advance(60)
        [letter] = await app.dead_letters()
        assert letter.story.error.type == "HandlerTimeout"
        import threading

        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            stuck = [t for t in threading.enumerate() if t.name.startswith("motia-step") and _in_handler(t)]
            if not stuck:
                break
            await asyncio.sleep(0.01)
        assert not stuck, "the thread goes on running the handler"


def _in_handler(thread):
    import sys

    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        if frame.f_code.co_filename.endswith("steps/work.py"):
            return True
        frame = frame.f_back
    return False


async def test_data_that_does_not_fit_is_buried_without_a_try(make_app):
    async with make_app(SPEC, work=WORK) as app:
        for data in (b"", b"{", b'{"n": "x"}', b"\xff\xfe", b"[" * 100_000):
            await app._log.append("ev.a", data)
        await app.settle()
        letters = await app.dead_letters()
        assert [letter.story.attempts for letter in letters] == [1] * 5
        assert {letter.story.error.type for letter in letters} == {"ValidationFailed"}
        assert _tries() == []


async def test_an_event_of_a_newer_version_waits_for_a_newer_app(make_app):
    async with make_app(SPEC + "nats: {maxAge: 1h}\n", work=WORK) as app:
        await app._log.append("ev.a", b'{"$v": 999, "id": "a"}')
        await app.advance(600)
        assert await app.dead_letters() == []
        assert (await app._log.scan("retry.>", limit=100))[0].headers["Motia-Attempt"] == "1"
        await app.advance(7200)
        assert [letter.story.attempts for letter in await app.dead_letters()] == [1], "not for ever"


async def test_redriving_gives_all_attempts_anew_and_takes_the_letter(make_app):
    async with make_app(SPEC, work=WORK) as app:
        trace = await app.emit("a", {"n": 0})
        await app.advance(60)
        [letter] = await app.dead_letters()
        await app.redrive(letter)
        await app.redrive(letter)
        await app.settle()
        assert await app.dead_letters() == []
        await app.advance(60)
        assert _tries() == [(0, 1), (0, 2), (0, 3)] * 2, "redriven twice at once is redriven once"
        [again] = await app.dead_letters()
        assert (again.story.redrives, again.story.trace_id) == (1, trace)


async def test_without_dead_letters_the_event_is_dropped_aloud(make_app, caplog):
    async with make_app(SPEC.replace("retry: three", "retry: three, deadLetter: false"), work=WORK) as app:
        trace = await app.emit("a", {"n": 2})
        await app.settle()
        assert await app.dead_letters() == []
        assert [r.outcome for r in await app.runs(trace)] == ["failed"]
        assert "failed: NonRetryable: never" in caplog.text


def test_delays_grow_as_the_policy_says():
    def delays(**policy):
        return [retry_delay(Retry(jitter=False, delay=2.0, max=10.0, **policy), n) for n in (1, 2, 3, 4, 5000)]

    assert delays(backoff="exponential") == [2, 4, 8, 10, 10]
    assert delays(backoff="linear") == [2, 4, 6, 8, 10]
    assert delays(backoff="fixed") == [2, 2, 2, 2, 2]
    jittered = {retry_delay(Retry(delay=2.0), 1) for _ in range(200)}
    assert len(jittered) > 100
    assert all(1.0 <= d <= 2.0 for d in jittered)


async def test_retry_later_tries_again_when_the_handler_says(make_app):
    spec = """
    name: t
    topics: {a: {external: in}}
    state: {tried: {}}
    steps:
      Work: {type: event, subscribes: [a], retry: {attempts: 3, delay: 1s, backoff: fixed, jitter: false}}
    """
    work = """
    from motia_runtime.handler import RetryLater

    async def handler(data, ctx):
        if ctx.attempt == 1:
            raise RetryLater(90)
        if ctx.attempt == 2:
            raise RuntimeError("as the policy says")
        await ctx.state.tried.set("attempt", ctx.attempt)
    """
    async with make_app(spec, work=work) as app:
        await app.emit("a", None)
        await app.advance(89)
        assert await app.state.get("tried", "attempt") is None
        await app.advance(1.5)
        assert await app.state.get("tried", "attempt") is None, (
            "the second failed, and waits as long as the policy says"
        )
        await app.advance(2)
        assert await app.state.get("tried", "attempt") == 3
