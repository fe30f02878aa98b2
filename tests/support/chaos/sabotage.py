"""What is done to an app from inside of its process: death at a named instant, a wall clock that jumps, a naive commit.

The commit protocol talks to the world through `NatsLog.append`, `append_all` and `NatsDelivery.ack`, so before and after each call of each kind
is every instant there is:

    before-KIND   nothing has been sent
    during-KIND   it is on the wire, the answer is not here
    after-KIND    it is stored and known to be, nothing that follows from it has been done

Further orders come while the process runs: `NAME.arm` holds them as JSON, SIGUSR2 says that they are there.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from motia_runtime.bind import Bound
from motia_runtime.execute import Executor, Watchdog
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.pulls import NatsDelivery
from motia_runtime.ports import Entry, Record

if TYPE_CHECKING:
    from support.chaos.entry import Orders

DIED = 137  # exit code, as of kill -9
WIRE = 0.002  # seconds after which what was sent is on the wire
KINDS = {
    "tx": "plan",
    "st": "state",
    "ev": "emit",
    "retry": "retry",
    "dlq": "letter",
    "rt": "mark",
    "cron": "tick",
}
MOMENTS = ("before", "during", "after")
POINTS = (
    *(f"{moment}-{kind}" for kind in KINDS.values() for moment in MOMENTS),
    "before-handler",
    "after-handler",
    "before-ack",
    "after-ack",
)


class Saboteur:
    """Dies where it was told to. One per process."""

    def __init__(self, orders: Orders) -> None:
        self._folder = Path(orders.folder)
        self._name = orders.name
        self.naive = orders.naive
        self.offset = orders.clock  # seconds that the wall clock is ahead
        self._point = ""
        self._left = 0
        self._aim(orders.crash, orders.times)

    def _aim(self, point: str, times: int) -> None:
        assert not point or point in POINTS, f"{point!r} is no point: {', '.join(POINTS)}"
        self._point, self._left = point, times

    def obey(self, *_: object) -> None:
        """Read further orders."""
        told = json.loads((self._folder / f"{self._name}.arm").read_text())
        self._aim(told.get("crash", self._point), told.get("times", self._left))
        self.offset = told.get("clock", self.offset)

    def reach(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                self.die()

    def die(self) -> None:
        hits = os.open(self._folder / f"{self._name}.hits", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(hits, f"{self._point}\n".encode())
        os._exit(DIED)

    def on_the_wire(self, point: str) -> None:
        """`reach`, as soon as what was just sent has left."""
        if point == self._point:
            asyncio.get_running_loop().call_later(WIRE, self.reach, point)


def kind_of(subject: str) -> str:
    return KINDS[subject.partition(".")[0]]


def install(orders: Orders) -> None:
    saboteur = Saboteur(orders)
    signal.signal(signal.SIGUSR2, saboteur.obey)
    _move_the_clock(saboteur)
    _wrap_appends(saboteur)
    _wrap_batches(saboteur)
    _wrap_ends(saboteur)
    if orders.naive:
        _forget_plans()


def _move_the_clock(saboteur: Saboteur) -> None:
    """The wall clock only, as a step of the machine's clock would; the monotonic ones go on."""
    real = time.time
    time.time = lambda: real() + saboteur.offset


def _wrap_appends(saboteur: Saboteur) -> None:
    append = NatsLog.append

    def wrapped(self: NatsLog, subject: str, data: bytes, **options: Any) -> asyncio.Future[int]:
        kind = kind_of(subject)
        if saboteur.naive:
            if kind == "plan":
                done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                done.set_result(1)
                return done
            if saboteur.naive == "all" and options.get("id") is not None:
                options["id"] = secrets.token_hex(8)
            if saboteur.naive == "all" and kind == "tick":
                options["expect"] = None
        saboteur.reach(f"before-{kind}")
        stored = append(self, subject, data, **options)
        saboteur.on_the_wire(f"during-{kind}")
        stored.add_done_callback(lambda _: saboteur.reach(f"after-{kind}"))  # before whoever awaits it goes on
        return stored

    NatsLog.append = wrapped  # type: ignore[method-assign]  # that is the point


def _wrap_batches(saboteur: Saboteur) -> None:
    append_all = NatsLog.append_all

    async def wrapped(self: NatsLog, entries: Sequence[Entry]) -> None:
        kind = kind_of(entries[0].subject)
        if saboteur.naive:
            if kind == "plan":
                return
            if saboteur.naive == "all":
                entries = [msgspec.structs.replace(entry, id=secrets.token_hex(8)) for entry in entries]
        saboteur.reach(f"before-{kind}")
        saboteur.on_the_wire(f"during-{kind}")
        await append_all(self, entries)
        saboteur.reach(f"after-{kind}")

    NatsLog.append_all = wrapped  # type: ignore[method-assign]


def _wrap_ends(saboteur: Saboteur) -> None:
    ack, run, watch, forget = NatsDelivery.ack, Executor.run, Watchdog.watch, Watchdog.forget

    def wrapped_ack(self: NatsDelivery) -> None:
        saboteur.reach("before-ack")
        ack(self)
        saboteur.on_the_wire("after-ack")

    async def wrapped_run(self: Executor, bound: Bound, *args: Any, **options: Any) -> Any:
        if bound.is_async:  # the watchdog sees it, as it does one that is called without `Executor.run`
            return await run(self, bound, *args, **options)
        saboteur.reach("before-handler")
        result = await run(self, bound, *args, **options)
        saboteur.reach("after-handler")
        return result

    def wrapped_watch(self: Watchdog, *args: Any) -> None:
        saboteur.reach("before-handler")
        watch(self, *args)

    def wrapped_forget(self: Watchdog, *args: Any) -> None:
        forget(self, *args)
        saboteur.reach("after-handler")

    NatsDelivery.ack = wrapped_ack  # type: ignore[method-assign]
    Executor.run = wrapped_run  # type: ignore[method-assign]
    Watchdog.watch = wrapped_watch  # type: ignore[method-assign]
    Watchdog.forget = wrapped_forget  # type: ignore[method-assign]


def _forget_plans() -> None:
    last = NatsLog.last

    async def wrapped(self: NatsLog, subject: str) -> Record | None:
        return None if subject.startswith("tx.") else await last(self, subject)

    NatsLog.last = wrapped  # type: ignore[method-assign]
