"""What the record of a run tells: all that it did, and nothing that is to stay hidden."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_runtime.handler import Trigger
from motia_runtime.http.endpoint import WireRequest
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import state_subject
from motia_runtime.records import RECORD_SIZE, SUBJECT, TOGETHER, RecordWriter, RunRecord, ShortRecord, read_record
from motia_runtime.redaction import Redaction
from motia_runtime.runner import TraceContext
from motia_runtime.runs import Attempt, Plan
from motia_runtime.testing import AppUnderTest, run_app
from motia_spec import compile_project

SPEC = """
name: t
secrets: [API_KEY]
schemas:
  Order: {type: object, required: [id], properties: {id: {type: string}, card: {type: string, x-sensitive: true}}}
topics:
  order.created: {schema: {$ref: "#/schemas/Order"}}
  go: {external: in}
state:
  orders: {schema: {$ref: "#/schemas/Order"}}
  free: {}
streams:
  live: {schema: {$ref: "#/schemas/Order"}}
steps:
  CreateOrder: {type: api, method: POST, path: "/orders/{shop}", emits: [order.created], body: {$ref: "#/schemas/Order"}, uses: {state: [orders, free], streams: [live]}}
  Ship: {type: event, subscribes: [order.created], retry: {attempts: 2, delay: 1s}}
  Go: {type: event, subscribes: [go], emits: [order.created], retry: {attempts: 1}}
"""
CREATE = """
async def handler(request, ctx):
    order = request.body
    await ctx.state.free.get("nothing")
    await ctx.state.free.get("there")
    await ctx.state.free.set("there", {"n": 2})
    await ctx.state.orders.set(order["id"], order)
    await ctx.streams.live.set("g", order["id"], order)
    await ctx.streams.live.send("g", "moved", {"to": 1})
    await ctx.streams.live.delete("g", order["id"])
    await ctx.emit("order.created", order)
    await ctx.emit("order.created", order, delay=60, key="k1")
    ctx.logger.info("accepted", id=order["id"], key=ctx.secrets["API_KEY"])
    return {"status": 201, "body": {}}
"""
SHIP = """
class NoTruck(Exception):
    pass

def look(data):
    raise NoTruck(f"none for {data['id']}, key sk_live_4711")

async def handler(data, ctx):
    ctx.logger.warning("looking", attempt=ctx.attempt)
    if ctx.attempt == 1:
        look(data)
"""


@asynccontextmanager
async def running(folder: Path, monkeypatch: pytest.MonkeyPatch, go: str = "pass") -> AsyncIterator[AppUnderTest]:
    monkeypatch.setenv("API_KEY", "sk_live_4711")
    (folder / "motia.yaml").write_text(SPEC)
    (folder / "steps").mkdir()
    handlers = {"create_order": CREATE, "ship": SHIP}
    handlers["go"] = "async def handler(data, ctx):\n" + textwrap.indent(textwrap.dedent(go), "    ")
    for name, source in handlers.items():
        (folder / "steps" / f"{name}.py").write_text(source)
    async with run_app(folder) as app:
        yield app


async def all_records(app: AppUnderTest) -> list[RunRecord]:
    trace = await app.emit("go", {})
    await app.settle()
    return await app.runs(trace)


def plain(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


async def test_everything_that_a_run_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch) as app:
        await app.state.set("free", "there", {"n": 1})
        answer = await app.request(
            "POST",
            "/orders/berlin?page=2&token=abc",
            json={"id": "o-1", "card": "4711"},
            headers={
                "Cookie": "session=1",
                "X-Api-Key": "k",
                "User-Agent": "test",
                "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            },
        )
        assert answer.status == 201
        await app.advance(5)
        runs = await app.runs("a" * 32)
        stored = b"".join(entry.data for entry in await app._log.scan(SUBJECT, limit=100))
    create, first, second = runs
    assert (create.step, create.parent_id, create.trigger.path, create.status) == (
        "CreateOrder",
        "b" * 16,
        "/orders/berlin",
        201,
    )
    assert plain(create.input) == {"id": "o-1", "card": "***"}
    assert create.query == {"page": "2", "token": "***"}
    assert {name: create.headers[name] for name in ("cookie", "x-api-key", "user-agent")} == {
        "cookie": "***", "x-api-key": "***", "user-agent": "test",
    }  # fmt: skip
    assert [(emit.topic, plain(emit.data), emit.key, emit.at is not None) for emit in create.emits] == [
        ("order.created", {"id": "o-1", "card": "***"}, "", False),
        ("order.created", {"id": "o-1", "card": "***"}, "k1", True),
    ]
    told = [(one.op, one.group, one.key, one.revision > 0, bytes(one.before), bytes(one.data)) for one in create.state]
    assert told == [
        ("set", "free", "there", True, b'{"n":1}', b'{"n":2}'),
        ("set", "orders", "o-1", False, b"", b'{"id":"o-1","card":"***"}'),
        ("get", "free", "nothing", False, b"", b""),
    ]
    assert [(one.op, one.stream, one.group, one.id, one.type, bytes(one.data)) for one in create.streams] == [
        ("set", "live", "g", "o-1", "", b'{"id":"o-1","card":"***"}'),
        ("send", "live", "g", "", "moved", b'{"to":1}'),
        ("delete", "live", "g", "o-1", "", b""),
    ]
    offsets = [
        create.state[0].offset,
        create.streams[0].offset,
        create.emits[0].offset,
        create.emits[1].offset,
        create.duration,
    ]
    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert [(line.level, line.message, line.fields) for line in create.logs] == [
        ("info", "accepted", {"id": "o-1", "key": "***"})
    ]

    assert (first.step, first.parent_id, first.attempt, first.outcome) == ("Ship", create.span_id, 1, "retry")
    assert (second.step, second.parent_id, second.attempt, second.outcome) == ("Ship", create.span_id, 2, "ok")
    assert first.trigger.event_id == second.trigger.event_id
    assert plain(first.input) == plain(second.input) == {"id": "o-1", "card": "***"}
    assert first.error is not None
    assert (first.error.type, first.error.message) == ("NoTruck", "none for o-1, key ***")
    assert first.error.stack.splitlines() == [
        "steps/ship.py:11 in handler: look(data)",
        """steps/ship.py:6 in look: raise NoTruck(f"none for {data['id']}, key ***")""",
    ]
    assert b"4711" not in stored


async def test_what_failed_has_no_effects_but_tells_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = """
    await ctx.state.free.get("k")
    await ctx.state.free.set("k", 2)
    await ctx.state.free.set("other", 2)
    await ctx.emit("order.created", {"id": "o-1"})
    await ctx.streams.live.set("g", "i", {"id": "i"})
    raise ValueError("no")
    """
    async with running(tmp_path, monkeypatch, go) as app:
        await app.state.set("free", "k", 1)
        [run] = await all_records(app)
    assert run.outcome == "dead"
    assert run.emits == ()
    assert [(one.op, one.key, bytes(one.before)) for one in run.state] == [("get", "k", b"1")]
    assert [(one.op, one.id) for one in run.streams] == [("set", "i")]  # at once, whatever becomes of the run
    assert plain(run.input) == {}


async def test_a_run_that_does_much_has_a_record_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = """
    for n in range(900):
        await ctx.emit("order.created", {"id": "x" * 300})
    """
    async with running(tmp_path, monkeypatch, go) as app:
        trace = await app.emit("go", {"text": "y" * 900_000})
        await app.settle()
        run = (await app.runs(trace))[0]
        sizes = [len(line) for e in await app._log.scan(SUBJECT, limit=1000) for line in e.data.splitlines()]
    assert len(run.emits) == 100
    assert run.more_effects == 800
    assert max(sizes) <= RECORD_SIZE


async def test_400_lines_cost_four_times_what_100_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = """
    for n in range(data["lines"]):
        ctx.logger.info("a line of a usual length, with some fields", number=n, customer="c-4711", total=12.5)
    """
    async with running(tmp_path, monkeypatch, go) as app:
        sizes, kept = [], []
        for lines in (100, 400, 1_000, 5_000):
            before = sum(len(entry.data) for entry in await app._log.scan(SUBJECT, limit=1000))
            trace = await app.emit("go", {"lines": lines})
            await app.settle()
            [run] = await app.runs(trace)
            kept.append((len(run.logs), run.more_logs))
            sizes.append(sum(len(entry.data) for entry in await app._log.scan(SUBJECT, limit=1000)) - before)
    assert kept == [(100, 0), (400, 0), (1_000, 0), (1_000, 4_000)]
    assert sizes[1] < 4.2 * sizes[0]
    assert sizes[1] < 100_000
    assert sizes[3] < 1.01 * sizes[2]


async def test_of_long_logs_the_beginning_and_the_end_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = """
    for n in range(900):
        ctx.logger.info(f"{n} " + "x" * 1900)
    """
    async with running(tmp_path, monkeypatch, go) as app:
        [run] = await all_records(app)
    numbers = [int(line.message.split()[0]) for line in run.logs]
    assert 50 < len(numbers) < 300
    assert len(numbers) + run.more_logs == 900
    assert (numbers[:3], numbers[-3:]) == ([0, 1, 2], [897, 898, 899])


async def test_what_is_no_json_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = """
    ctx.logger.info("half", text="\\ud800", big=10**30)
    """
    async with running(tmp_path, monkeypatch, go) as app:
        [run] = await all_records(app)
        assert run.outcome == "ok"
        assert len(run.logs) == 1
        await app.publish("go", b"no json")
        await app.settle()
        [letter] = await app.dead_letters()
        assert letter.story.topic == "go"
        answer = await app.request(
            "POST",
            "/orders/x",
            body=b'{"id": "a",\n"x": "\\u0041"}',
            headers={"content-type": "application/json", "x-odd": "\x7fé"},
        )
        assert answer.status == 201
        [create, *_] = await app.runs(answer.headers["x-trace-id"])
        assert plain(create.input) == {"id": "a", "x": "A"}


async def test_what_only_looks_like_json_is_told_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose line is no JSON could not be read by anybody."""
    spec = "name: t\nstate: {free: {}}\nsecrets: [API_KEY]\nsteps: {Take: {type: api, method: POST, path: /, uses: {state: [free]}}}\n"
    monkeypatch.setenv("API_KEY", "sk_live_4711")
    (tmp_path / "motia.yaml").write_text(spec)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "take.py").write_text(
        "async def handler(request, ctx):\n    if request.body == 'get': await ctx.state.free.get('odd')\n    return {}\n"
    )
    async with run_app(tmp_path) as app:
        for kind in ("text/plain; profile=json", "text/json", "application/jsonl"):
            for body in (b"no json", b"no json, sk_live_4711"):
                answer = await app.request("POST", "/", body=body, headers={"content-type": kind})
                assert answer.status == 200, kind
                [run] = await app.runs(answer.headers["x-trace-id"])
                assert plain(run.input) == {"$cut": body.decode().replace("sk_live_4711", "***"), "bytes": len(body)}
        await app._log.append(state_subject("free", "odd"), b"no json")  # by another program
        answer = await app.request("POST", "/", body=b"get", headers={"content-type": "text/plain"})
        assert answer.status == 500
        [run] = await app.runs(answer.headers["x-trace-id"])
        assert run.error is not None
        assert plain(run.state[0].before) == {"$cut": "no json", "bytes": 7}


async def test_with_tracing_off_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTIA_TRACING", "off")
    async with running(tmp_path, monkeypatch) as app:
        assert await all_records(app) == []
        assert await app._log.newest("run") == 0


@pytest.fixture
def redaction(tmp_path: Path) -> Redaction:
    (tmp_path / "motia.yaml").write_text(SPEC)
    return Redaction(compile_project(tmp_path, environ={}, handlers=False).require(), {"API_KEY": "sk_live_4711"})


@pytest.mark.parametrize("body", [b"", b'{"id": "a", "card": "4711"}', b"no json", b'"' + b"x" * 5000 + b'"'])
def test_a_short_record_says_what_the_full_one_says(body: bytes, redaction: Redaction) -> None:
    headers = [(b"content-type", b"application/json"), (b"cookie", b"a=b"), (b"x-odd", b"\xff")]
    request = WireRequest(None, {"shop": "x"}, {}, headers, body, "POST", "/orders/\u00e9")
    unused: Any = None
    plan = Plan("CreateOrder", unused, {})
    attempt = Attempt(unused, unused, plan, TraceContext("a" * 32, "b" * 16), request, None, None, 1, 0.0, 7.25)
    attempt.duration, attempt.outcome, attempt.status, attempt._span_id = 0.125, "ok", 201, "c" * 16
    short = attempt.record(1e9, redaction)
    assert isinstance(short, ShortRecord)
    read = read_record(msgspec.json.encode(short))
    assert read == read_record(msgspec.json.encode(attempt.in_full(1e9, redaction)))
    assert read.headers == {"content-type": "application/json", "cookie": "***", "x-odd": "\u00ff"}
    assert (read.started, read.duration, read.status, read.parent_id) == (1e9 + 7.25, 0.125, 201, "b" * 16)
    assert (read.trigger.path, b"4711" in bytes(read.input)) == ("/orders/\u00e9", False)


class Ended:
    """A run whose record has this query."""

    def __init__(self, query: dict[str, Any] | None) -> None:
        self.query = query

    def record(self, epoch: float, redaction: Redaction) -> RunRecord:
        if self.query is None:
            raise RuntimeError("there are no words for it")
        trigger = Trigger(type="api", method="GET", path="/")
        return RunRecord(
            trace_id="t", span_id="s", step="S", trigger=trigger, started=epoch, duration=1.0, outcome="ok", query=self.query
        )  # fmt: skip


async def written(log: MemoryLog) -> list[list[dict[str, Any]]]:
    """Queries of the records, by entry."""
    entries = reversed(await log.scan(SUBJECT, limit=100))
    return [[read_record(line).query for line in entry.data.splitlines()] for entry in entries]


async def test_a_run_goes_on_whose_record_cannot_be_written(
    redaction: Redaction, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog()
    writer = RecordWriter(log, redaction)
    for query in ({"n": 1}, None, {"half": "\ud800"}, {"n": 2}):
        writer.add(Ended(query))
    writer.flush()
    assert await written(log) == [[{"n": 1}, {}, {"n": 2}]]
    assert "the record of a run can't be written" in caplog.text
    assert "there are no words for it" in caplog.text


async def test_many_records_are_several_entries(redaction: Redaction) -> None:
    log = MemoryLog()
    writer = RecordWriter(log, redaction)
    text = "x" * (TOGETHER // 10)
    for n in range(25):
        writer.add(Ended({"n": n, "text": text}))
        writer.add(Ended({"key": "sk_live_4711"}))
    assert len(await written(log)) == 2, "what is more than an entry is written at once"
    writer.flush()
    entries = await written(log)
    found = [query for entry in entries for query in entry]
    assert [query["n"] for query in found if "n" in query] == list(range(25))
    assert [query for query in found if "n" not in query] == [{"key": "***"}] * 25
