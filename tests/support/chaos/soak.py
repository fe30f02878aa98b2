"""`python -m support.chaos.soak`: the app at a steady rate for a long time; what it holds on to is sampled, and must not grow.

The rate is a share of the peak, which is measured first by having the app drain a backlog. On a shared machine the peak is another one from minute to
minute, so the rate follows how fast the machine is (`Speed`), downwards. A line a sample: seconds, orders a second, that speed, the share that the host gave to
others, MiB, share of a CPU and file descriptors of app and nats-server, events waiting. At the end a straight line through the samples of the second half: growth per ten minutes. (The first half fills what has a
bound: ids of the last six minutes at the broker, records. Orders come again and again, so that the state is bounded as well: nats-server has all keys in memory.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import msgspec

from motia_runtime.naming import durable
from motia_runtime.nats.log import NatsLog
from motia_spec.model import EventStep, Project
from support.chaos.faults import World
from support.chaos.oracle import with_broker
from support.chaos.run import world

BATCH = 20  # orders of one request
ORDERS = 20_000  # then they come again
GROWTH = 4.0  # MiB of memory in ten minutes, more is a leak
BROKER_GROWTH = 40.0  # likewise; its collector of garbage leaves it tens of MiB up and down
FILES = 5  # descriptors, likewise


class Sample(msgspec.Struct, frozen=True):
    at: float  # seconds from the start
    app: float  # MiB
    broker: float  # MiB
    files: int  # descriptors of the app
    waiting: int  # events
    cpu: tuple[float, ...]  # seconds so far: app, broker, stolen by the host


def memory(pid: int) -> float:
    """Resident, in MiB."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu(pid: int) -> float:
    """Seconds that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stolen() -> float:
    """Seconds of CPU that the host gave to others since the machine began, a mean over its CPUs."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


def body(number: int) -> dict[str, object]:
    number %= ORDERS // BATCH
    orders = [{"id": f"o{number}-{n}", "kind": "plain", "hot": f"h{(number + n) % 16}"} for n in range(BATCH)]
    return {"id": f"b{number}", "orders": orders, "pairs": [], "turns": []}


class Speed(threading.Thread):
    """How fast this machine is from moment to moment: what a fixed piece of work costs in seconds of CPU, and how much of the CPUs the host gives to others.
    1 is how fast it was from the start to `mark`. The work reads and writes memory as an app does: arithmetic alone hardly notices who shares the caches."""

    WORK = json.dumps([body(number) for number in range(40)])  # to be read and written, some ms
    SPAN = 5  # looks, one a second, of which the middle one counts

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._looks: list[float] = []
        self._at_mark = 0.0
        self.start()

    def run(self) -> None:
        at, lost = time.monotonic(), stolen()
        while True:
            time.sleep(1)
            began = time.thread_time()
            json.dumps(json.loads(self.WORK))
            cost = time.thread_time() - began
            now, lost_now = time.monotonic(), stolen()
            self._looks.append((1 - (lost_now - lost) / (now - at)) / cost)
            at, lost = now, lost_now

    def mark(self) -> None:
        self._at_mark = statistics.median(self._looks)

    @property
    def now(self) -> float:
        return statistics.median(self._looks[-self.SPAN :]) / self._at_mark


def waiting(made: World, home: Path) -> int:
    """Events before the steps and in hand, all together."""

    async def use(log: NatsLog, project: Project) -> int:
        total = 0
        for step in project.steps.values():
            if isinstance(step, EventStep):
                backlog = await log.backlog(durable(step.name))
                total += backlog.waiting + backlog.in_flight
        return total

    return with_broker(made.broker.url, home, use)


def fill(url: str, orders: int, first: int) -> int:
    """As fast as they are taken; gives the number of the next request."""

    async def send() -> int:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            numbers = iter(range(first, first + orders // BATCH))

            async def one() -> None:
                for number in numbers:
                    (await client.post("/orders", json=body(number))).raise_for_status()

            await asyncio.gather(*(one() for _ in range(8)))
        return first + orders // BATCH

    return asyncio.run(send())


def peak(made: World, home: Path, orders: int) -> float:
    """Orders a second through the whole app, requests included."""
    began = time.monotonic()
    fill(made.instances[0].url, orders, 0)
    while waiting(made, home):
        time.sleep(0.2)
    return orders / (time.monotonic() - began)


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, a unit a second."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def load(url: str, rate: float, seconds: float, speed: Speed, sent: list[int], refused: list[int]) -> None:
    """That many orders a second, and fewer while the machine is slower."""

    async def send() -> None:
        end = due = time.monotonic()
        end += seconds
        async with httpx.AsyncClient(base_url=url, timeout=60) as client, asyncio.TaskGroup() as group:
            while due < end:
                group.create_task(post(client, 1_000_000 + len(sent)))
                sent.append(BATCH)
                due += BATCH / (rate * min(1.0, speed.now))
                await asyncio.sleep(due - time.monotonic())

    async def post(client: httpx.AsyncClient, number: int) -> None:
        status = (await client.post("/orders", json=body(number))).status_code
        if status != 202:
            refused.append(status)

    asyncio.run(send())


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the measured peak")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--warm", type=int, default=20_000, help="orders with which the peak is measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, world(Path(folder) / "w", instances=1) as made:
        home, app = Path(folder) / "w" / "app0", made.instances[0]
        speed = Speed()
        rate = asked.share * peak(made, home, asked.warm)
        speed.mark()
        print(f"{rate:.0f} orders a second, {asked.share:.0%} of the peak, for {asked.minutes:g} minutes", flush=True)
        sent: list[int] = []
        refused: list[int] = []
        seconds = asked.minutes * 60
        sending = threading.Thread(target=load, args=(app.url, rate, seconds, speed, sent, refused), daemon=True)
        sending.start()
        began, samples, counted = time.monotonic(), [], 0
        last = Sample(0.0, 0.0, 0.0, 0, 0, (cpu(app.pid), cpu(made.broker.pid), stolen()))
        while sending.is_alive():
            sending.join(asked.every)
            at = time.monotonic() - began
            used = (cpu(app.pid), cpu(made.broker.pid), stolen())
            found = Sample(at, memory(app.pid), memory(made.broker.pid), files(app.pid), waiting(made, home), used)
            orders, counted = sum(sent[counted:]), len(sent)
            shares = [(now - then) / (at - last.at) for now, then in zip(used, last.cpu, strict=True)]
            samples.append(found)
            print(
                f"{at:7.0f} s  {orders / (at - last.at):4.0f} orders/s  speed {speed.now:.2f}, {shares[2]:3.0%} stolen  "
                f"app {found.app:6.1f} MiB {shares[0]:4.0%} {found.files:3d} files  nats-server {found.broker:6.1f} MiB {shares[1]:4.0%}  "
                f"{found.waiting} waiting",
                flush=True,
            )
            last = found
        print(f"{sum(sent):9d}  orders, {sum(sent) / samples[-1].at:.0f} a second")
        return 1 if conclude(samples, refused) else 0


def conclude(samples: list[Sample], refused: list[int]) -> bool:
    """Print the lines through the samples. True: something grows that should not."""
    late = [sample for sample in samples if sample.at > samples[-1].at / 2]
    judged = (
        ("app, MiB", [s.app for s in late], GROWTH),
        ("nats-server, MiB", [s.broker for s in late], BROKER_GROWTH),
        ("files", [float(s.files) for s in late], FILES),
        ("waiting", [float(s.waiting) for s in late], BATCH * 10),
    )
    grows = False
    for what, values, most in judged:
        growth = 600 * slope([(s.at, value) for s, value in zip(late, values, strict=True)])
        grows |= growth > most
        print(f"{growth:+9.2f}  {what} in ten minutes, {most:g} at most")
    print(f"{len(refused):9d}  requests refused")
    return bool(refused) or grows


if __name__ == "__main__":
    sys.exit(main())
