"""Orders sent to an app while things break, and the oracle that counts what became of them.

An order that was accepted (2xx) must end in the ledger exactly once. One that was refused or cut off may have got there or not, but never
twice. The project books each order by two events in a row, each with a state write of its own.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from support.process import write_project
from support.waiting import wait_for

SPEC = """
name: ledger
nats: {replicas: REPLICAS}
topics: {order: {}, paid: {}}
state: {orders: {}, ledger: {}}
steps:
  Accept: {type: api, method: POST, path: /orders, emits: [order]}
  Pay: {type: event, subscribes: [order], emits: [paid], concurrency: {limit: 50}}
  Book: {type: event, subscribes: [paid]}
  Ledger: {type: api, method: GET, path: /ledger}
"""
ACCEPT = """
async def handler(request, ctx):
    await ctx.emit("order", {"id": request.body})
    return {"status": 202, "body": {}}
"""
PAY = """
import asyncio

async def handler(data, ctx):
    await ctx.state.orders.update(data["id"], lambda old: (old or 0) + 1)
    await asyncio.sleep(0.05)
    await ctx.emit("paid", data)
"""
BOOK = """
async def handler(data, ctx):
    await ctx.state.ledger.update(data["id"], lambda old: (old or 0) + 1)
"""
LEDGER = """
async def handler(request, ctx):
    return {"orders": await ctx.state.orders.items(), "ledger": await ctx.state.ledger.items()}
"""


def ledger_project(folder: Path, *, replicas: int = 1) -> Path:
    spec = SPEC.replace("REPLICAS", str(replicas))
    return write_project(folder, spec, accept=ACCEPT, pay=PAY, book=BOOK, ledger=LEDGER)


class Orders:
    """Clients that order again and again, by turns from the URLs that `urls` gives at the moment. Made by `ordering`."""

    def __init__(self, urls: Callable[[], list[str]], clients: int, pause: float) -> None:
        self.accepted: set[str] = set()
        self.refused: list[tuple[float, int, dict[str, str]]] = []  # seconds it took, status, headers
        self.cut = 0  # connections that ended without an answer
        self.slowest = 0.0  # seconds, of an accepted one
        self.last = time.monotonic()  # when the newest was accepted
        self._name = secrets.token_hex(3)  # ids of several loads on one app differ
        self._urls = urls
        self._pause = pause
        self._lock = threading.Lock()
        self._next = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._order, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def _id(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _order(self) -> None:
        with httpx.Client(timeout=40) as client:
            while not self._stop.is_set():
                number, urls = self._number(), self._urls()
                began = time.monotonic()
                try:
                    answer = client.post(urls[number % len(urls)] + "/orders", json=self._id(number))
                except httpx.TransportError:
                    self.cut += 1
                    self._stop.wait(0.02)
                    continue
                now = time.monotonic()
                with self._lock:
                    if answer.is_success:
                        self.accepted.add(self._id(number))
                        self.slowest = max(self.slowest, now - began)
                        self.last = now
                    else:
                        self.refused.append((now - began, answer.status_code, dict(answer.headers)))
                self._stop.wait(self._pause if answer.is_success else 0.1)

    def await_more(self, count: int, what: str, seconds: float = 60.0) -> float:
        """Until `count` more have been accepted; the seconds until the first of them."""
        have, began = len(self.accepted), time.monotonic()
        first = 0.0

        def more() -> bool:
            nonlocal first
            if not first and len(self.accepted) > have:
                first = time.monotonic() - began
            return len(self.accepted) >= have + count

        wait_for(more, f"{what}: {count} more orders were not accepted", seconds)
        return first


@contextlib.contextmanager
def ordering(urls: Callable[[], list[str]], *, clients: int = 4, pause: float = 0.01) -> Iterator[Orders]:
    """Orders sent for as long as the block lasts, each client resting `pause` seconds after each."""
    orders = Orders(urls, clients, pause)
    orders.start()
    try:
        yield orders
    finally:
        orders.stop()


def read_ledger(url: str) -> dict[str, dict[str, Any]]:
    """Groups `orders` and `ledger`; empty while the app can't read them."""
    try:
        answer = httpx.get(url + "/ledger", timeout=30)
    except httpx.TransportError:
        return {"orders": {}, "ledger": {}}
    return dict(answer.json()) if answer.status_code == 200 else {"orders": {}, "ledger": {}}


def check_ledger(url: str, accepted: set[str], seconds: float = 60.0) -> None:
    """Wait until every accepted order is in the ledger, then see that no effect was doubled."""
    found: dict[str, dict[str, Any]] = {}

    def complete() -> bool:
        found.update(read_ledger(url))
        return accepted <= found["ledger"].keys()

    try:
        wait_for(complete, "the ledger is not complete", seconds)
    except AssertionError:
        missing = sorted(accepted - found["ledger"].keys())
        raise AssertionError(
            f"{len(missing)} of {len(accepted)} accepted orders are not in the ledger after {seconds:g} s, "
            f"{len(set(missing) - found['orders'].keys())} of them not even paid: {missing[:10]}"
        ) from None
    for group in ("orders", "ledger"):
        doubled = {order: count for order, count in found[group].items() if count != 1}
        assert not doubled, f"effects were doubled in {group}: {doubled}"
