"""Hostile topics, state keys and event headers, from a handler of a running app (`ctx`), from the command line, and straight to the broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nats.errors
import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia
from motia_runtime.handler import InvalidHeader
from motia_runtime.nats.wire import encode_head
from support.corpus import Entry, inputs, value
from support.process import AppProcess, running_app, write_project
from support.stored import publish_straight, records
from support.waiting import wait_for

SPEC = """
name: hostile-names
topics: { orders.created: { external: in } }
steps:
  Emit: { type: api, method: POST, path: /emit, emits: [orders.created] }
  Set: { type: api, method: POST, path: /set }
  Get: { type: api, method: POST, path: /get }
  Take: { type: event, subscribes: [orders.created] }
"""
EMIT = """
async def handler(request, ctx):
    try:
        await ctx.emit(request.body["topic"], {}, **request.body.get("more", {}))
    except Exception as problem:
        return {"raised": type(problem).__name__}
    return {"raised": None}
"""
SET = """
async def handler(request, ctx):
    try:
        for group, key, value in request.body:
            await ctx.state.set(group, key, value)
    except Exception as problem:
        return {"raised": type(problem).__name__}
    return {"raised": None}
"""
GET = """
async def handler(request, ctx):
    return [{"value": await ctx.state.get(g, k), "keys": await ctx.state.keys(g)} for g, k in request.body]
"""
TAKE = """
async def handler(data, ctx):
    await ctx.state.update("taken", "count", lambda old: (old or 0) + 1)
"""
TAKEN = ["taken", "count"]
UP_TO_THE_BROKER = {"NATS-050"}  # streams with schedules allow roll-ups: who may publish there past us may also purge


class Site:
    """The app, and a client of its API."""

    def __init__(self, app: AppProcess, client: httpx.Client) -> None:
        self.folder = app.folder
        self.lines = app.lines
        self._client = client

    def post(self, path: str, body: Any) -> Any:
        answer = self._client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = write_project(tmp_path_factory.mktemp("names"), SPEC, emit=EMIT, set=SET, get=GET, take=TAKE)
    with running_app(folder) as app, httpx.Client(base_url=app.url, timeout=30) as client:
        yield Site(app, client)


def stored(folder: Path) -> list[tuple[int, str]]:
    """Every event, retry and dead letter: number and subject."""
    return [(record.seq, record.subject) for record in records(folder, "ev.>", "retry.>", "dlq.>")]


def assert_serves(app: Site) -> None:
    """An ordinary event is still taken, and handled."""
    before = app.post("/get", [TAKEN])[0]["value"] or 0
    assert app.post("/emit", {"topic": "orders.created"}) == {"raised": None}
    wait_for(lambda: app.post("/get", [TAKEN])[0]["value"] == before + 1)


@inputs("topic")
def test_a_hostile_topic_is_refused(app: Site, entry: Entry) -> None:
    topic = value(entry)
    before = stored(app.folder)
    line = len(app.lines)
    assert app.post("/emit", {"topic": topic}) == {"raised": entry["expect"]["raises"]}
    told = CliRunner().invoke(motia, ["-C", str(app.folder), "emit", "--", topic, "{}"])
    assert told.exit_code in (1, 2)
    assert "this should not happen" not in told.output
    assert all(c.isprintable() or c == "\n" for c in told.output)
    assert stored(app.folder) == before
    assert_serves(app)
    assert "Traceback" not in "\n".join(app.lines[line:])


@inputs("key")
def test_a_hostile_key_is_kept_apart_or_refused(app: Site, entry: Entry) -> None:
    expect = entry["expect"]
    group, key = value(entry)
    other = expect.get("no_collision_with")
    if other is not None:
        assert app.post("/set", [[*other, "theirs"]]) == {"raised": None}
    raised = app.post("/set", [[group, key, "ours"]])["raised"]
    if "raises" in expect:
        assert raised == expect["raises"]
    elif raised is None:
        [ours] = app.post("/get", [[group, key]])
        assert ours["value"] == "ours"
        assert key in ours["keys"]
        shown = CliRunner().invoke(motia, ["-C", str(app.folder), "state", "get", "--json", "--", group, key])
        assert json.loads(shown.stdout) == "ours"
    else:
        assert raised == expect["roundtrip_or_raises"]
    if other is not None:
        [theirs] = app.post("/get", [other])
        assert theirs["value"] == "theirs"
        if other[0] != group:
            assert len(theirs["keys"]) == 1, "a group lists what is another's"
    assert_serves(app)


@inputs("header")
def test_a_hostile_header_reaches_no_event(app: Site, entry: Entry) -> None:
    """A handler sets no headers at all; and what an outside producer sends past us, the broker or its client refuses, as far as they can."""
    headers = value(entry)
    before = stored(app.folder)
    assert app.post("/emit", {"topic": "orders.created", "more": {"headers": headers}}) == {"raised": "TypeError"}
    if entry["id"] not in UP_TO_THE_BROKER:
        with pytest.raises(nats.errors.Error):
            publish_straight(app.folder, "orders.created", b"{}", headers)
    assert stored(app.folder) == before
    assert_serves(app)


def test_a_header_that_breaks_its_line_is_never_sent() -> None:
    """Whatever else goes wrong: our own writer of the protocol has the last word."""
    with pytest.raises(InvalidHeader):
        encode_head({"a\r\nb": "c"})
    with pytest.raises(InvalidHeader):
        encode_head({"a": "b\r\nNats-Rollup: all"})
