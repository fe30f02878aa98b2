"""Streams as handlers and those who follow see them, on the memory log; the wire is tested in tests/http, several instances in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from motia_runtime.handler import ValidationFailed
from motia_runtime.live.door import Denied, Unauthenticated
from motia_runtime.testing import AppUnderTest

SPEC = """
name: t
topics: {do: {external: in}}
streams:
  board: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}
  short: {ttl: 60s}
steps:
  Do: {type: event, subscribes: [do], retry: {attempts: 1}}
"""
DO = """
async def handler(data, ctx):
    streams = ctx.streams
    for name, method, *args in data:
        await getattr(streams[name], method)(*args)
"""
DO_PLAIN = """
def handler(data, ctx):
    for name, method, *args in data:
        getattr(ctx.streams[name], method)(*args)
"""


async def do(app: AppUnderTest, *what: Any) -> None:
    await app.emit("do", list(what))
    await app.settle()
    assert await app.dead_letters() == []


def events(frames: list[Any]) -> list[Any]:
    """(type, id, data) of each."""
    return [(f["event"]["type"], f.get("id"), f["event"].get("data", f["event"].get("event"))) for f in frames]


@pytest.mark.parametrize("source", [DO, DO_PLAIN], ids=["async", "plain"])
async def test_a_group_is_told_of_every_change(make_app: Any, source: str) -> None:
    async with make_app(SPEC, do=source) as app:
        await do(app, ("board", "set", "g", "a", {"n": 1, "id": "not this"}), ("board", "set", "other", "a", {"n": 9}))
        async with app.follow("board", "g") as all_of_it, app.follow("board", "g", "a") as one:
            await do(
                app,
                ("board", "set", "g", "a", {"n": 2}),
                ("board", "set", "g", "b", {"n": 1}),
                ("board", "send", "g", "note", [1]),
                ("board", "send", {"groupId": "g", "id": "a"}, {"type": "note", "data": {"x": None}}),
                ("board", "delete", "g", "a"),
                ("board", "delete", "g", "a"),
                ("board", "delete", "g", "never"),
                ("board", "set", "g", "a", {"n": 3}),
            )
            assert events(all_of_it.frames) == [
                ("sync", None, [{"id": "a", "n": 1}]),
                ("update", "a", {"id": "a", "n": 2}),
                ("create", "b", {"id": "b", "n": 1}),
                ("event", None, {"type": "note", "data": [1]}),
                ("event", "a", {"type": "note", "data": {"x": None}}),
                ("delete", "a", {"id": "a", "n": 2}),
                ("create", "a", {"id": "a", "n": 3}),
            ]
            assert events(one.frames) == [
                ("sync", "a", {"id": "a", "n": 1}),
                *[event for event in events(all_of_it.frames) if event[1] == "a"],
            ]
            times = [frame["timestamp"] for frame in all_of_it.frames]
            assert times == sorted(set(times))
            assert {(f["streamName"], f["groupId"]) for f in all_of_it.frames} == {("board", "g")}
        assert await app.streams.get_group("board", "g") != []


async def test_an_item_that_is_not_there_is_followed_in_silence(make_app: Any) -> None:
    async with make_app(SPEC, do=DO) as app, app.follow("board", "g", "a") as one, app.follow("board", "empty") as none:
        assert (one.frames, events(none.frames)) == ([], [("sync", None, [])])
        await do(app, ("board", "set", "g", "a", {"n": 1}))
        assert events(one.frames) == [("create", "a", {"id": "a", "n": 1})]


async def test_the_end_of_a_ttl_is_a_delete(make_app: Any) -> None:
    async with make_app(SPEC, do=DO) as app, app.follow("short", "g") as followed:
        await do(app, ("short", "set", "g", "text", "no object"))
        await app.advance(61)
        assert events(followed.frames)[1:] == [
            ("create", "text", {"id": "text", "value": "no object"}),
            ("delete", "text", {"id": "text", "value": "no object"}),
        ]


async def test_what_other_programs_write_as_nonsense_is_left_out(make_app: Any) -> None:
    async with make_app(SPEC, do=DO) as app, app.follow("board", "g") as followed:
        for data in (b"{", b'{"a":"\xff"}', b"[" * 100_000, b""):
            await app._log.append("rt.board.g.bad", data)
        await app._log.append("rt.board.g.good", b' {"n":\n 1, "id": 5}')
        app._log.feed.tell("live.board.g", b"{}")
        app._log.feed.tell("live.board.g", b'{"type":"t","data":"\xff"}')
        await followed.next()
        assert events([await followed.next()]) == [("create", "good", {"id": "good", "n": 1})]
        async with app.follow("board", "g") as anew:
            assert events(anew.frames) == [("sync", None, [{"id": "good", "n": 1}])]


async def test_a_value_must_fit_and_a_stream_must_be_there(make_app: Any) -> None:
    async with make_app(SPEC, do=DO) as app:
        with pytest.raises(ValidationFailed):
            await app.streams.set("board", "g", "a", {"n": "one"})
        with pytest.raises(Denied, match="Stream nothing not found"):
            async with app.follow("nothing", "g"):
                pass
        for group, item in (("", None), ("g" * 129, None), ("g", ""), ("\ud800", None)):
            with pytest.raises(Denied):
                async with app.follow("board", group, item):
                    pass


GUARDED = """
name: t
streams: {board: {access: steps/door.py:may}, open: {}}
server: {streamAuth: steps/door.py:who}
"""
DOOR = """
async def who(headers, query):
    token = headers.get("authorization") or query.get("authToken")
    if token == "boom":
        raise PermissionError("never seen you")
    return {"name": token} if token else None

def may(group, id, auth):
    if group == "boom":
        raise RuntimeError("who knows")
    if group == "truthy":
        return "yes"
    if group == "forgot":
        return later()
    return auth is not None and auth["name"] == group and id != "secret"

async def later():
    return True
"""


async def test_who_may_connect_and_follow(make_app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with make_app(GUARDED, door=DOOR) as app:
        async with app.follow("board", "ann", headers={"Authorization": "ann"}) as followed:
            assert events(followed.frames) == [("sync", None, [])]
        async with app.follow("board", "ann", "a", query={"authToken": "ann"}), app.follow("open", "boom"):
            pass
        with pytest.raises(Unauthenticated):
            async with app.follow("open", "g", query={"authToken": "boom"}):
                pass
        for group, item in (("bob", None), ("ann", "secret"), ("boom", None), ("truthy", None), ("forgot", None)):
            with pytest.raises(Denied, match=r"^Access denied$"):
                async with app.follow("board", group, item, query={"authToken": "ann"}):
                    pass
        with pytest.raises(Denied):
            async with app.follow("board", "ann"):
                pass
    assert "steps/door.py:who: PermissionError: never seen you" in caplog.text
    assert "steps/door.py:may failed, so the client may not follow board: RuntimeError: who knows" in caplog.text
    assert "steps/door.py:may returned 'yes'; it must return True or False" in caplog.text
    assert caplog.text.count("must return True or False") == 2


async def test_nothing_is_kept_of_what_nobody_follows(make_app: Any) -> None:
    async with make_app(SPEC, do=DO) as app:
        hub = app._version.engine.live
        for n in range(20):
            async with app.follow("board", f"g{n}") as one, app.follow("board", f"g{n}", "a"):
                await one.join("again", "board", f"g{n}", "b")
        assert (hub._channels, hub.clients) == ({}, set())
