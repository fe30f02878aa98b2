"""A plain NATS client publishes to a topic with `external: in` of a running app."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import nats
import nats.js.errors
import pytest

from motia_runtime.nats.embedded import EmbeddedServer
from support.process import motia, running_app, write_project
from support.secured import OwnServer

SPEC = """
name: outside
topics:
  stock.changed: {external: in, schema: {type: object, required: [sku, left], properties: {sku: {type: string}, left: {type: integer}}}}
state: {stock: {}}
steps:
  Take: {type: event, subscribes: [stock.changed], uses: {state: [stock]}}
nats: {prefix: shop}
"""
TAKE = """
async def handler(data, ctx):
    await ctx.state.stock.update(data.sku, lambda n: (n or 0) + data.left)
"""


async def test_a_plain_client_publishes_and_is_validated(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "app", SPEC, take=TAKE)
    server = await EmbeddedServer.start(tmp_path)
    try:
        env = {"NATS_URL": server.url, "NATS_TOKEN": server.token}
        client = await nats.connect(server.url, token=server.token)
        stream = client.jetstream()
        with running_app(folder, env=env):
            for left in range(1, 6):
                await stream.publish("shop.in.stock.changed", json.dumps({"sku": "book", "left": left}).encode())
            twice = {"Nats-Msg-Id": "once"}
            for _ in range(2):
                await stream.publish("shop.in.stock.changed", b'{"sku": "pen", "left": 1}', headers=twice)
            # what would empty the events stream there does nothing here
            roll_up = {"Nats-Rollup": "all"}
            try:
                await stream.publish("shop.in.stock.changed", b'{"sku": "cup", "left": 1}', headers=roll_up)
                refused = False
            except nats.js.errors.APIError:
                refused = True
            assert refused
            await stream.publish("shop.in.stock.changed", b'{"sku": "book"}')
            async with asyncio.timeout(20):
                while True:
                    letters = await asyncio.to_thread(_json, folder, env, "dlq", "ls")
                    book = await asyncio.to_thread(_json, folder, env, "state", "get", "stock", "book")
                    pen = await asyncio.to_thread(_json, folder, env, "state", "get", "stock", "pen")
                    if letters and (book, pen) == (15, 1):
                        break
            assert [(letter["step"], letter["topic"]) for letter in letters] == [("", "stock.changed")]
            assert "left" in letters[0]["error"]["message"]
        await client.close()
    finally:
        await server.stop()


def _json(folder: Path, env: dict[str, str], *arguments: str) -> object:
    done = motia(folder, *arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_the_account_for_other_programs_may_publish_and_nothing_else(tmp_path: Path) -> None:
    """With the configuration that docs/broker.md gives."""
    page = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    configuration = page.partition("```conf\n")[2].partition("```")[0]
    for name in ("APP_PASSWORD", "OUTSIDE_PASSWORD"):
        assert f"${name}" in configuration
        configuration = configuration.replace(f"${name}", name.lower())
    server = OwnServer(tmp_path, configuration)
    server.start()
    try:
        folder = write_project(tmp_path / "app", SPEC, take=TAKE)
        url = f"nats://127.0.0.1:{server.port}"
        env = {"NATS_URL": url, "NATS_USER": "app", "NATS_PASSWORD": "app_password"}
        with running_app(folder, env=env):
            refusals: list[str] = []

            async def refused(problem: Exception) -> None:
                refusals.append(str(problem))

            client = await nats.connect(url, user="outside", password="outside_password", error_cb=refused)
            stream = client.jetstream(timeout=2)
            await stream.publish("shop.in.stock.changed", b'{"sku": "book", "left": 7}')
            forbidden = [
                "$JS.API.STREAM.DELETE.shop_events",
                "$JS.API.STREAM.PURGE.shop_events",
                "shop.ev.stock.changed",
            ]
            for subject in forbidden:
                with pytest.raises((TimeoutError, nats.errors.Error)):
                    await client.request(subject, b"", timeout=0.5)
            async with asyncio.timeout(10):
                while len(refusals) < len(forbidden):
                    await asyncio.sleep(0.01)
            assert all("permissions violation" in refusal.lower() for refusal in refusals)
            async with asyncio.timeout(20):
                while await asyncio.to_thread(_json, folder, env, "state", "get", "stock", "book") != 7:
                    pass
            await client.close()
    finally:
        server.stop()
