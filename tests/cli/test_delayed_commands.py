"""`motia delayed`: a real app on a real server, over restarts and a crash; the commands run in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from motia_runtime.cli.root import motia as root
from support.process import running_app, write_project
from support.waiting import wait_for

SPEC = """
motia: "1"
name: waiting
topics:
  ask: {}
  mail.due: {}
state:
  sent: {}
steps:
  Ask: { type: event, subscribes: [ask], emits: [mail.due] }
  Send: { type: event, subscribes: [mail.due], uses: { state: [sent] } }
"""
ASK = """
async def handler(data, ctx):
    if data["delay"] is None:
        await ctx.cancel_emit("mail.due", data["key"])
    else:
        await ctx.emit("mail.due", data["text"], delay=data["delay"], key=data["key"])
"""
SEND = """
async def handler(data, ctx):
    await ctx.state.update("sent", data, lambda times: (times or 0) + 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, ask=ASK, send=SEND)


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(root, ["-C", str(folder), *args])


def ok(folder: Path, *args: str) -> str:
    done = run(folder, *args)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def ask(folder: Path, text: str, delay: float | None, key: str | None = None) -> str:
    return ok(folder, "emit", "ask", json.dumps({"text": text, "delay": delay, "key": key})).strip()


def listed(folder: Path, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ok(folder, "delayed", "ls", "--json", *args))
    return found


def texts(folder: Path) -> list[str]:
    return [each["data"] for each in listed(folder)]


def sent(folder: Path) -> dict[str, int]:
    return dict(json.loads(ok(folder, "state", "ls", "sent", "--json")))


def test_delayed_emits_outlive_restarts_and_come_once(folder: Path) -> None:
    with running_app(folder) as app:
        before = time.time()
        trace = ask(folder, "later", 3600)
        ask(folder, "first", 3600, "reminder:42 ä")
        wait_for(lambda: sorted(texts(folder)) == ["first", "later"], "they do not wait")
        ask(folder, "second", 1800, "reminder:42 ä")
        wait_for(lambda: texts(folder) == ["second", "later"], "it was not replaced")
        second, later = listed(folder)
        assert (second["key"], later["key"]) == ("reminder:42 ä", None)
        assert (later["topic"], later["trace_id"]) == ("mail.due", trace)
        assert before + 3600 <= later["at"] <= time.time() + 3600
        ask(folder, "soon", 3)
        wait_for(lambda: texts(folder) == ["soon", "second", "later"], "it does not wait")
        app.kill()
    wait_for(lambda: run(folder, "delayed", "ls").exit_code == 0, "the server of the killed app does not end")
    assert texts(folder)[-2:] == ["second", "later"]
    with running_app(folder):
        wait_for(lambda: sent(folder) == {"soon": 1}, "it did not come")
        assert time.time() >= before + 3
        ask(folder, "", None, "reminder:42 ä")
        wait_for(lambda: texts(folder) == ["later"], "it was not cancelled")
        assert "cancelled: 1" in run(folder, "delayed", "cancel", later["slot"]).stderr
        assert listed(folder) == []
        assert sent(folder) == {"soon": 1}
        gone = run(folder, "delayed", "cancel", later["slot"])
        assert (gone.exit_code, f"nothing waits in {later['slot']}" in gone.stderr) == (1, True)


def test_lists_by_topic_and_says_what_is_wrong(folder: Path) -> None:
    with running_app(folder):
        ask(folder, "one", 3600, "k")
        wait_for(lambda: texts(folder) == ["one"], "it does not wait")
        shown = ok(folder, "delayed", "ls", "--topic", "mail.due")
        assert "emit.mail=2Edue.k" in shown
        assert '"one"' in shown
        assert listed(folder, "--topic", "ask") == []
        assert "nothing waits" in run(folder, "delayed", "ls", "--topic", "ask").stderr
        unknown = run(folder, "delayed", "ls", "--topic", "mail.deu")
        assert (unknown.exit_code, "did you mean 'mail.due'?" in unknown.stderr) == (2, True)
        for slot in ("nonsense", "emit.*.*", "retry.a.b"):
            assert run(folder, "delayed", "cancel", slot).exit_code == 2
        assert run(folder, "delayed", "cancel").exit_code == 2
        assert texts(folder) == ["one"]
