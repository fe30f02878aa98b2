"""Our client against a real app: joins, changes, events, refusals, tokens, and an app that dies and comes again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from support.process import running_app, write_project
from support.waiting import wait_for

HERE = Path(__file__).parent
SPEC = """
name: followed
streams: {orders: {access: steps/all.py:access}}
server: {streamAuth: steps/all.py:authenticate}
steps:
  Put: {type: api, method: PUT, path: "/orders/{id}", handler: steps/all.py:put, uses: {streams: [orders]}}
  Delete: {type: api, method: DELETE, path: "/orders/{id}", handler: steps/all.py:delete, uses: {streams: [orders]}}
  Note: {type: api, method: POST, path: "/orders/{id}", handler: steps/all.py:note, uses: {streams: [orders]}}
"""
STEPS = """
def authenticate(headers, query):
    word, token = headers["sec-websocket-protocol"].replace(" ", "").split(",")  # browsers put a space between, others don't
    assert word == "Authorization"
    return {"t-1": "mine"}[token]


def access(group, id, auth):
    return group == auth


async def put(request, ctx):
    await ctx.streams.orders.set("mine", request.path_params["id"], {"n": int(request.raw_body)})


async def delete(request, ctx):
    await ctx.streams.orders.delete("mine", request.path_params["id"])


async def note(request, ctx):
    await ctx.streams.orders.send("mine", "note", {"n": 1}, id=request.path_params["id"])
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Follower:
    """`follow.mjs`, and what it has said."""

    def __init__(self, url: str, token: str) -> None:
        node = shutil.which("node")
        assert node is not None
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [node, "follow.mjs", url, token], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(map(json.loads, self.process.stdout))

    def wait(self, *wanted: dict[str, Any], after: int = 0) -> None:
        try:
            wait_for(lambda: all(one in self.said[after:] for one in wanted))
        except AssertionError:
            raise AssertionError(f"not all of {wanted} in {self.said}") from None

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:  # `communicate` would take lines from under the reader's hands
            assert self.process.stdin is not None
            self.process.stdin.close()
            self._reader.join(40)


def test_with_an_app(node: Callable[..., None], tmp_path: Path) -> None:
    folder = write_project(tmp_path, SPEC, all=STEPS)
    port = ("--port", str(free_port()))
    with running_app(folder, "start", *port) as app:
        httpx.put(app.url + "/orders/a", content="1").raise_for_status()
        with Follower(app.url, "t-1") as follower:
            follower.wait(
                {"status": "open"},
                {"item": "a", "value": {"id": "a", "n": 1}, "live": True},
                {"item": "none", "value": None, "live": True},
                {"group": "mine", "value": [{"id": "a", "n": 1}], "live": True},
                {"group": "theirs", "error": "STREAM_ACCESS_DENIED"},
            )
            httpx.put(app.url + "/orders/b", content="2").raise_for_status()
            httpx.post(app.url + "/orders/b").raise_for_status()
            httpx.delete(app.url + "/orders/b").raise_for_status()
            changed = [[{"id": "a", "n": 1}, {"id": "b", "n": 2}], [{"id": "a", "n": 1}]]
            follower.wait(*({"group": "mine", "value": value, "live": True} for value in changed))
            assert {"note": {"n": 1}, "id": "b"} in follower.said

            begun = len(follower.said)
            app.kill()
            lost = {"item": "a", "value": {"id": "a", "n": 1}, "live": False}
            follower.wait({"status": "waiting"}, lost, after=begun)
            with running_app(folder, "start", *port) as again:
                follower.wait({"item": "a", "value": {"id": "a", "n": 1}, "live": True}, after=begun)
                httpx.put(again.url + "/orders/a", content="3").raise_for_status()
                follower.wait({"group": "mine", "value": [{"id": "a", "n": 3}], "live": True}, after=begun)
                httpx.delete(again.url + "/orders/a").raise_for_status()
                follower.wait({"item": "a", "value": None, "live": True}, after=begun)


def test_a_token_that_is_refused_is_tried_again_and_lets_nothing_through(
    node: Callable[..., None], tmp_path: Path
) -> None:
    folder = write_project(tmp_path, SPEC, all=STEPS)
    with running_app(folder) as app:
        httpx.put(app.url + "/orders/a", content="1").raise_for_status()
        with Follower(app.url, "stolen") as follower:
            wait_for(lambda: follower.said.count({"status": "waiting"}) > 2, "it was not tried again")
        assert {entry.get("status") for entry in follower.said} == {"waiting", "connecting", "closed"}
