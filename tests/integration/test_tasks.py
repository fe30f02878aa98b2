"""Tasks on a real nats-server with real apps: by HTTP and by `motia tasks`, over restarts, by two at once, and after a kill in mid-answer."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia
from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
name: tasks
schemas:
  Decision: {{type: object, required: [id, ok], properties: {{id: {{type: string}}, ok: {{type: boolean}}}}}}
topics:
  review: {{external: in, schema: {{type: object, required: [id], properties: {{id: {{type: string}}}}}}}}
  decided: {{schema: {{$ref: "#/schemas/Decision"}}}}
  rejected: {{}}
state: {{decided: {{}}, rejected: {{}}}}
steps:
  Approve:
    type: noop
    subscribes: [review]
    emits: [decided]
    manual: {{input: {{$ref: "#/schemas/Decision"}}, timeout: {timeout}, onTimeout: {{topic: rejected, data: {{id: "{{data.id}}"}}}}}}
  Decided: {{type: event, subscribes: [decided]}}
  Rejected: {{type: event, subscribes: [rejected]}}
  Mortal: {{type: api, method: GET, path: /mortal}}
"""
DECIDED = """
async def handler(data, ctx):
    await ctx.state.decided.update(data.id, lambda old: [*(old or []), data.ok])
"""
REJECTED = """
async def handler(data, ctx):
    await ctx.state.rejected.update(data["id"], lambda old: (old or 0) + 1)
"""
MORTAL = """
import os
import signal

from motia_runtime.commit import Commits

if os.environ.get("DIE_BEFORE"):
    async def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Commits, os.environ["DIE_BEFORE"], die)

async def handler(request, ctx):
    return None
"""
TOKEN = "a-token-of-some-length"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Place:
    def __init__(self, folder: Path, server: Any, prefix: str, timeout: str) -> None:
        spec = SPEC.format(timeout=timeout) + f"nats: {{prefix: {prefix}}}\n"
        self.folder = write_project(folder, spec, decided=DECIDED, rejected=REJECTED, mortal=MORTAL)
        self.env = {"NATS_URL": server.url, "NATS_TOKEN": server.token, "MOTIA_ADMIN_TOKEN": TOKEN}

    def motia(self, *args: str, code: int = 0, input: str | None = None) -> str:
        done = CliRunner().invoke(motia, ["-C", str(self.folder), *args], env=self.env, input=input)
        assert done.exit_code == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def open(self, id: str) -> str:
        self.motia("emit", "review", json.dumps({"id": id}))
        wait_for(lambda: id in self.tasks(), f"no task for {id}")
        return self.tasks()[id]

    def tasks(self) -> dict[str, str]:
        return {task["data"]["id"]: task["id"] for task in json.loads(self.motia("tasks", "ls", "--json"))}

    def state(self, group: str) -> Any:
        return json.loads(self.motia("state", "ls", group, "--json"))


def test_a_task_waits_through_restarts_and_is_completed_once(tmp_path: Path, nats_server) -> None:
    place = Place(tmp_path, nats_server, "tasksone", "1h")
    with running_app(place.folder, env=place.env):
        first, second = place.open("a"), place.open("b")
    answer = json.dumps({"id": "b", "ok": False})
    assert "/id" in place.motia("tasks", "complete", "Approve", first, '{"id": 1, "ok": true}', code=1)
    place.motia("tasks", "complete", "Approve", second, "-", "--by", "Ann", input=answer)  # no app runs
    assert "completed by Ann already" in place.motia("tasks", "complete", "Approve", second, answer, code=1)
    assert "no step 'Aprove'; did you mean 'Approve'?" in place.motia("tasks", "ls", "--step", "Aprove", code=2)
    shown = place.motia("tasks", "show", "Approve", second)
    assert "completed" in shown
    assert "by Ann" in shown
    with running_app(place.folder, env=place.env) as one, running_app(place.folder, env=place.env) as two:
        assert list(place.tasks()) == ["a"]
        url = f"/__motia/tasks/Approve/{first}"
        for headers in ({}, {"authorization": "Bearer another-token-of-length"}, {"authorization": TOKEN}):
            assert httpx.get(one.url + url, headers=headers).status_code == 401
            assert httpx.post(one.url + url, headers=headers, json={"id": "a", "ok": True}).status_code == 401
        foreign = httpx.get(one.url + url, headers={**BEARER, "origin": "http://evil.example"})
        assert foreign.status_code == 403
        assert httpx.get(one.url + url, headers={**BEARER, "host": "evil.example"}).status_code == 421
        wrong = httpx.post(one.url + url, headers=BEARER, json={"id": 1, "ok": True})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/id")
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda n: httpx.post(
                        (one if n % 2 else two).url + url, headers=BEARER, json={"id": "a", "ok": n > 3}
                    ),
                    range(8),
                )
            )
        assert sorted(a.status_code for a in answers) == [200, *[409] * 7]
        (won,) = [a.json()["answer"] for a in answers if a.status_code == 200]
        assert all(a.json()["task"]["answer"] == won for a in answers if a.status_code == 409)
        wait_for(lambda: place.state("decided") == {"a": [won["ok"]], "b": [False]}, "the answers were not handled")


def test_nobody_reaches_tasks_without_a_token(tmp_path: Path, nats_server) -> None:
    place = Place(tmp_path, nats_server, "taskstwo", "1h")
    for token in ("", "short"):
        with running_app(place.folder, env=place.env | {"MOTIA_ADMIN_TOKEN": token}) as app:
            assert httpx.get(app.url + "/__motia/tasks").status_code == 404
            assert (
                httpx.get(app.url + "/__motia/tasks", headers={"authorization": f"Bearer {token}x"}).status_code == 404
            )
    with running_app(place.folder, "dev", env=place.env | {"MOTIA_ADMIN_TOKEN": ""}) as app:
        assert httpx.get(app.url + "/__motia/tasks").json() == {"tasks": []}


def test_a_task_expires_also_when_no_app_runs_at_its_time(tmp_path: Path, nats_server) -> None:
    place = Place(tmp_path, nats_server, "tasksthree", "8s")
    with running_app(place.folder, env=place.env):
        place.open("running")
        wait_for(lambda: place.state("rejected") == {"running": 1}, "it did not expire")
        late = place.open("away")
    due = json.loads(place.motia("tasks", "show", "Approve", late, "--json"))["due_at"]
    wait_for(lambda: time.time() > due)
    assert "is over" in place.motia("tasks", "complete", "Approve", late, '{"id": "away", "ok": true}', code=1)
    with running_app(place.folder, env=place.env):
        wait_for(lambda: place.state("rejected") == {"running": 1, "away": 1}, "it did not expire")
        assert place.state("decided") == {}


@pytest.mark.parametrize("where", ["_mark", "_emit"])
def test_what_a_killed_app_has_begun_to_answer_is_completed(tmp_path: Path, nats_server, where: str) -> None:
    place = Place(tmp_path, nats_server, f"tasksfour{where}", "1h")
    with running_app(place.folder, env=place.env):
        task = place.open("a")
    with running_app(place.folder, env=place.env | {"DIE_BEFORE": where}) as app, pytest.raises(httpx.TransportError):
        httpx.post(f"{app.url}/__motia/tasks/Approve/{task}", headers=BEARER, json={"id": "a", "ok": True})
    with running_app(place.folder, env=place.env) as app:
        answer = httpx.post(
            f"{app.url}/__motia/tasks/Approve/{task}", headers=BEARER, json={"id": "a", "ok": False}, timeout=30
        )
        assert (answer.status_code, answer.json()["task"]["answer"]["ok"]) == (409, True)
        wait_for(lambda: place.state("decided") == {"a": [True]}, "the event did not come", 120)
