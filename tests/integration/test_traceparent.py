"""W3C Trace Context through a running app: from HTTP and from a plain NATS client in, on stored events out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import nats

from motia_runtime.nats.embedded import EmbeddedServer
from support.process import AppProcess, look, running_app, write_project

SPEC = """
name: traced
topics:
  told: {external: in}
  passed: {}
steps:
  Ask: {type: api, method: POST, path: /ask, emits: [passed]}
  Take: {type: event, subscribes: [told], emits: [passed]}
nats: {prefix: traced}
"""
PASS_ON = """
async def handler(data, ctx):
    await ctx.emit("passed", {})
"""
SPAN = "00f067aa0ba902b7"


async def test_who_asks_by_http_or_nats_is_the_parent_and_who_reads_events_finds_the_run(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "app", SPEC, ask=PASS_ON, take=PASS_ON)
    server = await EmbeddedServer.start(tmp_path)
    try:
        env = {"NATS_URL": server.url, "NATS_TOKEN": server.token}
        with running_app(folder, env=env) as app:
            client = await nats.connect(server.url, token=server.token)
            reader = await client.jetstream().subscribe("traced.ev.passed", ordered_consumer=True)
            for number, send in enumerate((_by_http, _by_nats), start=1):
                trace = f"{number:032x}"
                await send(app, client, {"traceparent": f"00-{trace}-{SPAN}-01", "tracestate": f"vendor={number}"})
                event = await reader.next_msg(timeout=20)
                run = await _only_run(folder, env, trace)
                assert run["parent_id"] == SPAN
                assert event.headers is not None
                assert event.headers["traceparent"] == f"00-{trace}-{run['span_id']}-01"
                assert event.headers["tracestate"] == run["tracestate"] == f"vendor={number}"
            await client.close()
    finally:
        await server.stop()


async def _by_http(app: AppProcess, client: Any, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{app.url}/ask", json={}, headers=headers)
    assert answer.headers["x-trace-id"] == headers["traceparent"][3:35]


async def _by_nats(app: AppProcess, client: Any, headers: dict[str, str]) -> None:
    await client.jetstream().publish("traced.in.told", b"{}", headers=headers)


async def _only_run(folder: Path, env: dict[str, str], trace: str) -> Any:
    """The run of a trace, once it is recorded."""
    async with asyncio.timeout(20):
        while True:
            found = await asyncio.to_thread(look, folder, "trace", "ls", env=env)
            if any(each["trace_id"] == trace for each in found):
                break
    [run] = await asyncio.to_thread(look, folder, "trace", "show", trace, env=env)
    return run
