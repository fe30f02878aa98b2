"""The index of run records: what is found, in which order, and that it can be made anew."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from motia_runtime.handler import Trigger
from motia_runtime.memory import MemoryLog
from motia_runtime.observe import store
from motia_runtime.observe.index import TraceIndex, open_index
from motia_runtime.observe.queries import BadCursor
from motia_runtime.observe.view import Filter, tree_of
from motia_runtime.records import SUBJECT, ErrorInfo, RunRecord
from motia_runtime.runlog import LogLine


def run(trace: int, span: int, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{span:016x}",
        "step": "A",
        "trigger": Trigger(type="event", topic="t", event_id=str(span)),
        "started": 1000.0 + trace,
        "duration": 0.5,
        "outcome": "ok",
    }
    return RunRecord(**{**fields, **more})


def write(log: MemoryLog, *entries: Iterable[RunRecord]) -> None:
    for records in entries:
        log.note(SUBJECT, msgspec.json.Encoder().encode_lines(list(records)))


@pytest_asyncio.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog()
    yield log
    log.close()


@pytest_asyncio.fixture(params=["words", "plain"])
async def index(
    request: pytest.FixtureRequest, log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TraceIndex]:
    if request.param == "plain":
        monkeypatch.setattr(store, "WORDS", "CREATE VIRTUAL TABLE words USING there_is_no_such_module (text)")
    async with open_index(log, tmp_path) as index:
        yield index


async def traces(index: TraceIndex, **wanted: Any) -> list[int]:
    page = await index.traces(Filter(**wanted))
    return [int(summary.trace_id, 16) for summary in page.items]


async def test_every_filter_alone_and_together(index: TraceIndex, log: MemoryLog) -> None:
    write(
        log,
        [run(1, 1), run(2, 2, step="B", outcome="dead", error=ErrorInfo("Declined", "card 4711 was declined"))],
        [run(3, 3, duration=9.0, logs=[LogLine(1.0, "info", "Order ord-5 accepted", {"customer": "Zoë"})])],
        [run(2, 4, started=1002.5)],
    )
    assert await index.catch_up() == 4
    assert await traces(index) == [3, 2, 1]
    assert await traces(index, steps=("B",)) == [2]
    assert await traces(index, steps=("A", "B")) == [3, 2, 1]
    assert await traces(index, outcomes=("dead",)) == [2]
    assert await traces(index, outcomes=("dead", "ok"), shorter=5.0) == [2, 1]
    assert await traces(index, since=1002.0, until=1003.0) == [2]
    assert await traces(index, longer=5.0) == [3]
    assert await traces(index, shorter=5.0) == [2, 1]
    assert await traces(index, text="declined card") == [2]
    assert await traces(index, text="accepted card") == []
    assert await traces(index, text="4711") == [2]
    assert await traces(index, text="CARD 4711 was decl") == [2]
    assert await traces(index, text="ord-5") == [3]
    assert await traces(index, text="zoë") == [3]
    assert await traces(index, text='"; DROP TABLE runs; --') == []
    assert await traces(index, text='* ( NEAR "') == []
    assert await traces(index, text="?!") == [3, 2, 1]  # no word to look for
    assert await traces(index, text="ord", steps=("B",)) == []
    assert await traces(index, trace=f"{2:032x}") == [2]
    assert await traces(index, trace="0000") == [3, 2, 1]
    assert await index.beginning_with("0") == [f"{n:032x}" for n in (1, 2, 3)]
    assert await index.beginning_with("1") == []


async def test_a_summary_tells_what_a_trace_has_come_to(index: TraceIndex, log: MemoryLog) -> None:
    attempts = [
        run(1, 10, step="Root", started=1.0, trigger=Trigger(type="api", method="POST", path="/orders")),
        run(
            1,
            11,
            parent_id=f"{10:016x}",
            outcome="retry",
            started=2.0,
            trigger=Trigger(type="event", event_id="7"),
            error=ErrorInfo("Busy", "come later"),
        ),
        run(1, 12, parent_id=f"{10:016x}", attempt=2, started=3.0, trigger=Trigger(type="event", event_id="7")),
    ]
    write(log, attempts[:2])
    await index.catch_up()
    [summary] = (await index.traces()).items
    assert (summary.root, summary.outcome, summary.runs, summary.steps) == ("Root", "retry", 2, ["Root", "A"])
    assert summary.error == "Busy: come later"
    tree = await index.trace(summary.trace_id)
    assert tree is not None
    assert tree.summary == summary
    write(log, attempts[2:])
    await index.catch_up()
    [summary] = (await index.traces()).items
    assert (summary.outcome, summary.error, summary.runs, summary.duration) == ("ok", "", 3, 2.5)
    tree = await index.trace(summary.trace_id)
    assert tree is not None
    assert tree.summary == summary
    assert [[child.run.attempt for child in root.children] for root in tree.roots] == [[1, 2]]
    assert tree.runs() == attempts
    assert await index.run(summary.trace_id, f"{11:016x}") == [attempts[1]]
    assert await index.run(summary.trace_id, "nothing") == []
    assert await index.trace("f" * 32) is None


async def test_an_earlier_attempt_that_is_heard_of_late_is_settled_already(index: TraceIndex, log: MemoryLog) -> None:
    event = Trigger(type="event", event_id="7")
    write(log, [run(1, 12, attempt=2, started=3.0, trigger=event)])
    await index.catch_up()
    write(log, [run(1, 11, outcome="retry", started=2.0, trigger=event)])
    await index.catch_up()
    assert [summary.outcome for summary in (await index.traces()).items] == ["ok"]


async def test_pages_leave_nothing_out_and_give_nothing_twice(index: TraceIndex, log: MemoryLog) -> None:
    write(
        log, [run(n, n, started=1000.0 + n // 3, logs=[LogLine(5.0 + n // 3, "info", f"n {n}")]) for n in range(1, 51)]
    )
    await index.catch_up()
    for ask in (index.traces, index.runs, index.logs):
        seen: list[Any] = []
        after, pages = "", 0
        while pages == 0 or after:
            page = await ask(limit=7, after=after)
            seen += [item.trace_id for item in page.items]
            after, pages = page.next, pages + 1
        assert sorted(seen) == [f"{n:032x}" for n in range(1, 51)]
        assert pages == 8
        with pytest.raises(BadCursor, match="next"):
            await ask(after="x-y-z")


async def test_runs_and_lines_of_a_step(index: TraceIndex, log: MemoryLog) -> None:
    lines = [LogLine(10.0 + n, level, f"line {n}", {"n": n}) for n, level in enumerate(("debug", "info", "error"))]
    write(log, [run(1, 1, logs=lines), run(2, 2, step="B", logs=lines[:1])])
    write(log, [run(3, 3, outcome="failed", error=ErrorInfo("Odd", "no luck"), started=5000.0)])
    await index.catch_up()
    found = await index.runs(Filter(steps=("A",)))
    assert [(item.outcome, item.error, item.lines) for item in found.items] == [
        ("failed", "Odd: no luck", 0),
        ("ok", "", 3),
    ]
    assert [item.message for item in (await index.logs(Filter(steps=("A",)))).items] == [
        "Odd: no luck", "line 2", "line 1", "line 0",
    ]  # fmt: skip
    errors = await index.logs(level="error")
    assert [(item.message, item.level, item.step) for item in errors.items] == [
        ("Odd: no luck", "error", "A"),
        ("line 2", "error", "A"),
    ]
    assert [item.message for item in (await index.logs(Filter(text="LINE 1"))).items] == ["line 1"]
    assert [item.message for item in (await index.logs(Filter(trace=f"{2:032x}"))).items] == ["line 0"]
    assert [item.message for item in (await index.logs(Filter(since=12.0, until=13.0))).items] == ["line 2"]
    newest = errors.items[0].id
    assert (await index.logs(newer_than=newest)).items == []
    assert msgspec.json.decode(errors.items[1].fields) == {"n": 2}
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        await index.logs(level="loud")


async def test_what_comes_is_told_once_it_can_be_found(index: TraceIndex, log: MemoryLog) -> None:
    write(log, [run(1, 1)])
    heard: asyncio.Queue[list[RunRecord]] = asyncio.Queue()
    stop = index.listen(lambda records: heard.put_nowait(list(records)))
    index.follow()
    async with asyncio.timeout(10):
        assert await heard.get() == [run(1, 1)]
        write(log, [run(2, 2)])
        assert await heard.get() == [run(2, 2)]
        assert await traces(index) == [2, 1]
        stop()
        write(log, [run(3, 3)])
        while len(await traces(index)) < 3:
            await asyncio.sleep(0.01)
    assert heard.empty()


async def test_it_is_kept_shared_and_made_anew(log: MemoryLog, tmp_path: Path) -> None:
    write(log, [run(1, 1)])
    async with open_index(log, tmp_path, name="x") as first, open_index(log, tmp_path, name="x") as second:
        assert await first.catch_up() == 1
        assert await second.catch_up() == 0
        write(log, [run(2, 2)])
        assert await second.catch_up() == 1
        await first.catch_up()
        assert await traces(first) == await traces(second) == [2, 1]
        assert await first.rebuild() == 2
        assert await traces(first) == [2, 1]
    [path] = (tmp_path / "index").glob("*.sqlite")
    assert path.stat().st_mode & 0o077 == 0
    async with open_index(log, tmp_path, name="x") as third:
        assert await third.catch_up() == 0
        assert await traces(third) == [2, 1]
    for damage in (b"this is no database", b""):
        path.write_bytes(damage)
        async with open_index(log, tmp_path, name="x") as again:
            assert await again.catch_up() == 2
            assert await traces(again) == [2, 1]
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    async with open_index(log, tmp_path, name="x") as newer:
        assert await newer.catch_up() == 2


async def test_of_another_stream_or_what_the_stream_has_dropped_it_keeps_nothing(
    log: MemoryLog, tmp_path: Path
) -> None:
    write(log, [run(1, 1)], [run(2, 2)], [run(3, 3), run(2, 4)])
    async with open_index(log, tmp_path) as index:
        await index.catch_up()
        await log.delete("run", 1)
        await log.delete("run", 2)
        await index.catch_up()
        assert await traces(index) == [3, 2]  # part of 2 is there
        tree = await index.trace(f"{2:032x}")
        assert tree is not None
        assert tree.runs() == [run(2, 4)]
    other = MemoryLog()
    write(other, [run(8, 8)], [run(9, 9)], [run(7, 7)])
    async with open_index(other, tmp_path) as index:
        assert await index.catch_up() == 3
        assert await traces(index) == [9, 8, 7]
    other.close()
    empty = MemoryLog()
    async with open_index(empty, tmp_path) as index:
        assert await index.catch_up() == 0
        assert await traces(index) == []
    empty.close()


async def test_a_record_that_nobody_can_read_hides_no_other(index: TraceIndex, log: MemoryLog) -> None:
    line = msgspec.json.encode(run(1, 1))
    log.note(SUBJECT, b"{}\n\nnonsense\n" + line + b"\n")
    log.note(SUBJECT, b"\xff")
    log.note(SUBJECT, line.replace(b'"span_id":"0', b'"span_id":"1'))
    assert await index.catch_up() == 2
    tree = await index.trace(f"{1:032x}")
    assert tree is not None
    assert len(tree.runs()) == 2


def test_a_tree_has_every_run_once_whatever_the_parents() -> None:
    runs = [
        run(1, 1, parent_id=f"{2:016x}", started=1.0),
        run(1, 2, parent_id=f"{1:016x}", started=2.0),
        run(1, 3, parent_id=f"{3:016x}", started=3.0),
        run(1, 4, parent_id=f"{5:016x}", started=4.0),  # the clock of its parent's machine is ahead
        run(1, 5, started=5.0),
        *(run(1, 10 + n, parent_id=f"{9 + n:016x}", started=10.0 + n) for n in range(3000)),
    ]
    seen: list[str] = []
    waiting = tree_of(reversed(runs))
    roots = [node.run.span_id for node in waiting]
    while waiting:
        node = waiting.pop()
        seen.append(node.run.span_id)
        waiting += node.children
    assert sorted(seen) == sorted(run.span_id for run in runs)
    assert f"{4:016x}" not in roots
    assert f"{3:016x}" in roots
