"""Emits that wait: replaced and cancelled by key, once, also when a commit is repeated long after."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from motia_runtime.clock import VirtualClock
from motia_runtime.commit import Commits
from motia_runtime.delayed import cancel, keyed_slot, own_slot, waiting
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import event_subject
from motia_runtime.orphans import Orphans
from motia_runtime.plans import Emitted, Planned, encode_plan
from motia_runtime.ports import Record

SPEC = """
name: t
topics: {ask: {external: in}, "mail.due": {external: out}}
state: {free: {}}
steps:
  Work: {type: event, subscribes: [ask], emits: [mail.due], retry: {attempts: 1}}
"""
WORK = """
async def handler(data, ctx):
    for what, *rest in data:
        if what == "emit":
            key, text, delay = rest
            await ctx.emit("mail.due", text, delay=delay, key=key)
        elif what == "cancel":
            await ctx.cancel_emit("mail.due", rest[0])
        elif what == "write":
            await ctx.state.free.set("k", 1)
        else:
            raise RuntimeError(what)
"""


async def test_a_key_has_one_that_waits_and_the_newest_wins(make_app):
    async with make_app(SPEC, work=WORK) as app:
        begin = app.clock.time()
        trace = await app.emit("ask", [["emit", "a b", "first", 60], ["emit", None, "own", 90]])
        await app.settle()
        await app.emit("ask", [["emit", "a b", "second", 120], ["emit", "other", "third", 30]])
        await app.settle()
        found = await app.delayed("mail.due")
        assert [(each.key, each.data, each.at - begin) for each in found] == [
            ("other", b'"third"', pytest.approx(30)),
            (None, b'"own"', pytest.approx(90)),
            ("a b", b'"second"', pytest.approx(120)),
        ]
        assert found[1].trace_id == trace
        assert [each.slot for each in found if each.key == "a b"] == [keyed_slot("mail.due", "a b")]
        assert await app.delayed("ask") == []
        await app.advance(100)
        assert await app.events("mail.due") == ["third", "own"]
        await app.advance(100)
        assert await app.events("mail.due") == ["third", "own", "second"]
        assert await app.delayed() == []


async def test_what_is_cancelled_never_comes(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("ask", [["emit", "k", "first", 60], ["emit", "l", "stays", 60]])
        await app.settle()
        await app.emit("ask", [["cancel", "k"], ["cancel", "none"], ["write"]])
        await app.settle()
        await app.advance(100)
        assert await app.events("mail.due") == ["stays"]
        await app.emit("ask", [["cancel", "l"]])  # its time has come: no harm
        await app.settle()
        assert await app.dead_letters() == []


async def test_within_a_run_the_last_word_counts(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("ask", [["emit", "k", "before", 60]])
        await app.settle()
        await app.emit("ask", [["emit", "k", "1", 10], ["cancel", "k"], ["emit", "k", "2", 20], ["emit", "k", "3", 30]])
        await app.emit("ask", [["emit", "l", "1", 10], ["cancel", "l"]])
        await app.settle()
        assert [each.data for each in await app.delayed()] == [b'"3"']
        await app.advance(100)
        assert await app.events("mail.due") == ["3"]


async def test_what_a_run_replaces_itself_is_no_effect(make_app):
    work = """
    async def handler(data, ctx):
        for n in range(2_000):
            await ctx.emit("mail.due", n, delay=60, key="k")
    """
    async with make_app(SPEC, work=work) as app:
        trace = await app.emit("ask", None)
        await app.settle()
        assert [each.data for each in await app.delayed()] == [b"1999"]
        [run] = await app.runs(trace)
        assert [each.topic for each in run.emits] == ["mail.due"]


async def test_a_run_that_fails_replaces_and_cancels_nothing(make_app):
    async with make_app(SPEC, work=WORK) as app:
        await app.emit("ask", [["emit", "k", "first", 60], ["emit", "l", "second", 60]])
        await app.settle()
        await app.emit("ask", [["cancel", "k"], ["emit", "l", "never", 5], ["fail"]])
        await app.settle()
        await app.advance(100)
        assert await app.events("mail.due") == ["first", "second"]


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ('await ctx.emit("mail.due", 1, key="k")', "ValueError", "`key`"),
        ('await ctx.emit("mail.due", 1, delay=1, key="")', "InvalidKey", "1 to 512"),
        ('await ctx.emit("mail.due", 1, delay=1, key=7)', "InvalidKey", "string"),
        ('await ctx.cancel_emit("ask", "k")', "InvalidTopic", "does not emit 'ask'"),
        ('await ctx.cancel_emit("mail.due", "\\ud800")', "InvalidKey", "surrogate"),
        ('[await ctx.cancel_emit("mail.due", str(n)) for n in range(2000)]', "TooManyEffects", "1,000"),
    ],
)
async def test_what_is_refused(make_app, line, error, words):
    async with make_app(SPEC, work=f"async def handler(data, ctx):\n    {line}\n") as app:
        await app.emit("ask", None)
        await app.settle()
        [letter] = await app.dead_letters()
        assert letter.story.error.type == error
        assert words in letter.story.error.message


async def test_plain_functions_and_api_steps_can_too(make_app):
    spec = """
    name: t
    topics: {mail: {external: out}}
    steps:
      Remind: {type: api, method: POST, path: /remind, emits: [mail]}
      Forget: {type: api, method: POST, path: /forget, emits: [mail]}
      Once: {type: api, method: POST, path: /once, emits: [mail]}
    """
    remind = 'def handler(request, ctx):\n    ctx.emit("mail", 1, delay=60, key="k")\n'
    forget = 'def handler(request, ctx):\n    ctx.cancel_emit("mail", "k")\n'
    once = 'async def handler(request, ctx):\n    await ctx.emit("mail", 2, delay=60)\n'
    async with make_app(spec, remind=remind, forget=forget, once=once) as app:
        for path in ("/remind", "/remind", "/once"):
            assert (await app.request("POST", path)).status < 300
        assert sorted((each.key or "", each.data) for each in await app.delayed("mail")) == [("", b"2"), ("k", b"1")]
        assert (await app.request("POST", "/forget")).status < 300
        await app.advance(100)
        assert await app.events("mail") == [2]


# -- a commit that is repeated: the plan is there, and nobody knows how far it came


class Bench:
    """Commits on a log of its own, whose broker can be made to forget ids as a restart does."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock)
        self.commits = Commits(self.log, self.clock, Orphans(self.log, self.clock, "e"))
        self._runs = 0

    async def plan(self, *emits: Emitted, cancels: tuple[str, ...] = ()) -> Record:
        self._runs += 1
        run = f"run{self._runs}"
        planned = Planned(run, "00-" + "a" * 32 + "-" + "b" * 16 + "-01", emits=list(emits), cancels=list(cancels))
        await self.log.append(f"tx.S.{run}", encode_plan(planned), expect=0)
        record = await self.log.last(f"tx.S.{run}")
        assert record is not None
        await self.clock.advance(0.1)
        return record

    async def forget_ids(self) -> None:
        """As a restart does for what has been cancelled, replaced, or has fired; and so do 11 minutes for all."""
        for part in self.log._parts.values():
            part._ids.clear()

    async def came(self) -> list[bytes]:
        return [record.data for record in await self.log.history("ev.mail")]

    async def waits(self) -> list[bytes]:
        return [each.data for each in await waiting(self.log)]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.log.close()


def later(bench: Bench, data: bytes, delay: float, key: str | None = None) -> Emitted:
    slot = None if key is None else keyed_slot("mail", key)
    return Emitted(event_subject("mail"), data, bench.clock.time() + delay, None, slot)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("pause", [1.0, 30.0, 700.0])
async def test_repeated_after_it_has_fired_it_does_not_fire_again(bench: Bench, key: str | None, pause: float) -> None:
    record = await bench.plan(later(bench, b"1", 0.5, key))
    assert await bench.commits.finish(record)
    await bench.clock.advance(pause)
    assert await bench.came() == [b"1"]
    await bench.forget_ids()
    assert await bench.commits.finish(record)
    await bench.clock.advance(10)
    assert await bench.came() == [b"1"]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("pause", [1.0, 700.0])
async def test_repeated_while_it_waits_it_waits_once(bench: Bench, key: str | None, pause: float) -> None:
    record = await bench.plan(later(bench, b"1", 3600, key))
    assert await bench.commits.finish(record)
    await bench.clock.advance(pause)
    await bench.forget_ids()
    assert await bench.commits.finish(record)
    assert await bench.waits() == [b"1"]
    await bench.clock.advance(4000)
    assert await bench.came() == [b"1"]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("pause", [1.0, 700.0, 4000.0])
async def test_a_crash_before_it_waited_makes_up_for_it(bench: Bench, key: str | None, pause: float) -> None:
    record = await bench.plan(later(bench, b"1", 3600, key))
    await bench.clock.advance(pause)
    assert await bench.commits.finish(record)
    await bench.clock.advance(4000)
    assert await bench.came() == [b"1"]


@pytest.mark.parametrize("key", [None, "k"])
async def test_repeated_after_a_person_cancelled_it_stays_cancelled(bench: Bench, key: str | None) -> None:
    record = await bench.plan(later(bench, b"1", 3600, key))
    assert await bench.commits.finish(record)
    slot = own_slot("ev.mail", "run1:e0") if key is None else keyed_slot("mail", key)
    assert await cancel(bench.log, slot) is True
    assert await cancel(bench.log, slot) is False
    await bench.clock.advance(1)
    await bench.forget_ids()
    assert await bench.commits.finish(record)
    assert await bench.waits() == []


async def test_repeated_after_another_run_took_the_key_it_leaves_it_alone(bench: Bench) -> None:
    first = await bench.plan(later(bench, b"1", 3600, "k"))
    assert await bench.commits.finish(first)
    second = await bench.plan(later(bench, b"2", 1800, "k"))
    assert await bench.commits.finish(second)
    await bench.forget_ids()
    assert await bench.commits.finish(first)
    assert await bench.waits() == [b"2"]
    await bench.clock.advance(2000)
    assert await bench.commits.finish(first)
    assert await bench.commits.finish(second)
    await bench.clock.advance(4000)
    assert await bench.came() == [b"2"]


async def test_a_cancel_that_is_repeated_leaves_what_came_after_it(bench: Bench) -> None:
    slot = keyed_slot("mail", "k")
    assert await bench.commits.finish(await bench.plan(later(bench, b"1", 3600, "k")))
    forget = await bench.plan(cancels=(slot,))
    assert await bench.commits.finish(forget)
    assert await bench.waits() == []
    assert await bench.commits.finish(forget)
    assert await bench.commits.finish(await bench.plan(later(bench, b"2", 3600, "k")))
    assert await bench.commits.finish(forget)
    assert await bench.waits() == [b"2"]


@pytest.mark.parametrize("slot", ["", "emit", "other.a.b", "emit.a.b.c", "emit.*.*", "emit.a.b c"])
async def test_only_slots_of_emits_can_be_cancelled(bench: Bench, slot: str) -> None:
    with pytest.raises(ValueError):
        await cancel(bench.log, slot)
