"""`motia replay`: a real app on a real server; the commands run in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
motia: "1"
name: again
topics:
  order: { schema: { type: object, required: [id], properties: { id: { type: string } } } }
  paid: {}
state: { seen: {} }
steps:
  Put: { type: api, method: POST, path: /orders, emits: [order] }
  Pay: { type: event, subscribes: [order], emits: [paid] }
  Note: { type: event, subscribes: [order, paid], uses: { state: [seen] } }
"""
PUT = """
async def handler(request, ctx):
    await ctx.emit("order", request.body)
    return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
PAY = """
async def handler(data, ctx):
    await ctx.emit("paid", data)
"""
NOTE = """
async def handler(data, ctx):
    await ctx.state.seen.update(data["id"], lambda n: (n or 0) + 1)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = write_project(tmp_path_factory.mktemp("again"), SPEC, put=PUT, pay=PAY, note=NOTE)
    with running_app(folder) as running:
        yield folder, running.url


def run(app: tuple[Path, str], *args: str, input: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(root, ["-C", str(app[0]), *args], input=input, env=env)


def ok(app: tuple[Path, str], *args: str, **more: Any) -> str:
    done = run(app, *args, **more)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def seen(app: tuple[Path, str], id: str) -> int:
    return int(json.loads(ok(app, "state", "ls", "seen", "--json")).get(id, 0))


def runs(app: tuple[Path, str], trace: str) -> list[dict[str, Any]]:
    shown = run(app, "trace", "show", trace, "--json")
    return json.loads(shown.stdout) if shown.exit_code == 0 else []


def emitted(app: tuple[Path, str], id: str) -> str:
    """The trace of an order, once all of it has happened."""
    before = seen(app, id)
    trace = ok(app, "emit", "order", json.dumps({"id": id})).strip()
    wait_for(lambda: seen(app, id) == before + 2 and len(runs(app, trace)) == 3, "it was not handled")
    return trace


def test_a_trace_and_one_event_of_it(app):
    trace = emitted(app, "a")
    new = ok(app, "replay", trace).strip()
    wait_for(lambda: len(runs(app, new)) == 3, "it was not replayed")
    assert seen(app, "a") == 4
    assert f"replay of {trace}" in ok(app, "trace", "show", new)
    assert "replay of" not in ok(app, "trace", "show", trace)

    event = str(next(each["trigger"]["event_id"] for each in runs(app, trace) if each["step"] == "Pay"))
    told = json.loads(ok(app, "replay", "--event", event, "--step", "Note", "--json"))
    (done,) = told["replayed"]
    wait_for(lambda: seen(app, "a") == 5, "it was not replayed")
    wait_for(lambda: [each["step"] for each in runs(app, done["trace_id"])] == ["Note"], "it has no record")
    again = json.loads(ok(app, "replay", "--event", event, "--step", "Note", "--json", "--id", told["id"]))
    assert again["replayed"] == [{"event": int(event), "trace_id": None}]


def test_edited_by_an_editor_a_file_or_stdin_and_validated_first(app, tmp_path):
    trace = emitted(app, "b")
    event = str(next(each["trigger"]["event_id"] for each in runs(app, trace) if each["step"] == "Pay"))
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "p = pathlib.Path(sys.argv[1])\n"
        "p.write_text(p.read_text().replace('\"b\"', '\"edited\"') + ' ')\n"
        "import os; os.utime(p, (2_000_000_000, 2_000_000_000))\n"
    )
    env = {"EDITOR": f"{sys.executable} {editor}", "VISUAL": ""}
    ok(app, "replay", "--event", event, "--edit", env=env)
    wait_for(lambda: seen(app, "edited") == 2, "it was not replayed")
    unsaved = run(app, "replay", "--event", event, "--edit", env={"EDITOR": "true", "VISUAL": ""})
    assert (unsaved.exit_code, "nothing was saved" in unsaved.stderr) == (1, True)
    ok(app, "replay", "--event", event, "--edit", "-", input='{"id": "stdin"}')
    wait_for(lambda: seen(app, "stdin") == 2, "it was not replayed")
    unfit = run(app, "replay", "--event", event, "--edit", "-", input='{"no": 1}')
    assert (unfit.exit_code, "id" in unfit.stderr, unfit.stdout) == (1, True, "")
    assert run(app, "replay", "--event", event, "--edit", "-", input="{").exit_code == 2
    assert run(app, "replay", trace, "--edit", "-", input="{}").exit_code == 2
    assert seen(app, "b") == 2


def test_of_a_request_the_events_and_it_says_so(app):
    trace = httpx.post(app[1] + "/orders", json={"id": "c"}).json()["trace"]
    wait_for(lambda: seen(app, "c") == 2 and len(runs(app, trace)) == 4, "it was not handled")
    done = run(app, "replay", trace)
    assert "POST /orders" in done.stderr
    assert "not stored" in done.stderr
    wait_for(lambda: seen(app, "c") == 4, "it was not replayed")
    wait_for(lambda: len(runs(app, done.stdout.strip())) == 3, "its runs have no records")


def test_of_a_topic_after_a_question(app):
    for _ in range(2):
        emitted(app, "d")
    which = ("replay", "--topic", "order", "--since", "1h")
    listed = json.loads(ok(app, *which, "--dry-run", "--json"))
    assert [each["data"]["id"] for each in listed][-2:] == ["d", "d"]
    assert [each["id"] for each in listed] == sorted(each["id"] for each in listed)
    assert str(listed[-1]["id"]) in ok(app, *which, "--dry-run")
    assert ok(app, "replay", "--topic", "order", "--until", "1h", "--dry-run", "--json").strip() == "[]"
    refused = run(app, *which, input="n\n")
    assert refused.exit_code != 0
    assert f"Replay {len(listed)} events?" in refused.stderr
    assert seen(app, "d") == 4
    told = json.loads(ok(app, *which, "--step", "Note", "--yes", "--json"))
    assert [each["event"] for each in told["replayed"]] == [each["id"] for each in listed]
    wait_for(lambda: seen(app, "d") == 6, "they were not replayed")
    again = run(app, *which, "--step", "Note", "--yes", "--id", told["id"])
    assert (again.stdout, f"replayed: 0, before: {len(listed)}" in again.stderr) == ("", True)
    whole = json.loads(ok(app, *which, "--yes", "--json"))
    assert len(whole["replayed"]) == len(listed)
    once_more = json.loads(ok(app, *which, "--yes", "--json", "--id", whole["id"]))  # its own events are not among them
    assert [each["event"] for each in once_more["replayed"]] == [each["id"] for each in listed]
    assert {each["trace_id"] for each in once_more["replayed"]} == {None}


def test_what_does_not_fit_its_topic_any_more_is_refused_with_all_others(app):
    emitted(app, "e")
    spec = app[0] / "motia.yaml"
    old = spec.read_text()
    try:
        spec.write_text(old.replace("required: [id]", "required: [id, total]"))
        refused = run(app, "replay", "--topic", "order", "--yes")
        assert (refused.exit_code, "nothing is replayed" in refused.stderr, "total" in refused.stderr) == (
            1,
            True,
            True,
        )
    finally:
        spec.write_text(old)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "name what to replay"),
        (["abcd", "--topic", "order"], 2, "name what to replay"),
        (["nonsense"], 2, "no trace id"),
        (["abcd" * 8], 1, "no event of trace"),
        (["--event", "99999"], 1, "no event 99999"),
        (["--topic", "ordr"], 2, "did you mean 'order'?"),
        (["--topic", "paid", "--step", "Pay"], 2, "does not subscribe to 'paid', but to order"),
        (["--topic", "paid", "--step", "Put"], 2, "subscribes to no topic"),
        (["--topic", "paid", "--since", "soon"], 2, "neither a duration"),
        (["abcd", "--since", "1h"], 2, "go with --topic"),
        (["--topic", "paid", "--id", "7"], 2, "no id of a replay"),
    ],
)
def test_what_is_refused(app, args, code, words):
    done = run(app, "replay", *args)
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
