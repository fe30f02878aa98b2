"""Requests at a steady rate, and what became of each: ok, fail (surely not taken) or unknown. An unknown one counts as neither done nor not done.

What was surely not taken is sent again, to the next instance, as a load balancer would; what is unknown is not.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from support.chaos import shop

Outcome = Literal["ok", "fail", "unknown"]

TIMEOUT = 15.0  # seconds until an answer is given up
REQUEST = 5  # orders
TRIES = 40
AGAIN = 0.25  # seconds
AT_ONCE = 64  # requests under way to one instance


@dataclass
class Batch:
    """One request: an api run."""

    id: str
    orders: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)
    outcome: Outcome = "fail"
    status: int = 0
    took: float = 0.0  # seconds
    tries: int = 0
    done: bool = False  # nothing of it is under way


def make_batches(seed: int, events: int, kinds: Collection[str] = shop.KINDS, *, plenty: bool = False) -> list[Batch]:
    """`events` orders, of them 1 in 100 poison, and some of each other kind that is asked for; a turn for every second, a pair for every tenth.
    `plenty`: ten times as many that fail."""
    rng = random.Random(seed)
    rare = max(2, events // 1000)
    many = 10 if plenty else 1
    shares = {
        "poison": many * events // 100,
        "flaky": many * events // 50,
        "slow": events // 50,
        "hang": rare,
        "large": 3 * rare,
    }
    shares |= {"exit": max(1, rare // 2), "crash": max(1, rare // 2)}
    mixed = [kind for kind, share in shares.items() if kind in kinds for _ in range(share)]
    mixed += ["plain"] * (events - len(mixed))
    rng.shuffle(mixed)
    turn = [0] * shop.TURNS
    batches = []
    for start in range(0, events, REQUEST):
        batch = Batch(f"b{start // REQUEST}")
        for number in range(start, min(start + REQUEST, events)):
            batch.orders.append({"id": f"o{number}", "kind": mixed[number], "hot": f"h{rng.randrange(shop.HOT)}"})
            if number % 10 == 0:
                batch.pairs.append({"id": f"p{number}", "key": f"k{rng.randrange(shop.PAIRS)}"})
            if number % 2 == 0:
                key = rng.randrange(shop.TURNS)
                batch.turns.append({"id": f"t{number}", "key": f"t{key}", "n": turn[key]})
                turn[key] += 1
        batches.append(batch)
    return batches


class Load:
    """Sends the batches in a thread of its own, spread over `seconds`, to the instances by turns."""

    def __init__(self, batches: Sequence[Batch], urls: Sequence[str], seconds: float) -> None:
        self._batches = batches
        self._urls = urls
        self._seconds = seconds
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), name="chaos-load", daemon=True)
        self._hurried = False
        # Not the client's own limit: when many requests time out while they wait for a place in its pool, places are lost for good
        # (httpcore 1.0: a connection made for a request that has given up stays CONNECTING)
        self._places = {url: asyncio.Semaphore(AT_ONCE) for url in urls}

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        left = [f"{batch.id} ({batch.tries} tries)" for batch in self._batches if not batch.done]
        assert not self._thread.is_alive(), f"{len(left)} requests are under way after {seconds:g} s: {left[:10]}"

    def hurry(self) -> None:
        """Send the rest at once."""
        self._hurried = True

    @property
    def sending(self) -> bool:
        return self._thread.is_alive()

    async def _send_all(self) -> None:
        began, pause = time.monotonic(), self._seconds / len(self._batches)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(TIMEOUT, pool=None), limits=limits) as client,
            asyncio.TaskGroup() as all_,
        ):
            for number, batch in enumerate(self._batches):
                await asyncio.sleep(0 if self._hurried else began + number * pause - time.monotonic())
                all_.create_task(self._send_somewhere(client, number, batch))

    async def _send_somewhere(self, client: httpx.AsyncClient, number: int, batch: Batch) -> None:
        for turn in range(TRIES):
            url = self._urls[(number + turn) % len(self._urls)]
            batch.tries += 1
            async with self._places[url]:
                await self._send(client, url, batch)
            if batch.outcome != "fail":
                break
            await asyncio.sleep(AGAIN)
        batch.done = True

    async def _send(self, client: httpx.AsyncClient, url: str, batch: Batch) -> None:
        body = {"id": batch.id, "orders": batch.orders, "pairs": batch.pairs, "turns": batch.turns}
        began = time.monotonic()
        batch.outcome = "unknown"  # unless proved otherwise
        try:
            answer = await client.post(url + "/orders", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            batch.outcome = "fail"
        except httpx.TransportError:
            pass
        else:
            batch.status = answer.status_code
            if answer.status_code == 202:
                batch.outcome = "ok"
            elif 400 <= answer.status_code < 500:
                batch.outcome = "fail"
        batch.took = time.monotonic() - began
