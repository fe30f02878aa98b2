"""The private nats-server of an app: starts, guards its store, dies with us, comes back with its data."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from motia_runtime.nats import binary
from motia_runtime.nats.connect import Settings, Unsupported, connect, mask
from motia_runtime.nats.embedded import EmbeddedServer, StartFailed, StoreBusy, find_running
from motia_runtime.nats.fast import FastLink
from motia_runtime.nats.link import Link
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.plain import PlainLink
from motia_runtime.nats.pulls import NatsConsumer
from motia_runtime.nats.reconcile import reconcile
from motia_runtime.ports import Conflict, Delivery, Entry, LogUnavailable, Record
from motia_spec.model import Nats, Project


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = await EmbeddedServer.start(tmp_path)
    yield server
    await server.stop()


@pytest_asyncio.fixture(params=["fast", "plain"])
async def link(server: EmbeddedServer, request: pytest.FixtureRequest) -> AsyncIterator[Link]:
    link = await connect(server.settings, name="test", fast=request.param == "fast")
    yield link
    await link.close()


async def a_log(server: EmbeddedServer, link: Link) -> NatsLog:
    project = Project(root=Path("/"), files=(), name="test", nats=Nats(prefix="app"))
    await reconcile(link, project, store=server.store, keep=("c",))
    return NatsLog(link, project.nats, store=server.store)


async def until(check: Callable[[], object], within: float = 20.0) -> float:
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < within, "it did not happen in time"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def freeze(server: EmbeddedServer) -> None:
    """SIGSTOP, and wait for every thread to have stopped."""
    os.kill(server.pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{server.pid}/task")
    await until(lambda: all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks.iterdir()))


async def crash(server: EmbeddedServer) -> None:
    """kill -9, and wait for the watcher to have it running again."""
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.pid != pid)


async def test_it_is_ready_soon_and_stops_quickly(tmp_path: Path) -> None:
    began = time.monotonic()
    server = await EmbeddedServer.start(tmp_path)
    started = time.monotonic() - began
    link = await connect(server.settings, name="test")
    await link.close()
    began = time.monotonic()
    await server.stop()
    assert started < 5.0
    assert time.monotonic() - began < 5.0
    assert gone(server.pid)
    await server.stop()


async def test_it_listens_on_loopback_only_and_asks_for_the_token(server: EmbeddedServer) -> None:
    port = int(server.url.rpartition(":")[2])
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.split(":")[1], 16) == port:
                listening.add(address.split(":")[0])
    assert listening == {"0100007F"}  # 127.0.0.1, in the machine's byte order
    with pytest.raises(LogUnavailable, match="refuses") as caught:
        await connect(Settings(url=server.url, token="wrong-one"), name="test")
    assert "wrong-one" not in str(caught.value)
    with pytest.raises(LogUnavailable):
        await connect(Settings(url=server.url), name="test")


async def test_what_it_writes_is_private_and_found_again(tmp_path: Path, server: EmbeddedServer) -> None:
    running = find_running(tmp_path)
    assert running is not None
    assert (running.url, running.token, running.pid) == (server.url, server.token, os.getpid())
    assert server.token not in repr(running) + repr(running.settings) + repr(server.settings)
    for name in ("run.json", "server.conf"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600
    link = await connect(running.settings, name="another command")
    await link.close()
    await server.stop()
    assert find_running(tmp_path) is None
    (server.folder / "run.json").write_text("{")
    assert find_running(tmp_path) is None
    assert find_running(tmp_path / "elsewhere") is None


async def test_a_second_server_on_the_store_is_refused(tmp_path: Path, server: EmbeddedServer) -> None:
    with pytest.raises(StoreBusy, match=f"process {os.getpid()} runs a nats-server"):
        await EmbeddedServer.start(tmp_path)
    await server.stop()
    again = await EmbeddedServer.start(tmp_path)
    await again.stop()


async def test_a_given_port_is_used_and_one_that_is_taken_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartFailed, match="address already in use"):
            await EmbeddedServer.start(tmp_path, port=port)
    server = await EmbeddedServer.start(tmp_path, port=port)
    assert server.url == f"nats://127.0.0.1:{port}"
    await server.stop()


@pytest.mark.parametrize("durability", ["strict", "balanced", "fast"])
async def test_each_durability_is_understood_by_the_server(tmp_path: Path, durability: str) -> None:
    server = await EmbeddedServer.start(tmp_path, durability=durability)  # type: ignore[arg-type]  # one of the three
    await server.stop()


async def test_its_data_outlives_kills_and_stops(tmp_path: Path, server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seqs = await asyncio.gather(*[log.append("ev.a", b"%d" % n) for n in range(500)])
    url = server.url
    await crash(server)
    assert server.url == url
    records = await log.history("ev.a")
    assert [r.seq for r in records] == seqs
    assert find_running(tmp_path) is not None
    await link.close()
    await server.stop()
    again = await EmbeddedServer.start(tmp_path)
    other = await connect(again.settings, name="test")
    assert len(await (await a_log(again, other)).history("ev.a")) == 500
    await other.close()
    await again.stop()


async def test_appends_and_consumption_go_on_after_a_crash(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seen: dict[bytes, int] = {}

    def deliver(delivery: Delivery) -> None:
        seen[delivery.record.data] = seen.get(delivery.record.data, 0) + 1
        delivery.ack()
        consumer.resume(1)

    consumer = await log.consume("c", ["ev.a"], deliver, credit=16)
    pending = []
    for n in range(2000):
        pending.append(log.append("ev.a", b"%d" % n, id=f"id-{n}"))
        if n in (300, 900, 1500):
            await until(lambda: not gone(server.pid))
            os.kill(server.pid, signal.SIGKILL)
        if n % 20 == 0:
            await asyncio.sleep(0.005)
    seqs = await asyncio.gather(*pending)
    assert len(set(seqs)) == 2000
    assert sorted(int(r.data) for r in await log.history("ev.a")) == list(range(2000))  # none lost, none twice
    await until(lambda: len(seen) == 2000, 45)
    assert log.connected()
    await consumer.stop()


async def test_a_compare_and_set_over_a_crash_knows_its_own_writes(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seq = 0
    for n in range(60):
        pending = log.append("st.g.k", b"%d" % n, expect=seq)
        if n in (20, 40):
            await asyncio.sleep(0)
            os.kill(server.pid, signal.SIGKILL)
        seq = await pending
    with pytest.raises(Conflict):
        await log.append("st.g.k", b"x", expect=seq - 1)
    record = await log.last("st.g.k")
    assert record is not None
    assert record.data == b"59"


async def test_a_batch_over_a_crash_is_whole_and_once(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    values: list[Record] = []
    for n in range(30):
        last = [await log.last(f"st.g.{key}") for key in "ab"]
        batch = [
            Entry(subject=f"st.g.{key}", data=b"%d" % n, id=f"{key}{n}", expect=record.seq if record else 0)
            for key, record in zip("ab", last, strict=True)
        ]
        pending = asyncio.ensure_future(log.append_all(batch))
        if n in (5, 12, 20):
            await asyncio.sleep(0.003 * (n % 3))
            os.kill(server.pid, signal.SIGKILL)
        await pending
        values = await log.lasts("st.g.*")
        assert [record.data for record in values] == [b"%d" % n] * 2
        await until(lambda: not gone(server.pid))
    assert max(record.seq for record in values) == 60


async def test_slots_plans_and_pauses_outlive_a_crash(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seen: list[bytes] = []

    def deliver(delivery: Delivery) -> None:
        seen.append(delivery.record.data)
        delivery.ack()

    await log.consume("c", ["ev.>"], deliver, credit=9)
    soon, later = time.time() + 2.0, time.time() + 3600
    await log.append("ev.a", b"first", at=soon - 1.5, slot="emit.replaced")
    await log.append("ev.a", b"soon", at=soon, slot="emit.replaced")
    await log.append("ev.a", b"later", at=later, slot="emit.kept")
    await log.append("ev.a", b"cancelled", at=soon, slot="emit.cancelled")
    assert await log.cancel("emit.cancelled") is True
    plan = await log.append("tx.S.r1", b"plan", expect=0)
    await log.pause("c", later)

    os.kill(server.pid, signal.SIGKILL)

    record = await log.last("tx.S.r1")
    assert record is not None
    assert (record.data, record.seq, await log.newest("tx")) == (b"plan", plan, plan)
    assert (await log.backlog("c")).paused_until == pytest.approx(later, abs=0.001)
    async with asyncio.timeout(10):
        while [each.slot for each in await log.scheduled(">", limit=9)] != ["emit.kept"]:
            await asyncio.sleep(0.02)
    assert time.time() >= soon
    assert seen == []
    await log.pause("c", 0)
    await until(lambda: seen == [b"soon"])
    assert await log.cancel("emit.kept") is True


async def test_a_consumer_that_somebody_removed_is_made_again(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seen: list[bytes] = []

    def deliver(delivery: Delivery) -> None:
        seen.append(delivery.record.data)
        delivery.ack()
        consumer.resume(1)

    consumer = await log.consume("c", ["ev.a"], deliver, credit=4)
    await waits_at_the_server(link)
    _, _, data = await link.request("$JS.API.CONSUMER.DELETE.app_events.c")
    assert b'"success":true' in data
    await waits_at_the_server(link)
    for n in range(20):
        await log.append("ev.a", b"%d" % n)
    await until(lambda: len(seen) == 20)
    assert seen == [b"%d" % n for n in range(20)]
    await consumer.stop()


async def waits_at_the_server(link: Link) -> None:
    async with asyncio.timeout(10):
        while True:
            _, _, data = await link.request("$JS.API.CONSUMER.INFO.app_events.c")
            if json.loads(data).get("num_waiting"):
                return
            await asyncio.sleep(0.02)


async def test_a_consumer_that_went_silent_is_asked_again(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    seen: list[bytes] = []

    def deliver(delivery: Delivery) -> None:
        seen.append(delivery.record.data)
        delivery.ack()

    consumer = await log.consume("c", ["ev.a"], deliver, credit=4)
    await waits_at_the_server(link)
    assert isinstance(consumer, NatsConsumer)
    link.unlisten(consumer._sid)
    await link.barrier()
    await log.append("ev.a", b"1")  # finds nobody who listens: the broker forgets the request without a word
    link._listen(consumer._sid, consumer._inbox)
    await link.barrier()
    consumer._alive -= 60
    await until(lambda: seen == [b"1"])
    await consumer.stop()


async def test_credentials_may_be_refused_for_a_while(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    conf = server.folder / "server.conf"
    text = conf.read_text()
    conf.write_text(text.replace(server.token, "another"))
    os.kill(server.pid, signal.SIGHUP)
    await until(lambda: not log.connected())
    pending = log.append("ev.a", b"1", id="1")
    await asyncio.sleep(0.5)
    conf.write_text(text)
    os.kill(server.pid, signal.SIGHUP)
    assert await pending > 0
    assert log.connected()


async def test_without_an_id_an_unknown_outcome_is_said_to_be_unknown(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    await freeze(server)
    pending = [log.append("ev.a", b"1"), log.append("ev.a", b"2", id="two")]
    await asyncio.sleep(0.05)
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(LogUnavailable, match="not known"):
        await pending[0]
    assert await pending[1] > 0


async def test_what_waits_for_a_broker_that_does_not_keep_up_is_bounded(
    server: EmbeddedServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motia_runtime.nats.link.MAX_UNANSWERED", 1 << 20)
    log = await a_log(server, link)
    try:
        await freeze(server)
        pending = [log.append("ev.a", b"x" * 10_000, id=f"{n}") for n in range(200)]
        refused = [future for future in pending if await settled(future)]
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert 80 < len(refused) < 120
    assert all("does not keep up" in str(future.exception()) for future in refused)
    stored = await asyncio.gather(*[future for future in pending if future not in refused])
    assert len(await log.history("ev.a")) == len(stored) == 200 - len(refused)
    assert await log.append("ev.a", b"again") > 0


async def settled(future: asyncio.Future[int]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return future.done()


async def test_another_version_of_nats_py_is_used_by_its_public_names(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await connect(server.settings, name="test")
    assert isinstance(ours, FastLink)
    await ours.close()
    monkeypatch.setattr("motia_runtime.nats.fast._NEEDED", ("_renamed_in_some_version",))
    theirs = await connect(server.settings, name="test")
    assert isinstance(theirs, PlainLink)
    assert await (await a_log(server, theirs)).append("ev.a", b"1") == 1
    await theirs.close()


async def test_after_closing_nothing_waits(server: EmbeddedServer, link: Link) -> None:
    log = await a_log(server, link)
    await link.close()
    assert not log.connected()
    with pytest.raises(LogUnavailable, match="closed"):
        await log.append("ev.a", b"1", id="x")
    with pytest.raises(LogUnavailable, match="closed"):
        await log.last("ev.a")
    log.note("run.a", b"")


async def test_a_full_store_refuses_at_once(tmp_path: Path) -> None:
    server = await EmbeddedServer.start(tmp_path)
    link = await connect(server.settings, name="test")
    log = await a_log(server, link)
    config = (server.folder / "server.conf").read_text()
    room = int(config.partition("max_file: ")[2].split()[0])
    assert 0 < room < shutil.disk_usage(tmp_path).free + (64 << 20)
    reply = await link.request(
        "$JS.API.STREAM.UPDATE.KV_app_state",
        json.dumps({**(await stream_config(link, "KV_app_state")), "max_bytes": 100_000}).encode(),
    )
    assert b'"error"' not in reply[2]
    outcomes = await asyncio.gather(*[log.append(f"st.g.{n}", b"x" * 1000) for n in range(200)], return_exceptions=True)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, int)]
    assert refused
    assert all(isinstance(outcome, LogUnavailable) and "maximum bytes" in str(outcome) for outcome in refused)
    assert await log.last("st.g.0") is not None
    await link.close()
    await server.stop()


async def stream_config(link: Link, name: str) -> dict[str, object]:
    _, _, data = await link.request(f"$JS.API.STREAM.INFO.{name}")
    config: dict[str, object] = json.loads(data)["config"]
    return config


PARENT = """
    import asyncio, sys, threading
    from pathlib import Path
    from motia_runtime.nats.embedded import EmbeddedServer

    async def main():
        server = await EmbeddedServer.start(Path(sys.argv[1]))
        print(server.pid, flush=True)
        await asyncio.sleep(60)

    if sys.argv[2] == "thread":
        # No event loop of a main thread: the kernel's signal would come when the thread ends, so a pipe has to do.
        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        thread.join()
    elif sys.argv[2] == "uvloop":
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["kernel", "thread", "uvloop"])
async def test_it_dies_with_its_parent_on_kill_9(tmp_path: Path, kind: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), kind, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    running = find_running(tmp_path)
    assert running is not None
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(StoreBusy, match=f"process {parent.pid}"):
        await EmbeddedServer.start(tmp_path)
    parent.kill()
    await parent.wait()
    assert await until(lambda: gone(child) and not answers(port)) < 2.0
    assert find_running(tmp_path) is None
    server = await EmbeddedServer.start(tmp_path)  # at once: the lock is free when the old server is
    await server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only there it is known whose process it is")
async def test_a_server_that_outlives_its_app_is_ended_by_the_next(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), "kernel", stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    os.kill(child, signal.SIGSTOP)  # it hears of no signal but the last one
    parent.kill()
    await parent.wait()
    assert find_running(tmp_path) is None
    server = await EmbeddedServer.start(tmp_path)
    assert gone(child)
    await (await connect(server.settings, name="test")).close()
    await server.stop()


async def test_nobody_joins_a_server_whose_app_is_dead(tmp_path: Path, server: EmbeddedServer) -> None:
    path = server.folder / "run.json"
    alive = path.read_bytes()
    dead = await asyncio.create_subprocess_exec("true")
    await dead.wait()
    path.write_bytes(alive.replace(f'"pid":{os.getpid()}'.encode(), f'"pid":{dead.pid}'.encode()))
    assert path.read_bytes() != alive
    assert find_running(tmp_path) is None
    path.write_bytes(alive)
    assert find_running(tmp_path) is not None


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def test_from_a_thread_it_works_as_well(tmp_path: Path) -> None:
    async def main() -> None:
        server = await EmbeddedServer.start(tmp_path)
        link = await connect(server.settings, name="test")
        await link.close()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert find_running(tmp_path) is None


# -- which nats-server --


def fake(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_the_packaged_server_is_found() -> None:
    assert binary.find({}).name.startswith("nats-server")


def test_another_server_can_be_named(tmp_path: Path) -> None:
    named = fake(tmp_path / "mine", "nats-server: v2.14.0")
    assert binary.find({"NATS_SERVER_BIN": str(named)}) == named


@pytest.mark.parametrize(
    ("says", "message"),
    [("nats-server: v2.11.4", "v2.11.4: 2.14 or newer is needed"), ("hello", "calls itself 'hello'")],
)
def test_a_server_that_will_not_do_is_named(tmp_path: Path, says: str, message: str) -> None:
    named = fake(tmp_path / "mine", says)
    with pytest.raises(binary.NoServer, match=message):
        binary.find({"NATS_SERVER_BIN": str(named)})


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(binary.NoServer, match="no file"):
        binary.find({"NATS_SERVER_BIN": str(tmp_path / "none")})


# -- the way to an outside server --


def test_settings_come_from_the_environment_and_show_no_secret() -> None:
    environ = {"NATS_USER": "u", "NATS_PASSWORD": "p4ss", "NATS_TOKEN": "t0k", "NATS_CREDS": "/c", "OTHER": "x"}
    settings = Settings.from_environ("nats://me:s3cret@host:4222,nats://other", environ)
    assert (settings.user, settings.password, settings.token, settings.creds) == ("u", "p4ss", "t0k", "/c")
    assert settings.urls == ["nats://me:s3cret@host:4222", "nats://other"]
    assert repr(settings) == "Settings(nats://***@host:4222,nats://other)"
    assert mask("refused by tls://a:b@c:1/x and nats://d") == "refused by tls://***@c:1/x and nats://d"


async def test_nobody_there_is_said_without_credentials() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LogUnavailable, match=rf"nats://\*\*\*@127.0.0.1:{port}") as caught:
        await connect(Settings(url=f"nats://u:s3cret@127.0.0.1:{port}"), name="test", timeout=0.5)
    assert "s3cret" not in str(caught.value)


async def test_missing_files_are_named(tmp_path: Path) -> None:
    for name in ("creds", "nkey", "ca"):
        with pytest.raises(ValueError, match="NATS_"):
            await connect(Settings(url="nats://127.0.0.1:1", **{name: str(tmp_path / "none")}), name="test")


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        binary.find({}),
        "-a",
        "127.0.0.1",
        "-p",
        "-1",
        "--ports_file_dir",
        str(tmp_path),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: any(f.read_text().strip().endswith("}") for f in tmp_path.glob("*.ports")))
        url = json.loads(next(tmp_path.glob("*.ports")).read_text())["nats"][0]
        with pytest.raises(Unsupported, match="no JetStream"):
            await connect(Settings(url=url), name="test")
    finally:
        process.terminate()
        await process.wait()
