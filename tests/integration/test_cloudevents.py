"""CloudEvents on the wire: what plain NATS clients read from the events of a running app, and what they send to it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import nats

from motia_runtime.formats import PATTERNS
from motia_runtime.nats.embedded import EmbeddedServer
from support.process import motia, running_app, write_project

SPEC = """
name: told
schemas:
  Bought: {type: object, required: [id], properties: {id: {type: string}}}
topics:
  ordered: {schema: {$ref: "#/schemas/Bought"}}
  reminded: {schema: {$ref: "#/schemas/Bought"}, external: out}
  sold: {external: in, schema: {type: object, required: [at], properties: {at: {type: integer}}}}
  passed: {}
steps:
  Order: {type: api, method: POST, path: /orders, emits: [ordered]}
  Remind: {type: event, subscribes: [ordered], emits: [reminded, passed]}
  Take: {type: event, subscribes: [sold], orderBy: data.at, emits: [passed]}
  PassOn: {type: event, subscribes: [passed]}
nats: {prefix: shop}
"""
ORDER = """
async def handler(request, ctx):
    await ctx.emit("ordered", {"id": "1"})
    return {}
"""
REMIND = """
async def handler(data, ctx):
    await ctx.emit("reminded", data, delay=0.2, key="ord er/1")
    await ctx.emit("passed", {"n": 1})
"""
TAKE = """
async def handler(data, ctx):
    await ctx.emit("passed", data)
"""
PASS = "async def handler(data, ctx): pass"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_events_are_cloudevents_for_whoever_reads_them_and_from_whoever_sends_them(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "app", SPEC, order=ORDER, remind=REMIND, take=TAKE, pass_on=PASS)
    server = await EmbeddedServer.start(tmp_path)
    try:
        env = {"NATS_URL": server.url, "NATS_TOKEN": server.token}
        with running_app(folder, env=env) as app:
            client = await nats.connect(server.url, token=server.token)
            stream = client.jetstream()
            reader = await stream.subscribe("shop.ev.>", ordered_consumer=True)

            async def event(topic: str) -> tuple[dict[str, str], Any]:
                message = await reader.next_msg(timeout=20)
                assert message.subject == f"shop.ev.{topic}"
                headers = dict(message.headers or {})
                assert len(headers.pop("traceparent")) == 55
                return headers, json.loads(message.data)

            async def own(topic: str, **more: str) -> None:
                """The headers of an event of the app's own."""
                headers, _ = await event(topic)
                assert re.fullmatch(PATTERNS["date-time"], headers.pop("ce-time"))
                assert headers.pop("ce-id")
                known = {name: value for name, value in headers.items() if not name.startswith(("Nats-", "Motia-"))}
                assert known == {
                    "ce-specversion": "1.0",
                    "ce-source": "/shop",
                    "ce-type": topic,
                    "ce-datacontenttype": "application/json",
                    **more,
                }

            # what handlers emit: at once, and later under a key
            async with httpx.AsyncClient() as http:
                assert (await http.post(f"{app.url}/orders", json={})).status_code == 200
            await own("ordered")
            await own("passed")
            await own("reminded", **{"ce-subject": "ord%20er/1"})
            # what commands store
            done = await asyncio.to_thread(motia, folder, "emit", "passed", "{}", env=env)
            assert done.returncode == 0, done.stderr
            await own("passed")

            # in binary mode, twice, and in structured mode; to an ordered step, whose deliveries are read whole
            sent = {
                "ce-specversion": "1.0",
                "ce-id": "7",
                "ce-source": "https://till.example/4",
                "ce-type": "com.example.sold",
                "ce-traceparent": PARENT,
            }
            for _ in range(2):
                await stream.publish("shop.in.sold", b'{"at": 1}', headers=sent)
            told = {name[3:]: value for name, value in sent.items()} | {"id": "8", "data": {"at": 2}}
            body = json.dumps(told).encode()
            await stream.publish("shop.in.sold", body, headers={"Content-Type": "application/cloudevents+json"})
            await stream.publish("shop.in.sold", body[:-1], headers={"Content-Type": "application/cloudevents+json"})
            seen: dict[str, list[Any]] = {"sold": [], "passed": []}
            while len(seen["sold"]) < 2 or len(seen["passed"]) < 2:
                message = await reader.next_msg(timeout=20)
                headers = dict(message.headers or {})
                assert headers["traceparent"][:35] == PARENT[:35]
                what = (headers["ce-id"], headers["ce-source"], json.loads(message.data))
                seen[message.subject.removeprefix("shop.ev.")].append(what)
            assert seen["sold"] == [
                ("7", "https://till.example/4", {"at": 1}),
                ("8", "https://till.example/4", {"at": 2}),
            ]
            passed = sorted((data["at"], source) for _, source, data in seen["passed"])  # in no order: the keys differ
            assert passed == [(1, "/shop"), (2, "/shop")]
            async with asyncio.timeout(20):
                while not (letters := await asyncio.to_thread(_letters, folder, env)):
                    pass
            [letter] = letters
            assert letter["error"]["type"] == "InvalidCloudEvent"
            assert letter["headers"] == {"content-type": "application/cloudevents+json"}
            await client.close()
    finally:
        await server.stop()


def _letters(folder: Path, env: dict[str, str]) -> Any:
    done = motia(folder, "dlq", "ls", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
