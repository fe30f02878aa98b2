"""An app of several instances, all of whose promises about "once" are used while it is killed: keys of requests, ticks, delays, letters, replays, cells.

Book    POST /book    with an idempotency key, five equal requests at once; and without one, as the control
Remind  POST /remind  a delayed emit
Forget  POST /forget  a timer of the process, as the control of that
Tick    cron          every second
Fill    POST /fill    bills, which nobody can pay until the file `mended` is there, and notes
Cell    POST /cell    a read, or compare-and-set
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from support.chaos.load import Outcome
from support.linear import Op
from support.process import write_project

SPEC = """
name: siege
nats: {prefix: siege}
defaults: {timeout: 6s, retry: once}
policies: {retry: {once: {attempts: 1}}}
topics: {booked: {}, due: {}, ticked: {}, bill: {}, paid: {}, note: {}, noted: {}}
state: {books: {}, bills: {}, cells: {}}
steps:
  Book: {type: api, method: POST, path: /book, emits: [booked], idempotency: {window: 1h}}
  Remind: {type: api, method: POST, path: /remind, emits: [due]}
  Forget: {type: api, method: POST, path: /forget}
  Tick: {type: cron, cron: "* * * * * *", overlap: allow, emits: [ticked]}
  Fill: {type: api, method: POST, path: /fill, emits: [bill, note]}
  Pay: {type: event, subscribes: [bill], emits: [paid]}
  Note: {type: event, subscribes: [note], emits: [noted]}
  Cell: {type: api, method: POST, path: /cell}
"""
HANDLERS = {
    "book": """
        import asyncio

        async def handler(request, ctx):
            key = request.body["key"]
            await ctx.state.books.update(key, lambda old: (old or 0) + 1)
            await ctx.emit("booked", {"id": key})
            await asyncio.sleep(0.05)
            return {"status": 201, "body": {"key": key, "run": ctx.trace_id}}
        """,
    "remind": """
        async def handler(request, ctx):
            await ctx.emit("due", {"id": request.body["id"]}, at=request.body["at"])
            return {"status": 202, "body": {}}
        """,
    "forget": """
        import asyncio, os
        from pathlib import Path

        async def handler(request, ctx):
            mark = Path(os.environ["CHAOS_SCRATCH"], f"timer-{request.body['id']}")
            asyncio.get_running_loop().call_later(request.body["delay"], mark.touch)
            return {"status": 202, "body": {}}
        """,
    "tick": """
        async def handler(ctx):
            await ctx.emit("ticked", {"id": int(ctx.trigger.due)})
        """,
    "fill": """
        async def handler(request, ctx):
            for id in request.body["bills"]:
                await ctx.emit("bill", {"id": id})
            for id in request.body["notes"]:
                await ctx.emit("note", {"id": id})
            return {"status": 202, "body": {}}
        """,
    "pay": """
        import os

        async def handler(data, ctx):
            if not os.path.exists(os.path.join(os.environ["CHAOS_SCRATCH"], "mended")):
                raise ValueError("nobody can pay this")
            await ctx.state.bills.update(data["id"], lambda old: (old or 0) + 1)
            await ctx.emit("paid", {"id": data["id"]})
        """,
    "note": """
        async def handler(data, ctx):
            await ctx.emit("noted", {"id": data["id"]})
        """,
    "cell": """
        async def handler(request, ctx):
            body = request.body
            was = await ctx.state.cells.get(body["key"])
            fits = "new" in body and was == body["old"]
            if fits:
                await ctx.state.cells.set(body["key"], body["new"])
            return {"status": 200, "body": {"was": was, "done": fits}}
        """,
}
AT_ONCE = 5  # equal requests
OPS = 200  # of a cell; longer histories take long to check
DELAYS = (0.5, 4.0)  # seconds
TURNS = 4  # of each client at least
AGAIN = 0.1  # seconds
PATIENCE = 90.0  # seconds for which a request with a key is repeated


def write_siege(folder: Path, spec: str = SPEC) -> Path:
    return write_project(folder, spec, **HANDLERS)


@dataclass(frozen=True)
class Size:
    seconds: float  # of load and kills
    keys: int  # of requests
    delays: int
    letters: int  # to be redriven, and as many notes to be replayed
    cells: int
    interrupted: int  # times that each command is killed before it may go through
    instances: int = 3
    clients: int = 16  # of the cells
    hurried: bool = True  # with a quarter of the product's waits


@dataclass
class Reminder:
    at: float  # seconds since the epoch
    outcome: Outcome = "unknown"
    answered: float = math.inf


class Load:
    """Everything that clients do during a siege, in a thread of its own. Counts are complete after `join`."""

    def __init__(self, urls: Sequence[str], size: Size, seed: int) -> None:
        self.answers: dict[str, list[bytes]] = defaultdict(list)  # of each key, of its equal requests
        self.bare = [f"bare{n}" for n in range(max(5, size.keys // 20))]  # sent without a key
        self.reminders: dict[str, Reminder] = {}
        self.timers: list[str] = []  # accepted
        self.histories: dict[str, list[Op]] = defaultdict(list)
        self._urls = urls
        self._size = size
        self._rng = random.Random(seed)
        self._ends = 0.0
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="siege", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def sending(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(self._size.seconds + PATIENCE + 60)
        assert not self._thread.is_alive(), "requests are under way"
        if self._failed:
            raise self._failed[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._failed.append(error)

    async def _all(self) -> None:
        size = self._size
        self._ends = time.monotonic() + size.seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(15, pool=None), limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in range(size.clients):
                group.create_task(self._use_cell(client, number))
            group.create_task(self._spread(group, size.keys, lambda n: self._book_at_once(client, f"key{n}")))
            group.create_task(self._spread(group, len(self.bare), lambda n: self._book_bare(client, self.bare[n])))
            group.create_task(self._spread(group, size.delays, lambda n: self._remind(client, n)))

    async def _spread(self, group: asyncio.TaskGroup, count: int, make: Any) -> None:
        """So many of them, evenly over the time."""
        began, pause = time.monotonic(), self._size.seconds / count
        for number in range(count):
            await asyncio.sleep(began + number * pause - time.monotonic())
            group.create_task(make(number))

    def _url(self) -> str:
        return self._rng.choice(self._urls)

    async def _until_answered(self, client: httpx.AsyncClient, key: str, headers: dict[str, str]) -> bytes:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = await client.post(self._url() + "/book", json={"key": key}, headers=headers)
                if answer.status_code == 201:
                    return answer.content
                assert answer.status_code in (409, 503), answer.text
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"no answer for {key}"
            await asyncio.sleep(AGAIN)

    async def _book_at_once(self, client: httpx.AsyncClient, key: str) -> None:
        same = [self._until_answered(client, key, {"Idempotency-Key": key}) for _ in range(AT_ONCE)]
        self.answers[key] = await asyncio.gather(*same)

    async def _book_bare(self, client: httpx.AsyncClient, key: str) -> None:
        await asyncio.gather(*(self._until_answered(client, key, {}) for _ in range(AT_ONCE)))

    async def _remind(self, client: httpx.AsyncClient, number: int) -> None:
        delay = self._rng.uniform(*DELAYS)
        made = self.reminders[f"r{number}"] = Reminder(time.time() + delay)
        body = {"id": f"r{number}", "at": made.at, "delay": delay}
        try:
            made.outcome = "ok" if (await client.post(self._url() + "/remind", json=body)).is_success else "unknown"
            made.answered = time.time()
            if (await client.post(self._url() + "/forget", json=body)).is_success:
                self.timers.append(f"r{number}")
        except httpx.ConnectError:
            if made.outcome == "unknown":
                made.outcome = "fail"
        except httpx.TransportError:
            pass

    async def _use_cell(self, client: httpx.AsyncClient, number: int) -> None:
        """Look at a cell, then write to it what nobody else writes, if it is still so; by turns with a plain look."""
        key, turn = f"cell{number % self._size.cells}", 0
        was: str | None = None
        while (turn < TURNS or time.monotonic() < self._ends) and len(self.histories[key]) < OPS:
            turn += 1
            body: dict[str, Any] = {"key": key}
            if turn % 3:
                body |= {"old": was, "new": f"{number}.{turn}"}
            called = time.monotonic()
            saw, put, writes, returned = was, body.get("new"), "new" in body, math.inf
            try:
                answer = await client.post(self._url() + "/cell", json=body)
                if answer.status_code == 200:
                    returned = time.monotonic()
                    said = answer.json()
                    saw, writes = said["was"], said["done"]
                    was = put if writes else saw
            except httpx.ConnectError:
                put, writes = None, False  # never arrived
            except httpx.TransportError:
                pass
            self.histories[key].append(Op(called, returned, saw, put if writes else None, writes))
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))
