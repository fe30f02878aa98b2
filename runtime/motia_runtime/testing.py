"""Run an app inside a test: real handlers, real engine, no network, and a clock that the test turns.

    async def test_order():
        async with run_app("motia.yaml") as app:
            answer = await app.request("POST", "/orders", json={"customerId": "c-1", "items": [...]})
            assert answer.status == 201
            await app.settle()                      # until every event has been handled
            assert (await app.state.get("orders", answer.json()["id"]))["status"] == "paid"
            await app.advance(60)                   # retries, delays and schedules of the next minute

The broker is `motia_runtime.memory.MemoryLog`, held to the same contract suite as the one on NATS. Handlers run for real, so one that sleeps, sleeps; what
the clock turns is when delayed events, retries and cron ticks are due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.app import Version, load_version
from motia_runtime.clock import VirtualClock
from motia_runtime.deadletters import DeadLetter
from motia_runtime.delayed import DelayedEmit, waiting
from motia_runtime.http.tasks import Access
from motia_runtime.live.clients import Client
from motia_runtime.live.frames import Frame
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import event_subject, in_subject
from motia_runtime.publish import publish
from motia_runtime.records import RunRecord, TraceStore
from motia_runtime.state import StateStore
from motia_runtime.streams import StreamStore
from motia_runtime.tasks import Task
from motia_spec import compile_project

__all__ = ["AppUnderTest", "Followed", "TestAnswer", "run_app"]

QUIET_TURNS = 5  # turns of the loop without work before the app counts as settled


class TestAnswer(msgspec.Struct, frozen=True):
    """An HTTP answer. Header names are in lower case."""

    __test__ = False  # for pytest: not a test class

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True  # False: a streamed answer that broke off

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Followed(Client):
    """What a client of a stream gets, in the form of docs/streams.md. Made by `AppUnderTest.follow`."""

    frames: list[Any]  # all so far

    def write(self, frame: Frame) -> bool:
        self.frames.append(msgspec.json.decode(frame.text))
        self._came.set()
        return True

    def close(self, code: int, reason: str) -> None:
        self.leave()

    async def next(self, timeout: float = 5.0) -> Any:
        """The next frame that `next` has not given yet. `timeout` in real seconds."""
        async with asyncio.timeout(timeout):
            while self._given >= len(self.frames):
                self._came.clear()
                await self._came.wait()
        self._given += 1
        return self.frames[self._given - 1]

    def __init__(self, version: Version) -> None:
        super().__init__(version.engine.live)
        self.frames = []
        self._given = 0
        self._came = asyncio.Event()


class AppUnderTest:
    """An app that runs in the test's own event loop. Made by `run_app`."""

    def __init__(self, version: Version, log: MemoryLog, clock: VirtualClock) -> None:
        self._version = version
        self._log = log
        self.clock = clock

    @property
    def state(self) -> StateStore:
        """State as the CLI sees it: `await app.state.get(group, key)`."""
        return self._version.engine.state

    @property
    def streams(self) -> StreamStore:
        """Items of streams: `await app.streams.get(stream, group, id)`."""
        return self._version.engine.streams

    @asynccontextmanager
    async def follow(
        self,
        stream: str,
        group: str,
        id: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Followed]:
        """Follow a group, or an item, as a browser does that connects with these headers and this query. The first frame is how things stand.
        Raises `motia_runtime.live.door.Unauthenticated` and `Denied`."""
        door = self._version.engine.door
        auth = await door.authenticate({k.lower(): v for k, v in (headers or {}).items()}, query or {})
        await door.check(stream, group, id, auth)
        followed = Followed(self._version)
        try:
            await followed.join("", stream, group, id)
            yield followed
        finally:
            followed.leave()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestAnswer:
        """One HTTP request through the whole HTTP layer, without a socket. `json` is encoded and labelled; `body` is sent as it is."""
        sent = {"host": "localhost", **{k.lower(): v for k, v in (headers or {}).items()}}
        if json is not None:
            body = msgspec.json.encode(json)
            sent.setdefault("content-type", "application/json")
        if body is not None:
            sent["content-length"] = str(len(body))
        return await _call(self._version.asgi, method, path, sent, body or b"")

    async def emit(self, topic: str, data: Any) -> str:
        """Publish an event as an outside producer would; gives its trace id. Raises `ValidationFailed` and `InvalidTopic`."""
        return await publish(self._log, self._version.project, self._version.types, topic, data)

    async def publish(self, topic: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        """Publish as another program does to a topic with `external: in`: any bytes, validated by the app when it takes them in."""
        await self._log.append(in_subject(topic), data, headers=headers)

    async def settle(self, timeout: float = 10.0) -> None:
        """Wait until nothing is under way that does not wait for the clock. `timeout` in real seconds; then TimeoutError says what still runs."""
        deadline = time.monotonic() + timeout
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0 if quiet else 0.001)
            quiet = 0 if self._version.engine.busy else quiet + 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._version.engine.busy} runs are still under way after {timeout:g} s")

    async def advance(self, seconds: float, timeout: float = 10.0) -> None:
        """Turn the clock, stopping at each moment at which something is due, and settle after each."""
        end = self.clock.time() + seconds
        await self.settle(timeout)
        while (due := self.clock.next_due()) is not None and due <= end:
            await self.clock.advance(max(0.0, due - self.clock.time()))
            await self.settle(timeout)
        await self.clock.advance(end - self.clock.time())
        await self.settle(timeout)

    async def events(self, topic: str) -> list[Any]:
        """The data of every event of a topic so far, oldest first."""
        records = await self._log.scan(event_subject(topic), limit=1_000_000)
        return [msgspec.json.decode(r.data) for r in reversed(records)]

    async def delayed(self, topic: str | None = None) -> list[DelayedEmit]:
        """Emits that wait for their time, the earliest first."""
        return await waiting(self._log, topic=topic, limit=1_000_000)

    async def dead_letters(self, step: str | None = None) -> list[DeadLetter]:
        """Newest first."""
        return await self._version.engine.letters.list(step=step)

    async def redrive(self, letter: DeadLetter) -> None:
        await self._version.engine.letters.redrive(letter)

    async def tasks(self, step: str | None = None) -> list[Task]:
        """Tasks of noop steps with `manual` that are open, the oldest first."""
        return await self._version.engine.tasks.waiting(step=step, limit=1_000_000)

    async def complete(self, step: str, id: str, data: Any, *, topic: str | None = None) -> Task:
        """Take an answer to a task. Raises what `motia_runtime.tasks.Tasks.complete` raises."""
        return await self._version.engine.tasks.complete(step, id, data, topic=topic, by="test")

    async def runs(self, trace_id: str) -> list[RunRecord]:
        """Every run attempt of a trace, ordered by start."""
        self._version.engine.records.flush()
        return await TraceStore(self._log).runs(trace_id)


@asynccontextmanager
async def run_app(
    path: str | Path = "motia.yaml", *, environ: Mapping[str, str] | None = None, start: float | None = None
) -> AsyncIterator[AppUnderTest]:
    """Load a spec and its handlers and run them until the block ends. `start`: the clock's first second since the epoch, now by default.
    Raises `SpecError` when the spec has errors, `HandlerError` when a handler can't be loaded."""
    project = compile_project(path, environ=environ).require()
    clock = VirtualClock(time.time() if start is None else start)
    log = MemoryLog(clock)
    version = load_version(project, log, clock, tasks=Access(None))
    await version.engine.start()
    try:
        yield AppUnderTest(version, log, clock)
    finally:
        await version.engine.stop(grace=0)
        log.close()


async def _call(app: Any, method: str, target: str, headers: dict[str, str], body: bytes) -> TestAnswer:
    from urllib.parse import unquote_to_bytes

    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": "http",
        "path": unquote_to_bytes(path).decode(),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 3000),
        "state": {},
    }
    started: dict[str, Any] = {}
    chunks: list[bytes] = []
    pending = [body]
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                over.set()

    await app(scope, receive, send)
    answered = {k.decode(): v.decode() for k, v in started["headers"]}
    return TestAnswer(started["status"], answered, b"".join(chunks), over.is_set())
