"""Commands with `--url`: by the HTTP API of a running app, the same as by its broker. A real app, real HTTP; the commands run in this process."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.reach.http import NO_PATH
from motia_runtime.cli.reach.url import parse_url
from motia_runtime.cli.root import COMMANDS
from motia_runtime.cli.root import motia as root
from support.process import AppProcess, clean_environ, running_app, write_project
from support.proxy import forward, served
from support.secured import certify
from support.waiting import wait_for

TOKEN = "correct-horse-battery"
SPEC = """
motia: "1"
name: far
schemas:
  Order: { type: object, required: [id], properties: { id: { type: string, minLength: 1 }, paid: { type: boolean } } }
topics:
  order: { schema: { $ref: "#/schemas/Order" } }
  review: {}
  decided: {}
  later: {}
state:
  orders: { schema: { $ref: "#/schemas/Order" } }
flows: { shop: { steps: [Create, Pay] } }
steps:
  Create: { type: api, method: POST, path: /orders, emits: [order] }
  Pay: { type: event, subscribes: [order], retry: { attempts: 2, delay: 50ms }, emits: [later], uses: { state: [orders] } }
  Note: { type: event, subscribes: [later] }
  Review: { type: noop, subscribes: [review], emits: [decided], manual: { input: { type: object, required: [ok] } } }
  Decided: { type: event, subscribes: [decided] }
  Nightly: { type: cron, cron: "0 3 1 1 *" }
"""
CREATE = """
async def handler(request, ctx):
    await ctx.emit("order", request.body)
    return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
PAY = """
import asyncio
from pathlib import Path

async def handler(data, ctx):
    ctx.logger.info("paying", id=data["id"])
    if data["id"] == "bad":
        raise ValueError("no such card")
    while data["id"] == "held" and not Path("go").exists():
        await asyncio.sleep(0.01)
    await ctx.state.set("orders", data["id"], {"id": data["id"], "paid": True})
    if data["id"] == "slow":
        await ctx.emit("later", data, delay=3600)
"""
NOTHING = """
async def handler(data, ctx):
    pass
"""

TICK = """
async def handler(ctx):
    pass
"""


class Far:
    """The app, and how to ask it. `empty`: a folder without a project, from which it is asked over HTTP."""

    def __init__(self, app: AppProcess, empty: Path) -> None:
        self.app = app
        self.empty = empty

    def near(self, *args: str, input: str | None = None) -> Result:
        """By the broker."""
        return CliRunner().invoke(root, ["-C", str(self.app.folder), *args], input=input)

    def far(self, *args: str, url: str | None = None, token: str = TOKEN, input: str | None = None) -> Result:
        """By HTTP, from nowhere."""
        env = {"MOTIA_URL": url or self.app.url, "MOTIA_TOKEN": token}
        return CliRunner().invoke(root, ["-C", str(self.empty), *args], input=input, env=env)

    def told(self, *args: str, input: str | None = None) -> Any:
        done = self.far(*args, "--json", input=input)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    def order(self, id: str) -> str:
        return str(httpx.post(self.app.url + "/orders", json={"id": id}).json()["trace"])

    def runs(self, trace: str) -> list[tuple[str, str]]:
        done = self.far("trace", "show", trace, "--json")
        return [(run["step"], run["outcome"]) for run in json.loads(done.stdout)] if done.exit_code == 0 else []


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    handlers = {"create": CREATE, "pay": PAY, "note": NOTHING, "decided": NOTHING, "nightly": TICK}
    folder = write_project(tmp_path_factory.mktemp("far"), SPEC, **handlers)
    with running_app(folder, "start", "--workbench", env={"MOTIA_ADMIN_TOKEN": TOKEN}) as app:
        yield Far(app, tmp_path_factory.mktemp("nowhere"))


@pytest.fixture(scope="module")
def happened(far: Far) -> dict[str, str]:
    """Something of everything; the ids that it has."""
    ids = {name: far.order(name) for name in ("good", "bad", "slow")}
    far.told("emit", "review", '{"id": "r-1", "note": "ä/ö"}')
    wait_for(lambda: far.runs(ids["good"]) == [("Create", "ok"), ("Pay", "ok")], "not paid")
    wait_for(lambda: far.runs(ids["bad"])[1:] == [("Pay", "retry"), ("Pay", "dead")], "not dead")
    wait_for(lambda: far.runs(ids["slow"])[1:] == [("Pay", "ok")], "not put off")
    wait_for(lambda: len(far.told("tasks", "ls")) == 1, "no task")
    (task,) = far.told("tasks", "ls")
    (letter,) = far.told("dlq", "ls")
    return {**ids, "task": task["id"], "letter": str(letter["id"])}


READING = [
    "trace ls", "trace ls --json", "trace ls --json --limit 1", "trace ls --step Pay --status dead", "trace ls --flow shop --json", "trace ls --text good --longer 1h",
    "trace ls --since 1h --json", "trace ls --step Pya", "trace ls --flow shpo",
    "trace show {good}", "trace show {bad} --full", "trace show {bad} --json", "trace show {slow} --logs", "trace show 0123456789", "trace show xyz", f"trace show {'0' * 32}",
    "logs", "logs --json", "logs --level error", "logs -n 1", "logs -n 0", "logs --trace {bad} --step Pay --text card", "logs --until 1h",
    "state ls", "state ls --json", "state ls orders", "state ls orders --json", "state get orders good", "state get orders none", "state get orders none --json",
    "dlq ls", "dlq ls --json", "dlq ls --error KeyError", "dlq ls --step Pay --topic order --since 1h --json", "dlq ls --topic ordr", "dlq show {letter}", "dlq show {letter} --json",
    "dlq show 999999", "dlq redrive --all --dry-run", "dlq purge", "dlq purge 999999",
    "delayed ls", "delayed ls --json", "delayed ls --topic order", "delayed cancel nonsense", "delayed cancel emit.later.nobody",
    "tasks ls", "tasks ls --json", "tasks ls --step Review", "tasks show Review {task}", "tasks show Review {task} --json", "tasks show Review none", "tasks show Pya x",
    "steps ls", "steps ls --json", "resume Note", "pause Nto",
    "replay {good} --dry-run", "replay --topic order --dry-run --json", "replay --topic order --until 1h --dry-run", "replay --event 999999", "replay --topic ordr", "replay --topic later --step Pay",
    "run Pay 7", "run Create {}", "run Pay", "run Pya", "run Review {}", "run Nightly 1", "run Pay {} --source later",
    "emit ordr {}", "emit order 7",
]  # fmt: skip


@pytest.mark.parametrize("line", READING)
def test_both_ways_tell_the_same(far: Far, happened: dict[str, str], line: str) -> None:
    args = [re.sub(r"\{(\w+)\}", lambda found: happened[found[1]], word) for word in line.split()]
    near, distant = far.near(*args), far.far(*args)
    assert (distant.exit_code, distant.stdout, distant.stderr) == (near.exit_code, near.stdout, near.stderr)


def test_state_is_changed(far: Far) -> None:
    assert far.far("state", "set", "orders", "o/1 ä", '{"id": "o-1"}').exit_code == 0
    assert far.far("state", "set", "orders", "o/1 ä", "-", input='{"id": "o-2"}').exit_code == 0
    assert far.near("state", "get", "orders", "o/1 ä").stdout == '{"id":"o-2"}\n'
    unfit = far.far("state", "set", "orders", "o-3", '{"id": ""}')
    assert (unfit.exit_code, unfit.stderr) == (1, far.near("state", "set", "orders", "o-3", '{"id": ""}').stderr)
    for args in (("orders", "o/1 ä"), ("orders", "o/1 ä")):
        done = far.far("state", "rm", *args)
    assert (done.exit_code, done.stderr) == (1, "error: no value in orders/o/1 ä\n")
    for number in range(12):
        far.far("state", "set", "loose", f"k{number:02}", str(number))
    url = f"{far.app.url}/__workbench/api/state/loose"
    headers = {"X-Motia-Workbench": "1", "Authorization": f"Bearer {TOKEN}"}
    page = httpx.get(url, params={"values": 1, "limit": 5, "after": "k01"}, headers=headers).json()
    assert page["keys"][0] == {"key": "k02", "value": 2}
    assert (len(page["keys"]), page["next"]) == (5, "k06")
    assert far.told("state", "ls", "loose") == {f"k{number:02}": number for number in range(12)}
    assert far.far("state", "rm", "loose", "--all").exit_code == 0
    assert far.told("state", "ls", "loose") == {}


def test_events_are_emitted_paused_redriven_purged_and_replayed(far: Far) -> None:
    assert "Note is paused until it is resumed" in far.far("pause", "Note").stderr
    assert far.far("pause", "Note", "--for", "10m").exit_code == 0
    trace = far.told("emit", "later", '"held"')["trace_id"]
    wait_for(lambda: {s["step"]: s for s in far.told("steps", "ls")}["Note"]["waiting"] == 1, "it does not wait")
    assert far.far("resume", "Note").stderr == "Note goes on\n"
    wait_for(lambda: far.runs(trace) == [("Note", "ok")], "it was not handled")
    unpausable = far.far("pause", "Create")
    assert (unpausable.exit_code, "only event and cron steps" in unpausable.stderr) == (1, True)

    unfit = far.far("emit", "order", '{"id": ""}')
    assert (unfit.exit_code, unfit.stderr) == (1, far.near("emit", "order", '{"id": ""}').stderr)
    emitted = far.far("emit", "order", '{"id": "bad"}').stdout.strip()
    wait_for(lambda: any(each["trace_id"] == emitted for each in far.told("dlq", "ls")), "no letter")
    (letter,) = [each for each in far.told("dlq", "ls") if each["trace_id"] == emitted]
    assert far.far("dlq", "redrive", str(letter["id"])).stderr == "redriven: 1\n"
    assert far.far("dlq", "redrive", str(letter["id"])).stderr == "redriven: 0\n"
    assert far.far("dlq", "redrive", str(letter["id"]), "999999").exit_code == 1
    wait_for(lambda: any(each.get("redrives") for each in far.told("dlq", "ls")), "no second letter")
    (again,) = [each for each in far.told("dlq", "ls") if each.get("redrives")]
    assert far.far("dlq", "purge", str(again["id"])).stderr == "purged: 1\n"
    assert again["id"] not in [each["id"] for each in far.told("dlq", "ls")]

    good = far.far("emit", "order", '{"id": "again"}').stdout.strip()
    wait_for(lambda: far.runs(good) == [("Pay", "ok")], "not paid")
    (event,) = far.told("replay", good[:16], "--dry-run")
    new = far.far("replay", good[:16]).stdout.strip()
    wait_for(lambda: far.runs(new) == [("Pay", "ok")], "not replayed")
    edited = far.far("replay", "--event", str(event["id"]), "--edit", "-", input='{"id": "edited"}')
    wait_for(lambda: far.far("state", "get", "orders", "edited").exit_code == 0, edited.stderr)
    for args in (["--event", str(event["id"]), "--edit", "-"],):
        near, distant = (ask("replay", *args, input='{"no": 1}') for ask in (far.near, far.far))
        assert (distant.exit_code, distant.stderr) == (near.exit_code, near.stderr) == (1, near.stderr)
    told = far.told("replay", "--topic", "later", "--step", "Note", "--yes")
    once_more = far.told("replay", "--topic", "later", "--step", "Note", "--yes", "--id", told["id"])
    assert [each["event"] for each in once_more["replayed"]] == [each["event"] for each in told["replayed"]]
    assert {each["trace_id"] for each in once_more["replayed"]} == {None}


def test_runs_are_shown_once_they_have_ended(far: Far) -> None:
    trace = far.order("held")
    wait_for(lambda: far.runs(trace) == [("Create", "ok")], "no record of the request")
    wait_for(lambda: {s["step"]: s for s in far.told("steps", "ls")}["Pay"]["in_flight"] == 1, "it does not run")
    near, distant = (ask("trace", "show", trace) for ask in (far.near, far.far))
    assert distant.stdout == near.stdout
    (far.app.folder / "go").touch()
    wait_for(lambda: far.runs(trace) == [("Create", "ok"), ("Pay", "ok")], "it has not ended")


@pytest.mark.parametrize("how", ["near", "far"])
def test_a_step_is_run_by_itself(far: Far, how: str) -> None:
    ask = getattr(far, how)
    given = ask("run", "Pay", json.dumps({"id": how}))
    assert given.exit_code == 0, given.stderr
    wait_for(lambda: far.runs(given.stdout.strip()) == [("Pay", "ok")], "it did not run")
    assert far.told("state", "get", "orders", how) == {"id": how, "paid": True}
    tick = json.loads(ask("run", "Nightly", "--json").stdout)["trace_id"]
    wait_for(lambda: far.runs(tick) == [("Nightly", "ok")], "it did not run")


def test_a_request_says_that_it_is_not_stored(far: Far, happened: dict[str, str]) -> None:
    near, distant = (ask("replay", happened["good"], "--dry-run") for ask in (far.near, far.far))
    assert "POST /orders" in distant.stderr
    assert distant.stderr == near.stderr


def test_tasks_are_completed_and_what_waits_is_cancelled(far: Far) -> None:
    trace = far.told("emit", "review", '{"id": "r-2"}')["trace_id"]
    wait_for(lambda: any(each["trace_id"] == trace for each in far.told("tasks", "ls")), "no task")
    (task,) = [each["id"] for each in far.told("tasks", "ls") if each["trace_id"] == trace]
    unfit = far.far("tasks", "complete", "Review", task, "{}")
    assert (unfit.exit_code, unfit.stderr) == (1, far.near("tasks", "complete", "Review", task, "{}").stderr)
    done = far.far("tasks", "complete", "Review", task, '{"ok": true}', "--by", "me")
    assert done.stderr == "completed; emitted decided\n"
    assert far.far("tasks", "complete", "Review", task, '{"ok": true}').exit_code == 1
    assert far.far("tasks", "show", "Review", task).stdout == far.near("tasks", "show", "Review", task).stdout
    for line in ("nobody", "Review"):
        assert far.far("tasks", "complete", line, "none", "1").exit_code == (2 if line == "nobody" else 1)

    slow = far.order("slow")
    wait_for(lambda: any(each["trace_id"] == slow for each in far.told("delayed", "ls")), "nothing waits")
    wait_for(lambda: len(far.runs(slow)) == 2, "its records are not there")
    told = far.told("cancel", slow[:20])
    assert told == {"trace_id": slow, "step": None, "event_id": None, "retries": 0, "delayed": 1}
    assert far.far("cancel", "--event", "17", "--step", "Note").stderr.startswith("cancelled;")
    slow = far.order("slow")
    wait_for(lambda: any(each["trace_id"] == slow for each in far.told("delayed", "ls")), "nothing waits")
    (slot,) = [each["slot"] for each in far.told("delayed", "ls") if each["trace_id"] == slow]
    assert far.far("delayed", "cancel", slot).stderr == "cancelled: 1\n"


class Follower:
    """A command that goes on until it is ended. `traces`: of the lines that it has told."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.said = folder / "stderr"
        self.traces: list[str] = []
        with self.said.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "motia_runtime", *args, "--json"],
                env=clean_environ() | {"MOTIA_TOKEN": TOKEN}, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
                # as in a terminal: a suite that a script has started in the background is one that ^C does not reach
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.traces.append(json.loads(line)["trace_id"])

    def runs(self) -> bool:
        assert self.process.poll() is None, self.said.read_text()
        return True

    def stop(self) -> int:
        """As ^C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait(10)
            self._reader.join(10)


@pytest.mark.parametrize("command", [["logs", "--follow", "-n", "0"], ["trace", "tail"]])
def test_who_follows_sees_what_comes_also_after_the_app_was_gone(far: Far, tmp_path: Path, command: list[str]) -> None:
    answer = forward(far.app.url)
    with contextlib.ExitStack() as door:
        url = door.enter_context(served(answer))
        follower = Follower(tmp_path, *command, "--step", "Pay", "--url", url)
        try:
            first: set[str] = set()

            def comes() -> bool:
                first.add(far.order("good"))  # what came before it listened is not shown
                return follower.runs() and bool(first.intersection(follower.traces))

            wait_for(comes, "nothing came")
            door.close()
            wait_for(lambda: "; waiting for it" in follower.said.read_text(), "it has not noticed")
            missed = far.order("good")
            wait_for(lambda: ("Pay", "ok") in far.runs(missed), "not paid")
            with served(answer, port=int(url.rpartition(":")[2])):
                wait_for(lambda: follower.runs() and missed in follower.traces, "what came meanwhile is not told")
                assert follower.stop() == 0
                assert len(follower.said.read_text().splitlines()) == 1
            assert follower.traces.count(missed) == 1
        finally:
            follower.stop()


def test_through_tls_and_below_a_path(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certify(tmp_path, "ca")
    certify(tmp_path, "server", by="ca")
    with served(forward(far.app.url, "/shop"), certificate=tmp_path / "server.pem") as url:
        untrusted = far.far("steps", "ls", url=url + "/shop")
        assert untrusted.exit_code == 1
        assert "is not trusted" in untrusted.stderr
        plain = far.far("steps", "ls", url=url.replace("https", "http") + "/shop")
        assert (plain.exit_code, "begins with https://" in plain.stderr) == (1, True), plain.stderr
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert far.far("steps", "ls", "--json", url=url + "/shop/").stdout == far.near("steps", "ls", "--json").stdout
    none = far.far("steps", "ls", url=far.app.url.replace("http:", "https:"))
    assert (none.exit_code, "begins with http://" in none.stderr) == (1, True), none.stderr


def test_what_can_not_be_asked_says_why(far: Far, tmp_path: Path) -> None:
    def error(result: Result) -> str:
        assert result.exit_code == 1, result.stderr
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return str(line)

    assert "wants another token" in error(far.far("steps", "ls", token="wrong-horse-battery"))
    assert "wants a token: set MOTIA_TOKEN" in error(far.far("steps", "ls", token=""))
    with served(lambda _: (200, "text/html", b"<h1>Welcome")) as url:
        assert "is no Motia app: it answers with status 200 and text/html" in error(far.far("steps", "ls", url=url))
    assert "is the app running there?" in error(far.far("steps", "ls", url=url))  # gone now
    with served(lambda _: (302, "text/html", b"")) as url:
        assert "leads elsewhere" in error(far.far("steps", "ls", url=url))
    with served(lambda _: (200, "application/json", b"[]")) as url:
        assert "another version" in error(far.far("steps", "ls", url=url))

    there = httpx.get(
        f"{far.app.url}/__workbench/api/nonsense",
        headers={"X-Motia-Workbench": "1", "Authorization": f"Bearer {TOKEN}"},
    )
    assert there.json()["detail"].startswith(NO_PATH)
    app = forward(far.app.url)
    older = there.status_code, there.headers["content-type"], there.content
    with served(lambda asked: app(asked) if asked.path.endswith("/app") else older) as url:
        assert "is older than this command" in error(far.far("steps", "ls", url=url))

    quiet = write_project(
        tmp_path / "quiet", "name: quiet\nsteps: { A: { type: api, method: GET, path: /a } }\n", a=NOTHING
    )
    with running_app(quiet) as closed:
        assert "serves it with --workbench only" in error(far.far("steps", "ls", url=closed.url))


def test_the_flag_goes_before_the_environment_and_only_where_it_is_meant(far: Far) -> None:
    address = f"{far.app.url}/__workbench#token={TOKEN}"  # as `motia dev` prints it
    for args in (["steps", "--url", address, "ls"], ["steps", "ls", "--url", address]):
        assert far.far(*args, url="127.0.0.1:1", token="").exit_code == 0
    assert far.far("steps", "ls", "--token", TOKEN, token="wrong-horse-battery").exit_code == 0
    alone = far.near("steps", "ls", "--token", TOKEN)
    assert (alone.exit_code, "--token goes with --url" in alone.stderr) == (2, True)
    for name in ("check", "dev", "plan", "graph"):
        refused = far.near(name, "--url", far.app.url)
        assert refused.exit_code == 2
        assert f"--url is not for `motia {name}`, but for commands that ask a running app: emit, run," in refused.stderr
    for name in COMMANDS["Look and touch"]:
        assert "--url" in far.near(name, "--help").stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        (":3000", "http://127.0.0.1:3000"),
        ("localhost:3000/", "http://localhost:3000"),
        ("https://shop.example/app/", "https://shop.example/app"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://[::1]:3000/__workbench/", "http://[::1]:3000"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert parse_url(text).shown == shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nats://127.0.0.1:4222", "nats:// is not among http:// and https://"),
        ("http://me:hunter2@shop.example", "it holds a user"),
        ("http://shop.example?x=1", "more than host, port and path"),
        ("http://shop.example:port", "such as http://127.0.0.1:3000"),
    ],
)
def test_wrong_addresses_are_refused(far: Far, text: str, why: str) -> None:
    done = far.far("steps", "ls", url=text)
    assert done.exit_code == 2
    assert why in done.stderr
