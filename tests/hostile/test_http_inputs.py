"""Every hostile HTTP input, sent as bytes to `motia start`: a clear answer in time, nothing leaks, and the server goes on."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from motia_runtime.broker import connect
from motia_runtime.http.server import Limits
from motia_runtime.records import TraceStore
from motia_spec import compile_project
from support.corpus import Entry, defaults, inputs, named, raw
from support.process import AppProcess, running_app, write_project

SPEC = """
name: hostile-http
steps:
  Order:
    type: api
    method: POST
    path: /order
    idempotency: {}
    body:
      type: object
      required: [id, qty]
      additionalProperties: false
      properties: { id: { type: string, pattern: "^[a-z]{1,40}$" }, qty: { type: integer } }
  Any: { type: api, method: POST, path: /any }
  Raw: { type: api, method: POST, path: /raw }
  Form: { type: api, method: POST, path: /form }
  Q: { type: api, method: GET, path: /q }
  Items: { type: api, method: GET, path: "/items/{id}" }
  Boom: { type: api, method: GET, path: /boom }
  Static: { type: api, method: GET, path: "/static/{rest:path}" }
"""
ECHO = """
async def handler(request, ctx):
    return {"status": 201, "body": request.body}
"""
RAW = """
async def handler(request, ctx):
    return {"length": len(request.raw_body)}
"""
Q = """
async def handler(request, ctx):
    return request.query_params
"""
ITEMS = """
async def handler(request, ctx):
    return request.path_params
"""
BOOM = """
async def handler(request, ctx):
    raise RuntimeError("the secret of the house")
"""
STATIC = """
from motia_runtime.handler import Problem

async def handler(request, ctx):
    if request.path_params["rest"] != "a.txt":
        raise Problem(404, "No such file")
    return "a"
"""
HEALTHY = b"GET /q?n=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SILENT = "HTTP-070"
MAX_SECONDS = defaults("http")["max_seconds"]


class Site:
    """The app, and a connection that has said nothing since it was up."""

    def __init__(self, app: AppProcess, silent: socket.socket) -> None:
        self.app = app
        self.port = int(app.url.rpartition(":")[2])
        self._silent = silent
        self._heard: bytes | None = None
        self._closed_within = 0.0  # seconds
        self._watch = threading.Thread(target=self._wait, daemon=True)
        self._watch.start()

    def _wait(self) -> None:
        since = time.monotonic()
        self._silent.settimeout(Limits().header_timeout * 2)
        with suppress(TimeoutError):
            self._heard = self._silent.recv(1)
        self._closed_within = time.monotonic() - since

    def silence(self) -> tuple[bytes | None, float]:
        """What came over that connection in the end, and after how many seconds. None: nothing, and it is open."""
        self._watch.join()
        return self._heard, self._closed_within


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = write_project(
        tmp_path_factory.mktemp("http"), SPEC,
        order=ECHO, any=ECHO, raw=RAW, form=ECHO, q=Q, items=ITEMS, boom=BOOM, static=STATIC,
    )  # fmt: skip
    with running_app(folder) as app:
        port = int(app.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as silent:
            yield Site(app, silent)


async def exchange(site: Site, data: bytes, *, deadline: float, end: bool = False) -> bytes:
    """Send, then read until the server closes. `end`: say that nothing more will be sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

    async def send() -> None:
        with suppress(ConnectionError):  # the server may have heard enough; what it said is read below
            await writer.drain()

    sending = None
    try:
        async with asyncio.timeout(deadline):
            writer.write(data)
            if end:
                writer.write_eof()
            sending = asyncio.create_task(send())
            return await reader.read(-1)
    finally:
        if sending is not None:
            sending.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def files(folder: Path) -> set[str]:
    """Names below a folder, but for the broker's store."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if ".motia" not in p.parts and p.suffix != ".pyc"}


@inputs("http", without=(SILENT,))
async def test_a_hostile_request_is_answered(site: Site, entry: Entry) -> None:
    expect = entry["expect"]
    if "precondition" in expect:
        first = raw(entry).replace(b'"id":"b"', b'"id":"a"')
        assert (await exchange(site, first, deadline=MAX_SECONDS)).startswith(b"HTTP/1.1 201 "), expect["precondition"]
    before, line = files(site.app.folder.parent), len(site.app.lines)

    answer = await exchange(site, raw(entry), deadline=expect.get("max_seconds", MAX_SECONDS), end="count" in expect)

    statuses = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
    assert len(statuses) == expect.get("count", 1), answer[:500]
    assert set(statuses) <= set(expect["status"]), answer[:500]
    if statuses[-1] >= 400:
        assert b"content-type: application/problem+json\r\n" in answer
    if "no_header" in expect:
        assert expect["no_header"].encode() not in answer.lower()
    assert b"Traceback" not in answer
    assert b"secret of the house" not in answer
    assert (await exchange(site, HEALTHY, deadline=MAX_SECONDS)).startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in "\n".join(site.app.lines[line:])
    assert files(site.app.folder.parent) == before, "a request has made a file"
    if "trace_not_contains" in expect:
        assert expect["trace_not_contains"].encode() not in b"".join(await run_records(site))


async def run_records(site: Site) -> list[bytes]:
    """The records of all runs so far, as stored. They come in order, so the one of a last request says that all are there."""
    last = secrets.token_hex(16)
    context = f"traceparent: 00-{last}-00f067aa0ba902b7-01\r\n\r\n"
    await exchange(site, HEALTHY.removesuffix(b"\r\n") + context.encode(), deadline=MAX_SECONDS)
    async with asyncio.timeout(MAX_SECONDS), connect(compile_project(site.app.folder).require()) as log:
        while not await TraceStore(log).runs(last):
            await asyncio.sleep(0.01)
        return [record.data for record in await log.scan("run.>", limit=1_000)]


async def test_an_error_in_a_handler_leaks_nothing(site: Site) -> None:
    """What the input with the foreign Host is kept away from."""
    answer = await exchange(
        site, b"GET /boom HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", deadline=MAX_SECONDS
    )
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret of the house" not in answer
    assert b"Traceback" not in answer


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has")
def test_the_app_has_stayed_small(site: Site) -> None:
    """After all of the inputs above, those of 10 MB among them."""
    status = Path(f"/proc/{site.app.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    assert peak <= defaults("http")["max_rss_mib"]


async def test_a_connection_that_says_nothing_is_closed(site: Site) -> None:
    """Last of this module: the connection was opened when it began."""
    expect = named("http", SILENT)["expect"]
    assert expect["status"] is None
    heard, within = await asyncio.to_thread(site.silence)
    assert heard == b""
    assert within < expect["closed_within_s"]
