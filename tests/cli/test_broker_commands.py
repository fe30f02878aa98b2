"""Commands that talk to the broker, of a running app and alone: state, emit, trace, dlq, plan. A real app, real NATS; the commands run in this
process, but where the process matters."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import motia, running_app, write_project

SPEC = """
motia: "1"
name: look
schemas:
  Order:
    type: object
    required: [id]
    properties: { id: { type: string, minLength: 1 }, paid: { type: boolean } }
topics:
  order: { schema: { $ref: "#/schemas/Order" }, external: in }
state:
  orders: { schema: { $ref: "#/schemas/Order" } }
steps:
  Pay: { type: event, subscribes: [order], retry: { attempts: 2, delay: 50ms }, uses: { state: [orders] } }
"""
PAY = """
from pathlib import Path

async def handler(data, ctx):
    if data["id"] == "bad" and not Path("mended").exists():
        raise ValueError("no such card")
    ctx.logger.info("paid", id=data["id"])
    await ctx.state.set("orders", data["id"], {"id": data["id"], "paid": True})
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_project(tmp_path_factory.mktemp("look"), SPEC, pay=PAY)
    with running_app(folder):
        yield folder


def run(folder: Path, *args: str, input: str | None = None) -> Result:
    return CliRunner().invoke(root, ["-C", str(folder), *args], input=input)


def ok(folder: Path, *args: str, input: str | None = None) -> str:
    done = run(folder, *args, input=input)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def until(look: Callable[[], Any], timeout: float = 30.0) -> Any:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing within the time"
    return found


def test_state_is_written_read_listed_and_deleted(app: Path) -> None:
    ok(app, "state", "set", "orders", "o/1 ä", '{"id": "o-1"}')
    ok(app, "state", "set", "orders", "o-2", "-", input='{"id": "o-2"}')
    assert json.loads(ok(app, "state", "get", "orders", "o/1 ä")) == {"id": "o-1"}
    listed = json.loads(ok(app, "state", "ls", "orders", "--json"))
    assert listed["o/1 ä"] == {"id": "o-1"}
    assert "o-2" in ok(app, "state", "ls", "orders")
    groups = json.loads(ok(app, "state", "ls", "--json"))
    assert [g["keys"] for g in groups if g["group"] == "orders"] == [len(listed)]
    ok(app, "state", "rm", "orders", "o/1 ä", "o-2")
    assert ok(app, "state", "get", "orders", "o-2", "--json") == "null\n"


def test_state_says_what_is_wrong(app: Path) -> None:
    missing = run(app, "state", "get", "orders", "nope")
    assert (missing.exit_code, missing.stderr) == (1, "error: no value in orders/nope\n")
    unfit = run(app, "state", "set", "orders", "x", '{"id": ""}')
    assert unfit.exit_code == 1
    assert unfit.stderr.startswith("error: ")
    assert "/id" in unfit.stderr
    assert run(app, "state", "set", "orders", "x", "nonsense").exit_code == 2
    assert run(app, "state", "rm", "orders", "nope").exit_code == 1
    assert run(app, "state", "rm", "orders").exit_code == 2
    key = run(app, "state", "get", "orders", "")
    assert key.exit_code == 1
    assert "1 to 512" in key.stderr


def test_a_group_that_is_not_declared_holds_any_json(app: Path) -> None:
    ok(app, "state", "set", "loose", "k", "[1, null]")
    assert ok(app, "state", "get", "loose", "k", "--json") == "[1,null]\n"
    ok(app, "state", "rm", "loose", "--all")
    assert ok(app, "state", "ls", "loose", "--json") == "{}\n"


def test_an_emitted_event_is_handled_and_its_trace_shown(app: Path) -> None:
    trace_id = ok(app, "emit", "order", '{"id": "t-1"}').strip()
    runs = until(lambda: [r for r in _runs(app, trace_id) if r["outcome"] == "ok"])
    assert [r["step"] for r in runs] == ["Pay"]
    shown = ok(app, "trace", "show", trace_id[:12], "--logs")
    assert "Pay  order  ok" in shown
    assert "set orders/t-1" in shown
    assert "info: paid  id=t-1" in shown
    listed = json.loads(ok(app, "trace", "ls", "--json"))
    assert trace_id in [t["trace_id"] for t in listed]
    assert trace_id in ok(app, "trace", "ls", "--step", "Pay")


def _runs(app: Path, trace_id: str) -> list[dict[str, Any]]:
    done = run(app, "trace", "show", trace_id, "--json")
    return json.loads(done.stdout) if done.exit_code == 0 else []


def test_emit_says_what_is_wrong(app: Path) -> None:
    topic = run(app, "emit", "ordr", "{}")
    assert topic.exit_code == 2
    assert "did you mean 'order'?" in topic.stderr
    unfit = run(app, "emit", "order", "{}")
    assert unfit.exit_code == 1
    assert "id" in unfit.stderr
    assert run(app, "trace", "show", "0" * 32).exit_code == 1
    assert run(app, "dlq", "ls", "--step", "Pya").exit_code == 2


def test_dead_letters_are_listed_shown_redriven_and_purged(app: Path) -> None:
    ok(app, "emit", "order", "-", input='{"id": "bad"}')
    (letter,) = until(lambda: json.loads(ok(app, "dlq", "ls", "--json", "--step", "Pay")))
    assert letter["step"] == "Pay"
    assert letter["topic"] == "order"
    assert letter["attempts"] == 2
    assert letter["error"]["type"] == "ValueError"
    assert letter["data"] == {"id": "bad"}
    number = str(letter["id"])
    assert "ValueError: no such card" in ok(app, "dlq", "ls")
    shown = ok(app, "dlq", "show", number)
    assert "no such card" in shown
    assert '{"id":"bad"}' in shown
    assert json.loads(ok(app, "dlq", "show", number, "--json")) == letter
    assert run(app, "dlq", "show", "999999").exit_code == 1
    assert run(app, "dlq", "purge").exit_code == 2

    (app / "mended").touch()
    assert run(app, "dlq", "redrive", number).stderr == "redriven: 1\n"
    again = run(app, "dlq", "redrive", number)  # as who was interrupted does
    assert (again.exit_code, again.stderr) == (0, "redriven: 0\n")
    assert run(app, "dlq", "purge", number).exit_code == 1
    assert json.loads(ok(app, "dlq", "ls", "--json")) == []
    until(lambda: json.loads(ok(app, "state", "get", "orders", "bad", "--json")))

    (app / "mended").unlink()
    ok(app, "emit", "order", '{"id": "bad"}')
    until(lambda: json.loads(ok(app, "dlq", "ls", "--json")))
    assert "purged: 1" in run(app, "dlq", "purge", "--all").stderr
    assert json.loads(ok(app, "dlq", "ls", "--json")) == []


def test_dead_letters_are_chosen_by_filters_and_keep_their_history(app: Path) -> None:
    ok(app, "emit", "order", '{"id": "bad"}')
    (letter,) = until(lambda: json.loads(ok(app, "dlq", "ls", "--json")))
    for nobody in (
        ("--error", "KeyError"),
        ("--until", "1h"),
        ("--since", "2100-01-01"),
        ("--since", "2h", "--until", "1h"),
    ):
        assert json.loads(ok(app, "dlq", "ls", "--json", *nobody)) == []
        assert "redriven: 0" in run(app, "dlq", "redrive", *nobody).stderr
        assert "purged: 0" in run(app, "dlq", "purge", *nobody).stderr
    meant = ("--step", "Pay", "--topic", "order", "--error", "ValueError", "--since", "1h")
    assert json.loads(ok(app, "dlq", "ls", "--json", *meant)) == [letter]
    for command in ("redrive", "purge"):
        done = run(app, "dlq", command, "--dry-run", *meant)
        assert f"would be {command.rstrip('e')}" in done.stderr.replace("redriven", "redriv")
        assert str(letter["id"]) in done.stdout
        for wrong in (
            ("--all", "17"),
            ("17", "--step", "Pay"),
            ("--since", "soon"),
            ("--since", "1h", "--until", "2h"),
        ):
            assert run(app, "dlq", command, *wrong).exit_code == 2
    assert "did you mean 'order'?" in run(app, "dlq", "ls", "--topic", "ordr").stderr
    assert json.loads(ok(app, "dlq", "ls", "--json")) == [letter]

    assert "redriven: 1" in run(app, "dlq", "redrive", *meant).stderr
    (again,) = until(lambda: json.loads(ok(app, "dlq", "ls", "--json")))
    assert again["redrives"] == 1
    (past,) = again["history"]
    assert (past["attempts"], past["failed_at"]) == (2, letter["failed_at"])
    assert past["error"] == {"type": "ValueError", "message": "no such card"}
    shown = ok(app, "dlq", "show", str(again["id"]))
    assert "round 1" in shown
    assert "2 attempts: ValueError: no such card" in shown
    assert "purged: 1" in run(app, "dlq", "purge", "--step", "Pay").stderr


def test_plan_of_a_running_app_is_empty(app: Path) -> None:
    assert json.loads(ok(app, "plan", "--json")) == []


def test_without_a_running_app_a_server_is_started_for_the_moment(tmp_path: Path) -> None:
    folder = write_project(tmp_path, SPEC, pay=PAY)
    planned = [d["action"] for d in json.loads(ok(folder, "plan", "--json"))]
    assert set(planned) == {"create"}
    ok(folder, "state", "set", "orders", "o-1", '{"id": "o-1"}')
    assert json.loads(ok(folder, "state", "get", "orders", "o-1", "--json")) == {"id": "o-1"}


def test_a_broker_that_is_not_there_is_one_line_without_its_password(tmp_path: Path) -> None:
    """Two at once: each gives up after ten seconds."""
    folder = write_project(tmp_path, SPEC, pay=PAY)
    url = "nats://me:hunter2@127.0.0.1:1"
    with ThreadPoolExecutor() as pool:
        look = pool.submit(motia, folder, "state", "ls", env={"NATS_URL": url})
        start = pool.submit(motia, folder, "start", "--nats", url, "--port", "0")
    for done in (look.result(), start.result()):
        assert done.returncode == 1
        assert "hunter2" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    (line,) = look.result().stderr.splitlines()
    assert line.startswith("error: no connection to NATS at nats://***@127.0.0.1:1")
