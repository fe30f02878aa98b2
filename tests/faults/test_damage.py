"""A flipped bit in the store: the server does not start, or `motia doctor` names what is gone; nothing is missing without a word (R30)."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia
from motia_runtime.nats.connect import connect
from motia_runtime.nats.damage import examine
from motia_runtime.nats.embedded import EmbeddedServer, StartFailed, folder
from motia_runtime.nats.link import Link
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_runtime.nats.streams import Layout
from motia_spec import compile_project
from motia_spec.model import Nats
from support.process import write_project

SPEC = """
motia: "1"
name: shop
topics: {ordered: {external: in}}
state: {orders: {}}
steps:
  Take: {type: event, subscribes: [ordered]}
"""
EVENTS = 400
Contents = dict[str, list[tuple[str, int, bytes]]]
# of each kind of file of the store, how many bits are flipped, one after the other
FILES = {
    "shop_events/msgs/*.blk": 5,
    "KV_shop_state/msgs/*.blk": 3,
    "index.db": 1,
    "streams/*/meta.inf": 2,
    "streams/*/meta.sum": 1,
    "obs/*/meta.inf": 1,
}


@asynccontextmanager
async def served(root: Path) -> AsyncIterator[tuple[EmbeddedServer, Link]]:
    server = await EmbeddedServer.start(root)
    try:
        link = await connect(server.settings, name="test")
        yield server, link
        await link.close()
    finally:
        await server.stop()


async def fill(root: Path) -> None:
    project = compile_project(root, environ={}).require()
    async with served(root) as (server, link):
        await reconcile(link, project, store=server.store)
        consumer = b'{"stream_name":"shop_events","config":{"durable_name":"Take","ack_policy":"explicit"}}'
        await link.request("$JS.API.CONSUMER.DURABLE.CREATE.shop_events.Take", consumer)
        log = NatsLog(link, project.nats)
        for n in range(EVENTS):
            await log.append("ev.ordered", b'{"n":%d,"text":"%s"}' % (n, b"x" * 100))
            await log.append(f"st.orders.{n % 50}", b"%d" % n)


async def contents(link: Link) -> Contents:
    log = NatsLog(link, Nats(prefix="shop"))
    return {
        part: [(r.subject, r.seq, r.data) for r in await log.scan(f"{part}.>", limit=10_000)] for part in ("ev", "st")
    }


async def doctor(root: Path) -> tuple[int, list[dict[str, str]]]:
    done = await asyncio.to_thread(CliRunner().invoke, motia, ["-C", str(root), "doctor", "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", SPEC, take="async def handler(data, ctx): ...")


async def test_nothing_is_missing_without_a_word(app: Path, tmp_path: Path) -> None:
    await fill(app)
    async with served(app) as (_, link):
        whole = await contents(link)
    assert {part: len(records) for part, records in whole.items()} == {"ev": EVENTS, "st": 50}
    code, says = await doctor(app)
    assert (code, [each for each in says if each["says"] == "bad"]) == (0, [])
    about = [each["about"] for each in says]
    assert about.count("stream shop_events") == 1
    kept = tmp_path / "kept"
    store = folder(app) / "store"
    shutil.copytree(store, kept)
    rng = random.Random(30)
    gone, refused = [], []
    for pattern, times in FILES.items():
        for _ in range(times):
            shutil.rmtree(store)
            shutil.copytree(kept, store)
            file = rng.choice(sorted(f for f in store.rglob(pattern) if f.stat().st_size > 100 or f.suffix == ".sum"))
            data = bytearray(file.read_bytes())
            at = rng.randrange(len(data))
            data[at] ^= 1 << rng.randrange(8)
            file.write_bytes(data)
            what = f"{file.relative_to(store)}: bit at {at} of {len(data)}"
            try:
                async with served(app) as (_, link):
                    there = await contents(link)
                    found = [await examine(link, Layout("shop"), part) for part in ("ev", "st")]
            except StartFailed as error:
                refused.append(f"{what}: {error}")
                continue
            if there != whole:
                assert not all(each.whole for each in found), f"{what}: records are missing, and nobody says so"
                gone.append(what)
    assert len(gone) >= 3, f"too little was put to the test: {gone}"
    assert len(refused) >= 3, f"too little was put to the test: {refused}"
    told = [each for each in refused if "damaged" in each and "backup" in each]
    assert len(told) >= 3
    assert all(
        "nats-server did not start" in each for each in refused if each not in told
    )  # it hangs over some of its files
    code, says = await doctor(app)  # the last of them
    assert (code, [each["about"] for each in says]) == (1, ["broker"])


async def test_what_a_server_has_left_out_is_said_by_app_and_doctor(
    app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(app)
    block = max((folder(app) / "store").rglob("KV_shop_state/msgs/*.blk"), key=lambda f: f.stat().st_size)
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 1
    block.write_bytes(data)
    for index in (folder(app) / "store").rglob("index.db"):
        index.unlink()  # as after a crash: the server reads its records anew, and keeps those before the damage
    async with served(app) as (server, link):
        await reconcile(link, compile_project(app, environ={}).require(), store=server.store)
        assert "stream KV_shop_state" in caplog.text
        assert "motia doctor" in caplog.text
        says = await doctor(app)
    (bad,) = (each for each in says[1] if each["says"] == "bad")
    assert (says[0], bad["about"]) == (1, "stream KV_shop_state")
    assert "are left out" in bad["text"]
