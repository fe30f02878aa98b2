"""Topics with `external: in`: what other programs publish is validated at the door and taken in once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from motia_generator import generate
from motia_runtime.bind import bind
from motia_runtime.clock import VirtualClock
from motia_runtime.engine import Engine
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import in_subject
from motia_runtime.types import load_types
from motia_spec import compile_project
from support.faulty import KINDS, FaultyLog
from support.waiting import quiet

SPEC = """
name: in
topics:
  stock: {external: in, schema: {type: object, required: [sku], properties: {sku: {type: string}}}}
  own: {}
steps:
  Take: {type: event, subscribes: [stock], emits: [own]}
  Own: {type: event, subscribes: [own]}
"""
TAKE = """
async def handler(data, ctx):
    await ctx.emit("own", {"sku": data.sku})
"""
OWN = "async def handler(data, ctx): pass"


async def test_what_fits_becomes_an_event_in_the_trace_of_who_sent_it(make_app):
    async with make_app(SPEC, take=TAKE, own=OWN) as app:
        trace = "0af7651916cd43dd8448eb211c80319c"
        await app.publish("stock", b'{"sku": "book"}', headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        await app.settle()
        assert await app.events("own") == [{"sku": "book"}]
        assert [run.step for run in await app.runs(trace)] == ["Take", "Own"]


@pytest.mark.parametrize(
    ("topic", "data", "error", "words"),
    [
        ("stock", b'{"sku": 7}', "ValidationFailed", "/sku"),
        ("stock", b"{", "ValidationFailed", "JSON"),
        ("stock", b"\xff\x00", "ValidationFailed", "JSON"),
        ("own", b"{}", "LookupError", "takes in no topic 'own' (`external: in`: stock)"),
        ("nobody.knows", b"{}", "LookupError", "'nobody.knows'"),
    ],
)
async def test_what_does_not_is_one_dead_letter_that_says_why(make_app, topic, data, error, words):
    async with make_app(SPEC, take=TAKE, own=OWN) as app:
        await app.publish(topic, data)
        await app.settle()
        [letter] = await app.dead_letters()
        assert (letter.story.step, letter.story.topic, letter.data) == ("", topic, data)
        assert letter.story.error.type == error
        assert words in letter.story.error.message
        assert await app.events("own") == []


async def test_a_redriven_one_comes_through_the_same_door(make_app, tmp_path):
    async with make_app(SPEC, take=TAKE, own=OWN) as app:
        await app.publish("stock", b'{"sku": 7}')
        await app.settle()
        [letter] = await app.dead_letters()
        await app.redrive(letter)
        await app.settle()
        [again] = await app.dead_letters()
        assert again.id != letter.id


@pytest.mark.parametrize("silence", [0.0, 3600.0])
@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b'{"sku": "book"}', {}),
        (b"no JSON", {}),
        (b'{"sku": "book"}', {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/till", "ce-type": "sold"}),
    ],
)
async def test_it_is_taken_in_once_whatever_goes_wrong(
    tmp_path: Path, data: bytes, headers: dict[str, str], silence: float
) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "motia.yaml").write_text(SPEC)
    (tmp_path / "steps" / "take.py").write_text(TAKE)
    (tmp_path / "steps" / "own.py").write_text(OWN)
    project = compile_project(tmp_path, environ={}).require()
    bound, types = bind(project), load_types(project, generate)

    async def run(kind: str, at: int) -> tuple[FaultyLog, int]:
        turns = 80

        async def settle() -> None:
            await quiet(turns)

        clock = VirtualClock(settle=settle)
        log = MemoryLog(clock)
        faulty = [FaultyLog(log, kind, at), FaultyLog(log)]
        engines = [Engine(project, bound, types, one, clock) for one in faulty]
        try:
            await engines[0].start()
            await log.append(in_subject("stock"), data, headers=headers)
            await clock.advance(5)
            turns = 4
            await clock.advance(silence)
            turns = 80
            await engines[1].start()
            await clock.advance(60)
            faulty[0].wake()
            await clock.advance(60)
            parts: Any = log._parts
            taken = [r for r in parts["ev"].records.values() if r.subject == "ev.stock"]
            return faulty[0], len(taken) + len(parts["dlq"].records)
        finally:
            for one in faulty:
                one.dead = True
            for task in [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
                task.cancel()
            log.close()

    clean, count = await run("", -1)
    assert count == 1
    for at in range(len(clean.trail)):
        for kind in KINDS:
            faulty, count = await run(kind, at)
            assert faulty.happened
            assert count == 1, f"{kind} at {at} ({clean.trail[at]})"


async def test_one_that_leaves_no_room_for_its_headers_is_a_dead_letter_and_not_tried_for_ever(make_app):
    async with make_app(SPEC, take=TAKE, own=OWN) as app:
        sku = "x" * (app._log.max_size - len(b'{"sku": ""}'))
        await app.publish("stock", b'{"sku": "%s"}' % sku.encode())
        await app.settle()
        [letter] = await app.dead_letters()
        assert (letter.story.error.type, letter.story.data_left_out) == ("TooLarge", True)
        assert await app.events("own") == []
