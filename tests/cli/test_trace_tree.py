"""The tree of `motia trace show`, tables and JSON arguments: functions of values, without a broker."""

from __future__ import annotations

from typing import Any

import click
import pytest

from motia_runtime.cli.console import seconds, table
from motia_runtime.cli.jsonarg import read_json
from motia_runtime.cli.trace import tree
from motia_runtime.handler import Trigger
from motia_runtime.records import ErrorInfo, RunRecord, StateInfo
from motia_runtime.runlog import LogLine


def run(span: str, parent: str, step: str, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "trigger": Trigger(type="event", topic="t"), "started": 1.0, "duration": 0.01, "outcome": "ok", **more,
    }  # fmt: skip
    return RunRecord(trace_id="a" * 32, span_id=span, parent_id=parent, step=step, **fields)


def test_a_tree_hangs_runs_below_the_run_that_emitted() -> None:
    runs = [
        run("1", "", "Create", trigger=Trigger(type="api", method="POST", path="/orders"), status=201),
        run("2", "1", "Charge", outcome="retry", error=ErrorInfo("Busy", "try\nlater")),
        run("3", "1", "Charge", attempt=2, duration=1.5, queued=2.0, state=[StateInfo("set", "orders", "o-1")]),
        run("4", "3", "Notify"),
    ]
    assert list(tree(runs)) == [
        "Create  POST /orders  ok  201  10.0 ms",
        "├─ Charge  t  retry  10.0 ms  attempt 1",
        "│     Busy: try later",
        "└─ Charge  t  ok  1.50 s  attempt 2  waited 2.00 s",
        "   │  set orders/o-1",
        "   └─ Notify  t  ok  10.0 ms",
    ]


def test_logs_on_request() -> None:
    lines = list(tree([run("1", "", "A", logs=[LogLine(1.0, "info", "hi\x1b[2J", {"n": 1})], more_logs=2)], logs=True))
    assert lines[1:] == ["   info: hi\\x1b[2J  n=1", "   2 more lines were logged"]


def test_runs_that_name_each_other_as_parents_are_drawn_once() -> None:
    lines = list(tree([run("1", "2", "A"), run("2", "1", "B"), run("3", "3", "C")]))
    assert sorted(line.lstrip("└─ ").split()[0] for line in lines) == ["A", "B", "C"]


def test_a_run_whose_parent_is_unknown_is_a_root() -> None:
    assert list(tree([run("2", "http-caller", "A")])) == ["A  t  ok  10.0 ms"]


def test_tables_align_wide_and_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    table(("KEY", "VALUE"), [("日本", "1"), ("a\x1b[2J", "two\nlines"), ("long", "x" * 200)], empty="nothing")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "KEY       VALUE"
    assert lines[1] == "日本      1"
    assert lines[2] == "a\\x1b[2J  two lines"
    assert lines[3].endswith("…")
    table(("KEY",), [], empty="nothing")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing\n")


@pytest.mark.parametrize(("value", "text"), [(0.0032, "3.2 ms"), (1.25, "1.25 s"), (125, "2 m 05 s")])
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize("text", ["hello", "{", "", "[1,", "NaN", "[" * 100_000])
def test_what_is_not_json_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.UsageError, match="not JSON"):
        read_json(text)


def test_json_arguments() -> None:
    assert read_json('{"a": [1, null]}') == {"a": [1, None]}
