"""A worker with no more rights than docs/worker-protocol.md names: it works, and can do nothing else."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.messenger import NatsMessenger
from motia_runtime.remote import node
from support.nodejs import needs_node
from support.process import clean_environ, write_project
from support.secured import OwnServer
from support.waiting import until
from support.workers import remote_app

DOC = (Path(__file__).parents[2] / "docs" / "worker-protocol.md").read_text()
SPEC = """
name: shop
topics: {a: {external: in}, b: {}}
state: {done: {}}
steps:
  Py: {type: event, subscribes: [a], emits: [b], handler: steps/py.py}
  Ts: {type: event, subscribes: [a], handler: steps/ts.ts}
nats: {prefix: shop}
"""
PY = """
    async def handler(data, ctx):
        await ctx.state.done.update("py", lambda old: (old or 0) + len(data))
        await ctx.emit("b", data)
"""
TS = """
export const handler = async (data: string, { state }: any) => { await state.set("done", "ts", data.length + ((await state.get("done", "ts")) ?? 0)) }
"""


@contextmanager
def secured(folder: Path, without: str = "") -> Iterator[OwnServer]:
    """A server with the configuration of the docs, or with one thing less."""
    found = re.search(r"```conf\n(.*?)```", DOC, re.S)
    assert found
    assert without in found[1]
    configuration = found[1].replace(without, "") if without else found[1]
    folder.mkdir()
    made = OwnServer(folder, configuration.replace("$APP_PASSWORD", "a").replace("$WORKER_PASSWORD", "w"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    with secured(tmp_path / "server") as made:
        yield made


async def test_the_rights_of_the_docs_are_enough_and_not_too_many(
    server: OwnServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_project(tmp_path, SPEC, py=PY)
    (tmp_path / "steps" / "ts.ts").write_text(TS)
    url = f"nats://127.0.0.1:{server.port}"
    async with AsyncExitStack() as stack:

        async def messenger(user: str) -> NatsMessenger:
            link = await connect(Settings(url=url, user=user, password=user[0]), name=user, jetstream=False)
            stack.push_async_callback(link.close)
            return NatsMessenger(link)

        remote = await stack.enter_async_context(remote_app(tmp_path, lambda: messenger("app")))
        await remote.worker(open=lambda: messenger("worker"))
        large = "x" * 900_000
        try:
            await remote.node({"NATS_URL": url, "NATS_USER": "worker", "NATS_PASSWORD": "w"})
        except node.NoNode:
            pass  # its part is left out
        else:
            await remote.app.emit("a", large)
            async with asyncio.timeout(20):
                while await remote.app.state.get("done", "ts") != 900_000:
                    await asyncio.sleep(0.01)
        await remote.app.emit("a", large)
        async with asyncio.timeout(20):
            while (await remote.app.state.get("done", "py") or 0) < 900_000:
                await asyncio.sleep(0.01)

        await remote.app.settle()
        seen: list[str] = []
        watcher = await messenger("app")
        watcher.listen("shop.>", lambda subject, *_: seen.append(subject))
        watcher.listen("$JS.API.>", lambda subject, *_: seen.append(subject))
        await watcher._link.barrier()
        bad = await messenger("worker")
        for subject in (
            "shop.ev.a",
            "shop.in.a",
            "shop.work.run.Py",
            "shop.tx.Py.1",
            "$JS.API.STREAM.DELETE.shop_events",
            "$KV.shop_state.done.py",
        ):
            bad.send(subject, b"{}")
        bad.send("shop.work.to.nobody.1", b"{}")
        await until(lambda: "shop.work.to.nobody.1" in seen)
        assert {subject for subject in seen if not subject.startswith("shop.work.to.")} == set()
        said = [text for text in caplog.messages if text.startswith("NATS does not let us")]
        assert (
            said.count(
                'NATS does not let us publish to "shop.ev.a": have its user\'s permissions allow to publish "shop.ev.a"'
            )
            == 1
        )


@contextmanager
def alone(folder: Path, server: OwnServer, language: str) -> Iterator[Callable[[], str]]:
    """`motia worker` with the rights of a worker; gives what it logs."""
    log = folder / f"{language}.log"
    environ = {"NATS_URL": f"nats://127.0.0.1:{server.port}", "NATS_USER": "worker", "NATS_PASSWORD": "w"}
    command = [sys.executable, "-m", "motia_runtime", "worker", "--language", language]
    command += ["--logs", "text", "--grace", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=clean_environ() | environ, stderr=out)
    try:
        yield log.read_text
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize(
    ("without", "refused", "told"),
    [
        ('"shop.work.run.>", ', 'Subscription Violation - Subject "shop.work.run.', ("subscribe", "shop.work.run.")),
        ('"shop.work.to.>", ', 'Publish Violation - Subject "shop.work.to.', ("publish", "shop.work.to.")),
    ],
    ids=["no runs", "no answers"],
)
async def test_with_fewer_rights_nothing_is_run_and_the_worker_says_which(
    language: str, without: str, refused: str, told: tuple[str, str], tmp_path: Path
) -> None:
    name, other = ("Py", "Ts") if language == "python" else ("Ts", "Py")
    if language == "node":
        needs_node()
    write_project(tmp_path, SPEC.replace(f"  {other}:", f"  # {other}:"), py=PY)
    (tmp_path / "steps" / "ts.ts").write_text(TS)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(secured(tmp_path / "server", without))

        async def messenger() -> NatsMessenger:
            settings = Settings(url=f"nats://127.0.0.1:{server.port}", user="app", password="a")
            link = await connect(settings, name="app", jetstream=False)
            stack.push_async_callback(link.close)
            return NatsMessenger(link)

        remote = await stack.enter_async_context(remote_app(tmp_path, messenger))
        log = stack.enter_context(alone(tmp_path, server, language))
        await until(lambda: "serving 1 steps" in log(), "it does not serve", seconds=40)
        await remote.app.emit("a", "x")
        kind, start = told
        violations = 3 if kind == "publish" else 1  # signs of life: one a second
        await until(lambda: server.log.count(refused) >= violations, "nothing was refused", seconds=40)
        advice = f'have its user\'s permissions allow to {kind} "{start}>"'
        await until(lambda: advice in log(), "it does not say what is missing")
        (line,) = [line for line in log().splitlines() if "NATS does not let us" in line]
        assert f'does not let us {kind} to "{start}' in line
        if kind == "subscribe":
            assert f'"{start}{name}"' in line
        assert await remote.app.state.get("done", name.lower()) is None
        assert await remote.app.events("b") == []
