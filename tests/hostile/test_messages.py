"""Every hostile message, published straight to the subject of an event beside a running app: a dead letter, parked, or handled; never in the way of
others. The one that kills its process is proven with the other kills, in tests/faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia
from motia_runtime.deadletters import DeadLetter, DeadLetters
from motia_runtime.naming import retry_subject, state_subject
from motia_runtime.ports import Log, Record
from motia_runtime.records import RunRecord, TraceStore
from support.corpus import Entry, inputs, named, raw
from support.process import AppProcess, running_app, write_project
from support.stored import publish_straight, records, with_log
from support.waiting import wait_for

TIMEOUT = 1.0  # seconds, of the step
ATTEMPTS = 2
OTHERS = 5  # ordinary events right behind the hostile one
SPEC = f"""
name: hostile-messages
policies: {{ retry: {{ twice: {{ attempts: {ATTEMPTS}, delay: 100ms, jitter: false }} }} }}
topics:
  thing:
    external: in
    schema: {{ type: object, required: [id], additionalProperties: false, properties: {{ id: {{ type: string }} }} }}
  blob: {{ external: in }}
  made: {{ external: out }}
steps:
  Work: {{ type: event, subscribes: [thing], emits: [made], timeout: {TIMEOUT:g}s, retry: twice }}
  Weigh: {{ type: event, subscribes: [blob] }}
"""
WORK = """
async def handler(data, ctx):
    if data["id"] == "hang":
        while True:
            pass
    if data["id"] == "flood":
        for n in range(10_000):
            await ctx.emit("made", {"n": n})
    await ctx.state.set("done", data["id"], 1)
"""
WEIGH = """
async def handler(data, ctx):
    await ctx.state.set("weighed", "length", len(data))
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = write_project(tmp_path_factory.mktemp("messages"), SPEC, work=WORK, weigh=WEIGH)
    with running_app(folder) as app:
        yield app


def letter(folder: Path, event_id: int) -> DeadLetter | None:
    async def find(log: Log) -> DeadLetter | None:
        letters = await DeadLetters(log).list()
        return next((found for found in letters if found.story.event_id == str(event_id)), None)

    return with_log(folder, find)


def buried(folder: Path, event_id: int) -> DeadLetter:
    wait_for(lambda: letter(folder, event_id), "no dead letter")
    found = letter(folder, event_id)
    assert found is not None
    return found


def runs(folder: Path, trace_id: str) -> list[RunRecord]:
    return with_log(folder, lambda log: TraceStore(log).runs(trace_id))


def state(folder: Path, group: str, key: str) -> Record | None:
    return with_log(folder, lambda log: log.last(state_subject(group, key)))


def send_others(app: AppProcess, entry: Entry) -> list[str]:
    names = [f"{entry['id']}-{n}" for n in range(OTHERS)]
    for name in names:
        publish_straight(app.folder, "thing", b'{"id":"%s"}' % name.encode())
    return names


def assert_handled(app: AppProcess, names: list[str]) -> None:
    for name in names:
        wait_for(partial(state, app.folder, "done", name), f"{name} was not handled")


@inputs("message", without=("MSG-006", "MSG-008"))
def test_a_hostile_message_becomes_a_dead_letter(app: AppProcess, entry: Entry) -> None:
    expect = entry["expect"]
    assert expect["goes_to"] == "DLQ"
    data, line = raw(entry), len(app.lines)
    event = publish_straight(app.folder, "thing", data)
    others = send_others(app, entry)

    found = buried(app.folder, event)

    assert found.data == data
    assert found.story.attempts == expect["attempts"]
    assert found.story.error.type == expect.get("error", "ValidationFailed")
    wait_for(lambda: len(runs(app.folder, found.story.trace_id)) == expect["attempts"], "not all runs are on record")
    for run in runs(app.folder, found.story.trace_id):
        assert run.duration <= TIMEOUT + 1
        assert not run.emits
    assert not records(app.folder, "ev.made"), "a run that fails emits nothing"
    assert_handled(app, others)
    assert "Traceback" not in "\n".join(app.lines[line:])


def test_an_event_of_a_newer_version_is_parked(app: AppProcess) -> None:
    entry = named("message", "MSG-006")
    assert entry["expect"]["goes_to"] == "parked"
    event = publish_straight(app.folder, "thing", raw(entry))
    others = send_others(app, entry)

    def waiting() -> list[Record]:
        return [r for r in records(app.folder, "sched.>", retry_subject("Work")) if r.data == raw(entry)]

    wait_for(waiting, "it is not parked")
    assert_handled(app, others)
    [parked] = waiting()
    assert parked.headers["Motia-Event"] == str(event)
    assert parked.headers["Motia-Attempt"] == "1"
    assert letter(app.folder, event) is None
    assert state(app.folder, "done", "a") is None


def test_a_message_as_large_as_the_broker_takes_is_handled_or_buried(app: AppProcess) -> None:
    entry = named("message", "MSG-008")
    assert entry["expect"]["handled_or_dlq"]
    data = raw(entry)
    event = publish_straight(app.folder, "thing", data)  # no object, as the schema wants it
    publish_straight(app.folder, "blob", data)
    others = send_others(app, entry)
    found = buried(app.folder, event)
    assert found.story.error.type == "ValidationFailed"
    assert found.data == data or found.story.data_left_out
    wait_for(lambda: state(app.folder, "weighed", "length"), "the blob was not handled")
    weighed = state(app.folder, "weighed", "length")
    assert weighed is not None
    assert int(weighed.data) == len(data) - 2  # without its quotes
    assert_handled(app, others)


UNREADABLE = {
    "nested 100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "nested 100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "not UTF-8": b'"\xff\xfe"',
    "NaN": b"NaN",
    "two values": b"{} {}",
    "a whole number of 5,000 digits": b"9" * 5_000,
    "half of a surrogate pair": b'"\\ud800"',
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_json_is_buried_at_once(app: AppProcess, data: bytes) -> None:
    """For a topic without a schema, where any JSON would do."""
    line = len(app.lines)
    event = publish_straight(app.folder, "blob", data)
    found = buried(app.folder, event)
    assert found.data == data
    assert found.story.attempts == 1
    shown = CliRunner().invoke(motia, ["-C", str(app.folder), "dlq", "ls", "--json"])
    assert shown.exit_code == 0, shown.output
    assert found.id in [listed["id"] for listed in json.loads(shown.stdout)]
    assert "Traceback" not in "\n".join(app.lines[line:])
    publish_straight(app.folder, "blob", b'"next"')
    wait_for(
        lambda: (r := state(app.folder, "weighed", "length")) is not None and r.data == b"4", "nothing more is handled"
    )
