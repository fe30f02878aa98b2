"""The handlers of the conformance app, in Python: `handler` does what its input says, and keeps what it has seen."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motia_runtime.handler import NonRetryable, RetryLater


class Broken(Exception):
    pass


class Skipped(Broken):
    pass


ERRORS: dict[str, Callable[[], Exception]] = {
    "plain": lambda: Broken("as told"),
    "skipped": lambda: Skipped("as told"),
    "final": lambda: NonRetryable("as told"),
    "later": lambda: RetryLater(100, "as told"),
}


async def act(ctx: Any, what: str, *args: Any) -> Any:
    state, streams = ctx.state, ctx.streams
    match what:
        case "get":
            return await state.get(*args)
        case "set":
            return await state.set(*args)
        case "delete":
            return await state.delete(*args)
        case "group":
            return await state.get_group(*args)
        case "clear":
            return await state.clear(*args)
        case "emit":
            return await ctx.emit(*args)
        case "emit later":
            topic, data, delay = args
            return await ctx.emit(topic, data, delay=delay)
        case "flush":
            return await ctx.flush()
        case "stream get":
            return await streams[args[0]].get(*args[1:])
        case "stream set":
            return await streams[args[0]].set(*args[1:])
        case "stream delete":
            return await streams[args[0]].delete(*args[1:])
        case "stream group":
            return await streams[args[0]].get_group(*args[1:])
        case "stream send":
            return await streams[args[0]].send(*args[1:])
        case "log":
            level, message, fields = args
            return getattr(ctx.logger, level)(message, fields)
        case "context":
            return [ctx.step, ctx.attempt, len(ctx.trace_id), ctx.topic, ctx.trigger.type, ctx.idempotency_key]
        case "sleep":
            return await asyncio.sleep(args[0])
        case "hold":  # until somebody makes the file
            go, begun = Path(args[0]), Path(args[0] + ".begun")
            with begun.open("a") as file:  # noqa: ASYNC230  # a line
                file.write(f"{os.getpid()}\n")
            while not go.exists():  # noqa: ASYNC110, ASYNC240  # a file of another process
                await asyncio.sleep(0.01)
            return None
        case "compute":
            end = time.monotonic() + args[0]
            while time.monotonic() < end:
                pass
            return None
        case "raise":
            raise ERRORS[args[0]]()
        case "try":
            try:
                return await act(ctx, *args[0])
            except Exception as problem:
                return type(problem).__name__
    raise ValueError(what)


async def handler(data: Any, ctx: Any) -> None:
    saw = [await act(ctx, *command) for command in data["do"]]
    if not data.get("quiet"):
        await ctx.state.set("seen", data["id"], saw)


async def wanted(data: Any, ctx: Any) -> bool:
    return not data.get("unwanted")


async def note(data: Any, ctx: Any) -> None:
    if isinstance(data, dict) and set(data) == {"left", "right"}:
        data = {side: {"key": one["key"]} for side, one in data.items()}
    if not isinstance(data, (dict, list)):
        data = {"group": data.group, "key": data.key, "value": data.value, "previous": data.previous}
        if isinstance(data["value"], dict) and data["value"].get("sleep"):
            await asyncio.sleep(data["value"]["sleep"])
    await ctx.state.set("seen", ctx.step, data)


async def tick(ctx: Any) -> None:
    await ctx.state.set("seen", ctx.step, ctx.trigger.type)


async def answer(request: Any, ctx: Any) -> Any:
    body = request.body or {}
    given = body.get("answer", {}) if isinstance(body, dict) else {}
    for command in body.get("do", ()) if isinstance(body, dict) else ():
        await act(ctx, *command)
    if given.get("bytes"):
        return {"status": 200, "headers": {"content-type": "image/png"}, "body": bytes(given["bytes"])}
    if given.get("echo"):
        size = len(request.raw_body)
        return {"status": 200, "body": [request.path_params, request.query_params, request.headers.get("x-a"), size]}
    return given
