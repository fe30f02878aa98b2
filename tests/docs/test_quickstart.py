"""docs/quickstart.md, walked: every command and every edit on the page is taken from it, in its order, and done for real."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from support.process import AppProcess, motia, running_app

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CURL = argparse.ArgumentParser(exit_on_error=False)
_CURL.add_argument("-X", dest="method", default="GET")
_CURL.add_argument("-H", dest="headers", action="append", default=[])
_CURL.add_argument("-d", dest="data")
_CURL.add_argument("url")


class Walk:
    """The page's blocks, taken one after the other, and what a reader at a terminal does with them."""

    def __init__(self, text: str) -> None:
        self.blocks: list[tuple[str, str]] = _BLOCK.findall(text)
        self.app: AppProcess | None = None
        self.folder = Path()

    def text(self, language: str) -> str:
        """The next block, which is in `language`."""
        found, text = self.blocks.pop(0)
        assert found == language
        return text

    def commands(self, *names: str) -> list[str]:
        """The commands of the next block, without `$` and comment. Each begins as `names` say."""
        lines = [line.removeprefix("$ ").split(" #")[0].strip() for line in self.text("console").splitlines()]
        assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == list(names)
        return lines

    def motia(self, command: str) -> str:
        """What a command that works prints."""
        said = ""
        for part in command.split(" && "):
            done = self.run(part)
            assert done.returncode == 0, f"{part}\n{done.stdout}{done.stderr}"
            said += done.stdout
        return said

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        program, *args = shlex.split(command)
        assert program == "motia"
        return motia(self.folder, *args)

    def curl(self, command: str) -> httpx.Response:
        assert self.app
        program, *args = shlex.split(command)
        assert program == "curl"
        asked = _CURL.parse_args(args)
        assert asked.url.startswith("localhost:3000/")
        headers = dict(line.split(": ", 1) for line in asked.headers)
        url = asked.url.replace("localhost:3000", self.app.url)
        return httpx.request(asked.method, url, headers=headers, content=asked.data)

    def edit(self, file: str, old: str, new: str, heard: str = "reloaded in") -> None:
        """Save the file with `new` for `old`, which is there once; until the app says `heard`."""
        assert self.app
        before = len(self.app.lines)
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        self.app.wait_for(heard, after=before)


def until(look: Callable[[], Any]) -> Any:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline, "not within 20 s"
        time.sleep(0.02)
    return found


def test_the_quickstart(tmp_path: Path) -> None:
    walk = Walk(PAGE.read_text())
    _, _, create, enter, dev = walk.commands("python3 -m venv", "pip install motia-nats", "motia create", "cd", "motia")
    walk.folder = tmp_path
    walk.motia(create)
    walk.folder = tmp_path / enter.split()[1]
    with running_app(walk.folder, dev.split()[1]) as walk.app:
        note = _use(walk)
        _change(walk, note)
        _fail(walk)
        os.killpg(walk.app.process.pid, signal.SIGINT)  # as a terminal sends Ctrl-C: to the broker, too
        assert walk.app.process.wait(15) == 0
        assert "Traceback" not in walk.app.output
    draw, check = walk.commands("motia graph", "motia check")
    walk.motia(draw)
    assert (walk.folder / "flow.svg").read_text().count("<svg") == 1
    walk.motia(check)
    (start,) = walk.commands("motia start")
    with running_app(walk.folder, start.split()[1]) as walk.app:
        assert walk.curl(f"curl localhost:3000/notes/{note}").json()["words"] == 2, "the notes are still there"
        json.loads(walk.app.lines[-1])
    assert not walk.blocks


def _use(walk: Walk) -> str:
    """Section 2. The id of the note."""
    post, get, state, traces = walk.commands("curl -X POST", "curl", "motia state ls", "motia trace ls")
    answer = walk.curl(post)
    assert answer.status_code == 202
    note = str(answer.json()["id"])
    get = get.replace("THE-ID-IT-ANSWERED", note)
    assert until(lambda: walk.curl(get).is_success and walk.curl(get).json()["words"]) == 2
    assert note in walk.motia(state)
    listed = until(lambda: [t for t in json.loads(walk.motia(f"{traces} --json")) if t["runs"] == 2])
    trace = str(listed[0]["trace_id"])
    assert trace[:4] in walk.motia(traces)
    (show,) = walk.commands("motia trace show")
    shown = walk.motia(show.replace("THE-TRACE-ID", trace[:8]))
    assert shown.index("AddNote") < shown.index("CountWords")
    (unfit,) = walk.commands("curl")
    answer = walk.curl(unfit)
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 2, "every fault"
    assert all("pointer" in fault for fault in answer.json()["errors"]), "and its place"
    return note


def _change(walk: Walk, note: str) -> None:
    """Section 3."""
    words = "      words: { type: integer, minimum: 0 }\n"
    walk.edit("motia.yaml", words, words + walk.text("yaml"))
    assert "characters" in (walk.folder / "motia_types" / "schemas.py").read_text(), "the types are written anew"
    count = "    note.words = len(note.text.split())\n"
    walk.edit("steps/count_words.py", count, count + walk.text("python"))
    post = """curl -X POST localhost:3000/notes -H 'content-type: application/json' -d '{"text": "two words"}'"""
    get = f"curl localhost:3000/notes/{walk.curl(post).json()['id']}"
    assert until(lambda: walk.curl(get).is_success and walk.curl(get).json()["characters"]) == len("two words")
    emits = "emits: [note.added]"
    walk.edit("motia.yaml", emits, "emits: [note.aded]", heard='did you mean "note.added"?')
    assert walk.app
    walk.app.wait_for("goes on serving")
    assert walk.curl(f"curl localhost:3000/notes/{note}").is_success
    walk.edit("motia.yaml", "emits: [note.aded]", emits)


def _fail(walk: Walk) -> None:
    """Section 4."""
    head = "async def handler(note: Note, ctx: CountWords.Context) -> None:\n"
    boom = walk.text("python")
    walk.edit("steps/count_words.py", head, head + boom)
    post, letters = walk.commands("curl -X POST", "motia dlq ls")
    note = walk.curl(post).json()["id"]
    (letter,) = until(lambda: json.loads(walk.motia(f"{letters} --json")))
    assert (letter["attempts"], letter["error"]["message"]) == (3, "as asked")
    assert "as asked" in walk.motia(letters)
    walk.edit("steps/count_words.py", head + boom, head)
    redrive, state = walk.commands("motia dlq redrive", "motia state ls")
    walk.motia(redrive)
    assert until(lambda: note in walk.motia(state))
    assert json.loads(walk.motia(letters + " --json")) == []
