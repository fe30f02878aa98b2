"""Streams live over two processes on one broker: the seven rules of docs/streams.md, who may follow, hostile clients, Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from support.process import AppProcess, running_app, write_project
from support.sockets import ClosedByServer, Refused, TestSocket, connect, masked

SPEC = """
name: live
topics: {work: {}}
streams:
  board: {schema: {type: object}}
  guarded: {access: steps/door.py:may}
server:
  streamAuth: steps/door.py:who
  cors: {origins: ["https://web.example"]}
steps:
  Do: {type: api, method: POST, path: /do, emits: [work], uses: {streams: [board, guarded]}}
  Work: {type: event, subscribes: [work], isolation: process, uses: {streams: [board]}}
"""
DO = """
import asyncio

async def handler(request, ctx):
    await asyncio.gather(*(ctx.emit("work", args) if method == "work" else getattr(ctx.streams[name], method)(*args)
                           for name, method, *args in request.body))
"""
WORK = """
async def handler(data, ctx):
    group, id, value = data
    await ctx.streams.board.set(group, id, value)
    await ctx.streams.board.send(group, "done", id, id=id)
"""
DOOR = """
def who(headers, query):
    words = headers.get("sec-websocket-protocol", "").split(", ")
    token = words[1] if len(words) == 2 else query.get("authToken")
    if token == "wrong":
        raise PermissionError(token)
    return token

async def may(group, id, auth):
    return {}[group] if group == "boom" else auth == group
"""


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory, nats_server: Any) -> Iterator[list[AppProcess]]:
    folder = write_project(tmp_path_factory.mktemp("live"), SPEC, do=DO, work=WORK, door=DOOR)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    with running_app(folder, env=env) as one, running_app(folder, env=env) as two:
        yield [one, two]


def port(app: AppProcess) -> int:
    return int(app.url.rpartition(":")[2])


async def do(app: AppProcess, *what: Any) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(app.url + "/do", json=list(what), timeout=20)
    assert answer.status_code in (200, 204), answer.text


@asynccontextmanager
async def socket(app: AppProcess, path: str = "/", **headers: str) -> AsyncIterator[TestSocket]:
    opened = await connect(port(app), path, **headers)
    try:
        yield opened
    finally:
        await opened.close()


async def last(following: TestSocket, app: AppProcess, group: str) -> list[Any]:
    """All frames until one that is sent now arrives."""
    await do(app, ["board", "send", group, "the end"])
    frames = []
    while (frame := await following.next())["event"].get("event", {}).get("type") != "the end":
        frames.append(frame)
    return frames


async def test_rule_1_the_times_of_an_item_grow_however_fast_it_changes(apps: list[AppProcess]) -> None:
    async with socket(apps[1], "/any/path?x=1") as one:
        await one.join("board", "r1", "a")
        await one.join("board", "r1")
        await do(
            apps[0],
            *(["board", "set", "r1", "a", {"n": n}] for n in range(200)),
            ["board", "send", {"groupId": "r1", "id": "a"}, "mid"],
        )
        frames = await last(one, apps[0], "r1")
    changes = [frame for frame in frames if frame["event"]["type"] in ("create", "update")]
    assert len(changes) == 200
    assert sorted(frame["event"]["data"]["n"] for frame in changes) == list(range(200))
    times = [frame["timestamp"] for frame in frames if frame["event"]["type"] != "sync"]
    assert times == sorted(set(times))
    assert len(times) == 201


async def test_rule_2_nothing_falls_between_snapshot_and_registration(apps: list[AppProcess]) -> None:
    """Whoever joins while items change has, with what it was told first and after, each of them as it ends."""

    async def change() -> None:
        for start in range(0, 300, 20):
            await do(apps[0], *(["board", "set", "r2", f"i{n % 40}", {"n": n}] for n in range(start, start + 20)))

    changing = asyncio.create_task(change())
    sockets = []
    while not changing.done():
        joined = await connect(port(apps[len(sockets) % 2]))
        await joined.join("board", "r2")
        sockets.append(joined)
        await asyncio.sleep(0)
    await changing
    await do(apps[0], ["board", "send", "r2", "the end"])
    async with socket(apps[1]) as late:
        await late.join("board", "r2")
        truth = {item["id"]: item["n"] for item in (await late.until("sync"))["event"]["data"]}
    assert len(truth) == 40
    for joined in sockets[:60]:
        seen: dict[str, int] = {}
        first = await joined.next()
        assert first["event"]["type"] == "sync"
        seen = {item["id"]: item["n"] for item in first["event"]["data"]}
        while seen != truth:
            frame = await joined.next()
            if frame["event"]["type"] == "event":
                break
            item = frame["event"]["data"]
            assert frame["event"]["type"] == ("update" if item["id"] in seen else "create")
            assert frame["timestamp"] > first["timestamp"]
            seen[item["id"]] = item["n"]
        assert seen == truth
    for joined in sockets:
        await joined.close()
    assert len(sockets) > 5


async def test_rule_3_each_event_comes_once_per_socket(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as one:
        for n in range(3):
            await one.join("board", "r3", subscription=f"group {n}")
            await one.join("board", "r3", "a", subscription=f"item {n}")
        for _ in range(3):
            await one.until("sync")
        await do(apps[0], ["board", "set", "r3", "a", {}], ["board", "send", {"groupId": "r3", "id": "a"}, "mid"])
        frames = await last(one, apps[0], "r3")
        assert sorted(frame["event"]["type"] for frame in frames if frame["event"]["type"] != "sync") == [
            "create",
            "event",
        ]
        # and none when nothing matches any more, which the end that another socket sees shows
        for n in range(3):
            await one.join("board", "r3", subscription=f"group {n}", kind="leave")
        await do(apps[0], ["board", "send", "r3", "nobody"])
        await do(apps[0], ["board", "set", "r3", "a", {"n": 1}])
        assert (await one.next())["event"]["type"] == "update"


async def test_rule_4_and_6_instances_tell_the_same_at_the_same_time(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as here, socket(apps[1]) as there:
        for each in (here, there):
            await each.join("board", "r4")
            await each.until("sync")
        for n in range(20):
            await do(apps[n % 2], ["board", "set", "r4", f"i{n % 3}", {"n": n}])
        await do(apps[0], ["board", "delete", "r4", "i0"], ["board", "work", "r4", "w", {"from": "a process"}])
        seen = []
        for each in (here, there):
            frames = [await each.next() for _ in range(22)]
            seen.append([(f["timestamp"], f["id"], f["event"]) for f in frames])
            assert (await each.next())["event"]["event"] == {"type": "done", "data": "w"}
        assert seen[0] == seen[1]
        assert [frame[2]["type"] for frame in seen[0]].count("create") == 4


async def test_rule_5_what_is_of_another_group_never_comes(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as one:
        await one.join("board", "r5", "a")
        for group, item in (("r5b", "a"), ("r5", "b"), ("r5.a", "a"), ("", "a")):
            if group:
                await do(apps[1], ["board", "set", group, item, {}])
        await do(apps[1], ["guarded", "set", "r5", "a", {}], ["board", "send", "r5b", "x"])
        await do(apps[1], ["board", "set", "r5", "a", {"mine": True}])
        assert (await one.next())["event"] == {"type": "create", "data": {"id": "a", "mine": True}}


async def test_rule_7_who_does_not_read_holds_nobody_up_and_gets_the_last_state(apps: list[AppProcess]) -> None:
    big = "x" * 60_000
    async with socket(apps[0]) as slow, socket(apps[0]) as quick:
        for each in (slow, quick):
            await each.join("board", "r7")
            await each.until("sync")
        slow.writer.transport.pause_reading()  # its reader takes 64 KiB and no more
        told = 0

        async def read() -> None:
            nonlocal told
            while (frame := await quick.next())["event"]["type"] != "event":
                told += frame["event"]["type"] in ("create", "update")

        reading = asyncio.create_task(read())
        for n in range(50):
            await do(apps[1], *(["board", "set", "r7", f"i{k}", {"n": n, "big": big}] for k in range(5)))
        await do(apps[1], ["board", "send", "r7", "the end"])
        await asyncio.wait_for(reading, 30)
        assert told == 250, "the one that reads misses nothing"
        slow.writer.transport.resume_reading()
        seen: dict[str, int] = {}
        frames = 0
        while len(seen) < 5 or set(seen.values()) != {49}:
            frame = await slow.next()
            assert frame["event"]["type"] in ("create", "update")
            assert frame["event"]["type"] == ("update" if frame["id"] in seen else "create")
            seen[frame["id"]] = frame["event"]["data"]["n"]
            frames += 1
        assert frames < 250, "nothing was left out: the test sends too little to fill the buffers"


async def test_who_may_connect_and_join(apps: list[AppProcess]) -> None:
    for options in ({"path": "/?authToken=wrong"}, {"Sec_WebSocket_Protocol": "Authorization, wrong"}):
        with pytest.raises(Refused) as refused:
            await connect(port(apps[0]), **options)
        assert refused.value.status == 401
        assert b"wrong" not in refused.value.body
    async with socket(apps[0], Sec_WebSocket_Protocol="Authorization, ann") as ann:
        assert "sec-websocket-protocol: Authorization\r\n" in ann.head
        for group in ("bob", "boom"):
            await ann.join("guarded", group)
            frame = await ann.next()
            assert frame["event"]["event"] == {
                "type": "error",
                "data": {"code": "STREAM_ACCESS_DENIED", "message": "Access denied"},
            }
            assert (frame["streamName"], frame["groupId"]) == ("guarded", group)
        await ann.join("$SYS", "a", "b")
        assert (await ann.next())["event"]["event"]["data"] == {
            "code": "STREAM_ACCESS_DENIED",
            "message": "Stream $SYS not found",
        }
        await do(apps[1], ["guarded", "set", "bob", "a", {"secret": 1}], ["guarded", "set", "ann", "a", {"n": 1}])
        await ann.join("guarded", "ann")
        assert (await ann.next())["event"] == {"type": "sync", "data": [{"id": "a", "n": 1}]}
    async with socket(apps[0]) as nobody:
        await nobody.join("guarded", "ann")
        assert (await nobody.next())["event"]["event"]["data"]["message"] == "Access denied"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 421),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
        ({"Sec_WebSocket_Protocol": "a b"}, 400),
        ({"Content_Length": "3"}, 400),
    ],
)
async def test_handshakes_that_are_refused(apps: list[AppProcess], headers: Any, status: int) -> None:
    with pytest.raises(Refused) as refused:
        await connect(port(apps[0]), **headers)
    assert refused.value.status == status


async def test_pages_of_allowed_origins_may_connect(apps: list[AppProcess]) -> None:
    async with socket(apps[0], Origin="https://web.example") as one:
        await one.join("board", "empty")
        assert (await one.next())["event"] == {"type": "sync", "data": []}


NONSENSE = [
    "", "nonsense", "[]", "null", '{"type":"join"}', '{"type":"join","data":null}', '{"type":"shout","data":{}}', "[" * 60_000, "9" * 5000,
    '{"type":"join","data":{"streamName":"board","groupId":1,"subscriptionId":"s"}}', '{"type":"join","data":{"streamName":"board","groupId":"g"}}',
    json.dumps({"type": "join", "data": {"streamName": "board", "groupId": "g", "subscriptionId": "s" * 5000}}),
]  # fmt: skip


async def test_nonsense_is_answered_and_harms_nobody(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as other, socket(apps[0]) as hostile:
        await other.join("board", "n")
        await other.until("sync")
        for message in NONSENSE:
            await hostile.send(message)
            assert (await hostile.next())["event"]["event"]["data"]["code"] == "BAD_MESSAGE"
        await hostile.raw(masked(2, b"\x00\x01"))
        assert (await hostile.next())["event"]["event"]["data"]["code"] == "BAD_MESSAGE"
        for group in (">", "*", "a.b", "g\r\nSUB > 1\r\n", "x" * 128):
            await hostile.join("board", group)
            assert (await hostile.next())["event"] == {"type": "sync", "data": []}
        await hostile.join("board", "x" * 129)
        assert (await hostile.next())["event"]["event"]["data"]["code"] == "STREAM_ACCESS_DENIED"
        await do(apps[0], ["board", "set", "n", "a", {}])
        assert (await other.next())["event"]["type"] == "create"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (b"\xc3\x82\0\0\0\0hi", 1002),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0", 1009),
        (masked(1, b"x" * 1000, final=False) + masked(0, b"x" * 1000, final=False) * 200, 1009),
        (masked(1, b"\xff\xfe"), 1007),
        (masked(9, b"x" * 126), 1002),
        (masked(0, b"x"), 1002),
        (masked(8, b"\x03\xe8"), 1000),
        (masked(8, b"x"), 1002),
    ],
    ids=[
        "unmasked",
        "reserved",
        "claims 2^62",
        "fragments",
        "no UTF-8",
        "long ping",
        "continues nothing",
        "close",
        "bad close",
    ],
)
async def test_broken_frames_end_their_own_connection(apps: list[AppProcess], data: bytes, code: int) -> None:
    async with socket(apps[0]) as hostile:
        await hostile.raw(data)
        with pytest.raises(ClosedByServer) as closed:
            await hostile.next()
        assert closed.value.code == code
        await hostile.raw(masked(8, b"\x03\xe8"))
    async with socket(apps[0]) as one:
        await one.join("board", "empty")
        assert (await one.next())["event"]["type"] == "sync"


async def test_ten_thousand_joins_are_bounded(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as hostile, socket(apps[0]) as other:

        async def flood() -> None:
            for n in range(10_000):
                await hostile.join("board", "f", f"nothing {n}")

        flooding = asyncio.create_task(flood())
        for _ in range(100):
            frame = await hostile.next()
            assert frame["event"]["event"]["data"]["code"] == "TOO_MANY_SUBSCRIPTIONS"
        with pytest.raises(ClosedByServer) as closed:
            await hostile.next()
        assert closed.value.code == 1008
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        await other.join("board", "f")
        assert (await other.next())["event"]["type"] == "sync"
    apps[0].wait_for("sent away after 100 messages")


async def test_pings_are_answered_between_fragments(apps: list[AppProcess]) -> None:
    async with socket(apps[0]) as one:
        text = json.dumps(
            {"type": "join", "data": {"streamName": "board", "groupId": "empty", "subscriptionId": "s"}}
        ).encode()
        await one.raw(masked(1, text[:5], final=False) + masked(9, b"there?") + masked(0, text[5:]))
        assert await one.frame() == (10, b"there?")
        assert (await one.next())["event"]["type"] == "sync"


# -- Server-Sent Events --


@asynccontextmanager
async def events(
    app: AppProcess, path: str, **headers: str
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[dict[str, str]]]]:
    """The answer, and its events as fields by name."""

    async def each(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield fields
                fields = {}

    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{app.url}/__motia/streams/{path}", headers=headers) as answer,
    ):
        yield answer, each(answer)


async def test_server_sent_events_are_the_same_frames(apps: list[AppProcess]) -> None:
    async with events(apps[0], "board/sse%2F1", Origin="https://web.example") as (answer, told), socket(apps[1]) as one:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert answer.headers["access-control-allow-origin"] == "https://web.example"
        assert await anext(told) == {"retry": "2000"}
        await one.join("board", "sse/1")
        assert (
            json.loads((await anext(told))["data"])["event"]
            == (await one.next())["event"]
            == {"type": "sync", "data": []}
        )
        await do(apps[1], ["board", "set", "sse/1", "a", {"text": "line\nline"}])
        event = await anext(told)
        assert json.loads(event["data"]) == await one.next()
        await do(apps[1], ["board", "send", "sse/1", "note", 1])
        assert "id" not in (note := await anext(told))
        assert json.loads(note["data"])["event"] == {"type": "event", "event": {"type": "note", "data": 1}}
    async with events(apps[1], "board/sse%2F1", **{"Last-Event-ID": event["id"]}) as (_, told):
        await anext(told)  # retry
        await do(apps[0], ["board", "set", "sse/1", "a", {"n": 2}])
        event = await anext(told)
        assert json.loads(event["data"])["event"]["type"] == "update", "nothing had changed, so there is no sync"
    await do(apps[0], ["board", "delete", "sse/1", "a"])
    async with events(apps[1], "board/sse%2F1", **{"Last-Event-ID": event["id"]}) as (_, told):
        await anext(told)
        assert json.loads((await anext(told))["data"])["event"] == {"type": "sync", "data": []}
    async with events(apps[1], "board/sse%2F1/a", **{"Last-Event-ID": "7"}) as (_, told):
        await anext(told)
        assert json.loads((await anext(told))["data"])["event"] == {"type": "delete", "data": {"id": "a"}}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("guarded/ann", {}, 403),
        ("guarded/ann?authToken=bob", {}, 403),
        ("guarded/boom?authToken=boom", {}, 403),
        ("guarded/ann?authToken=wrong", {}, 401),
        ("nothing/g", {}, 404),
        ("board/g", {"origin": "https://evil.example"}, 403),
        ("board/g", {"host": "evil.example"}, 421),
        ("guarded/ann/a?authToken=ann", {}, 200),
    ],
)
async def test_who_may_read_events(apps: list[AppProcess], path: str, headers: Any, status: int) -> None:
    async with events(apps[0], path, **headers) as (answer, _):
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers


async def test_only_get_reads_events(apps: list[AppProcess]) -> None:
    async with httpx.AsyncClient() as client:
        url = apps[0].url + "/__motia/streams/board/g"
        assert (await client.post(url)).status_code == 405
        asked = {"origin": "https://web.example", "access-control-request-method": "GET"}
        answer = await client.options(url, headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-methods"]) == (204, "GET, OPTIONS")
