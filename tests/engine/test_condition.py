"""`condition`: what it is asked, what its answers mean, and what happens when it fails."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.bind import HandlerError
from motia_runtime.ports import LogUnavailable
from motia_spec import SpecError

SPEC = """
name: t
topics: {a: {external: in, schema: {type: object, required: [n], properties: {n: {type: integer}}}}, b: {external: out}}
state: {done: {}, limits: {}}
streams: {seen: {}}
steps:
  Work:
    type: event
    subscribes: [a]
    emits: [b]
    condition: steps/checks.py:is_large
    retry: {attempts: 3, delay: 10s, jitter: false, skip: [PermissionError]}
    timeout: 1s
"""
WORK = """
async def handler(data, ctx):
    await ctx.state.done.set(str(data.n), ctx.attempt)
"""
LARGE = """
async def is_large(data, ctx):
    ctx.logger.info("asked", n=data.n)
    return data.n > (await ctx.state.limits.get("least") or 10)
"""


async def _one(app, n=20):
    trace = await app.emit("a", {"n": n})
    await app.settle()
    return [run.outcome for run in await app.runs(trace)]


@pytest.mark.parametrize(
    "checks",
    [
        LARGE,
        'def is_large(data, ctx):\n    ctx.logger.info("asked")\n    return data["n"] > (ctx.state.limits.get("least") or 10)\n',
        'class Large:\n    async def __call__(self, data, ctx):\n        ctx.logger.info("asked")\n        return data.n > 10\nis_large = Large()\n',
    ],
    ids=["async", "plain", "object"],
)
async def test_false_means_no_run_and_a_record_that_says_so(make_app, checks):
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        small = await app.emit("a", {"n": 1})
        assert await _one(app) == ["ok"]
        assert await app.state.items("done") == {"20": 1}
        (record,) = await app.runs(small)
        assert (record.outcome, record.attempt, record.error) == ("skipped", 1, None)
        assert [line.message for line in record.logs] == ["asked"]


async def test_it_sees_the_state_of_the_moment(make_app):
    async with make_app(SPEC, work=WORK, checks=LARGE) as app:
        assert await _one(app, 20) == ["ok"]
        await app.state.set("limits", "least", 30)
        assert await _one(app, 21) == ["skipped"]


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ('await ctx.emit("b", 1)', "it emits 'b'"),
        ('await ctx.state.done.set("x", 1)', "it sets 'x' in the state group 'done'"),
        ('await ctx.state.done.update("x", lambda old: 1)', "it sets 'x' in the state group 'done'"),
        ('await ctx.state.done.delete("x")', "it deletes 'x' from the state group 'done'"),
        ('await ctx.streams.seen.set("g", "i", 1)', "it sets 'i' in the stream 'seen'"),
        ('await ctx.streams.seen.update("g", "i", lambda old: 1)', "it updates 'i' in the stream 'seen'"),
        ('await ctx.streams.seen.delete("g", "i")', "it deletes 'i' from the stream 'seen'"),
        ("await ctx.flush()", "it calls flush"),
    ],
)
async def test_effects_are_refused_where_they_are_asked_for(make_app, effect, words):
    checks = f"async def is_large(data, ctx):\n    {effect}\n    return True\n"
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        assert await _one(app) == ["retry"]
        await app.advance(60)
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "ReadOnly"
        assert letter.story.error.message == f"a condition changes nothing, and {words}; do that in the handler"
        assert "checks.py:2 in is_large" in letter.story.error.stack
        assert await app.state.items("done") == {}
        assert await app.events("b") == []


async def test_reads_of_state_and_streams_work(make_app):
    checks = """
    async def is_large(data, ctx):
        assert await ctx.state.done.get("x") is None and await ctx.state.done.items() == {}
        assert await ctx.state.done.history("x") == []
        assert await ctx.streams.seen.get("g", "i") is None and await ctx.streams.seen.get_group("g") == []
        return ctx.step == "Work" and ctx.topic == "a" and ctx.attempt == 1 and ctx.trigger.event_id is not None
    """
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        assert await _one(app) == ["ok"]


async def test_an_error_in_it_is_a_failed_attempt(make_app):
    checks = """
    async def is_large(data, ctx):
        if ctx.attempt < 3:
            raise RuntimeError("not yet")
        return True
    """
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        trace = await app.emit("a", {"n": 1})
        await app.advance(60)
        assert [run.outcome for run in await app.runs(trace)] == ["retry", "retry", "ok"]
        assert await app.state.items("done") == {"1": 3}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise PermissionError", "PermissionError"),  # skipped by the policy
        ("raise NonRetryable('no')", "NonRetryable"),
    ],
)
async def test_errors_that_are_not_tried_again(make_app, body, kind):
    checks = f"from motia_runtime.handler import NonRetryable\n\ndef is_large(data, ctx):\n    {body}\n"
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        assert await _one(app) == ["dead"]
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == kind


@pytest.mark.parametrize("answer", ["None", "1", "'yes'", "[]"])
async def test_an_answer_that_is_neither_true_nor_false_is_an_error(make_app, answer):
    """A forgotten `return` would drop every event in silence."""
    async with make_app(SPEC, work=WORK, checks=f"def is_large(data, ctx):\n    return {answer}\n") as app:
        assert await _one(app) == ["retry"]
        await app.advance(60)
        (letter,) = await app.dead_letters()
        assert letter.story.error.message == (
            f"the condition steps/checks.py:is_large gave {eval(answer)!r}; return True or False"
        )


async def test_it_is_held_to_the_timeout_of_the_step(make_app):
    checks = "import asyncio\n\nasync def is_large(data, ctx):\n    await asyncio.sleep(60)\n"
    async with make_app(SPEC.replace("timeout: 1s", "timeout: 20ms"), work=WORK, checks=checks) as app:
        trace = await app.emit("a", {"n": 1})
        await app.settle()
        (record,) = await app.runs(trace)
        assert (record.outcome, record.error.type) == ("retry", "HandlerTimeout")


async def test_an_event_that_can_not_be_read_is_a_dead_letter_and_it_is_not_asked(make_app):
    checks = "asked = []\n\ndef is_large(data, ctx):\n    asked.append(data)\n    return False\n"
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        await app._log.append("ev.a", b'{"n": "one"}')
        await app.settle()
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "ValidationFailed"
        import sys

        assert sys.modules["steps.checks"].asked == []


async def test_a_run_whose_effects_were_planned_is_completed_whatever_it_says_then(make_app, monkeypatch):
    """The plan is stored, the state is not; when the event comes again the condition would say no."""
    checks = "answers = [True, False, False]\n\ndef is_large(data, ctx):\n    return answers.pop(0)\n"
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        append, refused = app._log.append, []

        def away(subject, *args, **more):
            if subject.startswith("st.done") and len(refused) < 2:
                refused.append(subject)
                raise LogUnavailable("no room")
            return append(subject, *args, **more)

        monkeypatch.setattr(app._log, "append", away)
        trace = await app.emit("a", {"n": 7})
        await app.advance(60)
        assert refused
        assert await app.state.items("done") == {"7": 1}
        assert [run.outcome for run in await app.runs(trace)] == ["recovered"]


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("def is_small(data, ctx):\n    return True\n", SpecError, "M505"),
        ("def is_large(data):\n    return True\n", SpecError, "M507"),
        ("def is_large(data, ctx):\n    yield True\n", SpecError, "M508"),
        ("is_large = 5\n", SpecError, "M506"),
        ("from os.path import join as is_large\nraise RuntimeError('on import')\n", HandlerError, "condition of Work: steps/checks.py can't be imported"),
        ("is_large = __import__('functools').partial(lambda data: True)\n", HandlerError, "must take (input, ctx)"),
    ],
)  # fmt: skip
async def test_one_that_does_not_fit_is_found_before_anything_runs(make_app, source, error, words):
    with pytest.raises(error) as caught:
        async with make_app(SPEC, work=WORK, checks=source):
            pass
    found = (
        "".join(d.code for d in caught.value.diagnostics) if isinstance(caught.value, SpecError) else str(caught.value)
    )
    assert words in found


async def test_one_that_may_kill_the_process_is_asked_alone_and_not_for_ever(make_app, monkeypatch):
    """The broker takes no outcome twice, as if the process had died; the third delivery comes under suspicion."""
    checks = """
    from motia_runtime.ports import LogUnavailable

    asked = []

    def is_large(data, ctx):
        asked.append(data.n)
        if len(asked) < 3:
            raise LogUnavailable("as if the process had died")
        return data.n > 10
    """
    async with make_app(SPEC, work=WORK, checks=checks) as app:
        import sys

        suspects, verdicts = app._version.engine._suspects, []
        may_run = suspects.may_run

        async def noted(step, event_id, **how):
            assert suspects.lane.under_way == 1
            verdicts.append(await may_run(step, event_id, **how) and sys.modules["steps.checks"].asked[0] != 99)
            return verdicts[-1]

        monkeypatch.setattr(suspects, "may_run", noted)
        await app.emit("a", {"n": 20})
        await app.advance(10)
        assert verdicts == [True, True], "for the condition, and for the run"
        assert await app.state.items("done") == {"20": 1}
        sys.modules["steps.checks"].asked.clear()
        verdicts.clear()
        await app.emit("a", {"n": 99})
        await app.advance(10)
        assert verdicts == [False]
        assert sys.modules["steps.checks"].asked == [99, 99]
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "ProcessDied"
        async with asyncio.timeout(5):
            while [r for r in await app._log.lasts("rt.=m.Work.*") if r.data and r.subject.endswith(".1")]:
                await asyncio.sleep(0.001)
