"""Handlers that misbehave in what they raise, log and say: a run that failed, on record with its own reason, and nobody else's record lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from motia_runtime.testing import run_app
from support.process import write_project

SPEC = """
name: misbehaving
policies: { retry: { once: { attempts: 1 } } }
topics: { t: { external: in } }
steps:
  Work: { type: event, subscribes: [t], retry: once }
  Call: { type: api, method: POST, path: /call }
"""
WORK = """
import asyncio

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Bare(BaseException):
    pass

def misbehave(how, ctx):
    if how == "silent": raise Silent
    if how == "surrogate": raise ValueError("\\ud800")
    if how == "huge": raise ValueError("x" * 5_000_000)
    if how == "exit": raise SystemExit(3)
    if how == "interrupt": raise KeyboardInterrupt
    if how == "cancelled": raise asyncio.CancelledError
    if how == "closed": raise GeneratorExit
    if how == "bare": raise Bare("own")
    if how == "group": raise BaseExceptionGroup("all", [SystemExit(3), ValueError()])
    if how == "stop": next(iter(()))
    ctx.logger.info("\\ud800", text="\\ud800", nested=["\\ud800"], number=10**30, silent=Silent())

async def handler(data, ctx):
    misbehave(data, ctx)
"""
CALL = """
from steps.work import misbehave

async def handler(request, ctx):
    misbehave(request.body, ctx)
"""
FAILING = {
    "silent": "Silent",
    "surrogate": "ValueError",
    "huge": "ValueError",
    "exit": "HandlerExited",
    "interrupt": "HandlerExited",
    "cancelled": "HandlerExited",
    "closed": "HandlerExited",
    "bare": "HandlerExited",
    "group": "HandlerExited",
    "stop": "RuntimeError",
}


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize(("how", "error"), FAILING.items())
async def test_a_run_fails_with_its_own_reason(how: str, error: str, plain: bool, tmp_path: Path) -> None:
    work, call = (text.replace("async def", "def") if plain else text for text in (WORK, CALL))
    async with run_app(write_project(tmp_path, SPEC, work=work, call=call), environ={}) as app:
        trace = await app.emit("t", how)
        await app.settle()
        [letter] = await app.dead_letters("Work")
        assert letter.story.error.type == error
        assert len(letter.story.error.message) <= 10_000
        async with asyncio.timeout(10):
            assert (await app.request("POST", "/call", json=how)).status == 500
            while not (runs := await app.runs(trace)):
                await asyncio.sleep(0.01)
        assert [run.error.type for run in runs if run.error] == [error]
        assert (await app.request("POST", "/call", json="log")).status == 204, "the app lives"


async def test_what_can_not_be_logged_fails_no_run_and_loses_no_record(tmp_path: Path) -> None:
    async with run_app(write_project(tmp_path, SPEC, work=WORK, call=CALL), environ={}) as app:
        traces = [await app.emit("t", "log"), await app.emit("t", "exit"), await app.emit("t", "log")]
        await app.settle()
        async with asyncio.timeout(10):
            for trace in traces:
                while not (runs := await app.runs(trace)):
                    await asyncio.sleep(0.01)
        assert [line.message for line in runs[0].logs] == ["\\ud800"]
        assert runs[0].outcome == "ok"
