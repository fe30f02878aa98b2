"""What the log costs on a real server, in alternation, medians of the rounds.

`nats-py`: its own calls, as its documentation has them. `plain`: our log on nats-py's public names. `fast`: our log on our own hot path.

python tests/benchmarks/bench_log.py [ROUNDS] [--uvloop]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import nats

from motia_runtime.naming import state_subject
from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_runtime.ports import Consumer, Delivery, Entry
from motia_spec.model import Nats, Project

DATA = b"x" * 128
HEADERS = {"Motia-Trace": "0" * 32, "Motia-Id": "0" * 26}
AWAITED = 400  # appends
FLIGHT = 12_000  # appends
RECORDS = 12_000  # consumed

Numbers = dict[str, float]


async def awaited(log: NatsLog, numbers: Numbers) -> None:
    times = []
    for n in range(AWAITED):
        began = time.perf_counter()
        await log.append("ev.awaited", DATA, headers=HEADERS, id=f"a{n}")
        times.append(time.perf_counter() - began)
    numbers["append awaited, p50 us"] = statistics.median(times) * 1e6
    times = []
    key = state_subject("g", "k")
    for _ in range(AWAITED):
        began = time.perf_counter()
        await log.last(key)
        times.append(time.perf_counter() - began)
    numbers["last, p50 us"] = statistics.median(times) * 1e6


async def in_flight(log: NatsLog, width: int, numbers: Numbers) -> None:
    left = FLIGHT

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await log.append("ev.flight", DATA, headers=HEADERS, id=f"{width}-{left}")

    began = time.perf_counter()
    await asyncio.gather(*[worker() for _ in range(width)])
    numbers[f"append, {width} in flight, /s"] = FLIGHT / (time.perf_counter() - began)


async def consumed(log: NatsLog, numbers: Numbers) -> None:
    finished = asyncio.Event()
    seen = 0
    consumer: Consumer

    def deliver(delivery: Delivery) -> None:
        nonlocal seen
        seen += 1
        delivery.ack()
        consumer.resume(1)
        if seen == RECORDS:
            finished.set()

    consumer = await log.consume("bench", ["ev.bench"], deliver, credit=256)
    await consumer.stop()
    for start in range(0, RECORDS, 2000):
        await asyncio.gather(*[log.append("ev.bench", DATA, headers=HEADERS) for n in range(start, start + 2000)])
    began = time.perf_counter()
    consumer = await log.consume("bench", ["ev.bench"], deliver, credit=256)
    await finished.wait()
    numbers["consume and ack, /s"] = RECORDS / (time.perf_counter() - began)
    await consumer.stop()
    seen = 0
    latencies = []
    arrived: asyncio.Queue[float] = asyncio.Queue()

    def arrive(delivery: Delivery) -> None:
        delivery.ack()
        consumer.resume(1)
        arrived.put_nowait(time.perf_counter())

    consumer = await log.consume("bench", ["ev.bench"], arrive, credit=256)
    for _ in range(AWAITED):
        began = time.perf_counter()
        pending = log.append("ev.bench", DATA, headers=HEADERS)
        latencies.append(await arrived.get() - began)
        await pending
    await consumer.stop()
    numbers["append to delivery, p50 us"] = statistics.median(latencies) * 1e6


async def batches(log: NatsLog, numbers: Numbers) -> None:
    times = []
    for n in range(40):
        began = time.perf_counter()
        await log.append_all([Entry(subject=state_subject("g", k), data=b"%d" % n) for k in "ab"])
        times.append(time.perf_counter() - began)
    numbers["append_all of 2, p50 us"] = statistics.median(times) * 1e6
    began = time.perf_counter()
    for start in range(0, 1024, 64):
        entries = [
            [Entry(subject=state_subject("g", f"{k}{n}"), data=DATA) for k in "ab"] for n in range(start, start + 64)
        ]
        await asyncio.gather(*map(log.append_all, entries))
    numbers["append_all of 2, 64 at once, /s"] = 1024 / (time.perf_counter() - began)


async def one_round(server: EmbeddedServer, prefix: str, fast: bool) -> Numbers:
    link = await connect(server.settings, name="bench", fast=fast)
    project = Project(root=Path("/"), files=(), name="bench", nats=Nats(prefix=prefix))
    await reconcile(link, project, store=server.store)
    log = NatsLog(link, project.nats, store=server.store)
    numbers: Numbers = {}
    await awaited(log, numbers)
    for width in (64, 256):
        await in_flight(log, width, numbers)
    await consumed(log, numbers)
    await batches(log, numbers)
    await link.close()
    return numbers


async def nats_py(server: EmbeddedServer, prefix: str) -> Numbers:
    """The same work by nats-py's own calls: publish, and fetch with ack."""
    client = await nats.connect(server.url, token=server.token)
    stream = client.jetstream()
    await stream.add_stream(name=prefix, subjects=[f"{prefix}.>"], duplicate_window=600)
    numbers: Numbers = {}
    times = []
    for n in range(AWAITED):
        began = time.perf_counter()
        await stream.publish(f"{prefix}.awaited", DATA, headers={**HEADERS, "Nats-Msg-Id": f"a{n}"})
        times.append(time.perf_counter() - began)
    numbers["append awaited, p50 us"] = statistics.median(times) * 1e6
    for width in (64, 256):
        left = FLIGHT

        async def worker(width: int = width) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await stream.publish(f"{prefix}.flight", DATA, headers={**HEADERS, "Nats-Msg-Id": f"{width}-{left}"})

        began = time.perf_counter()
        await asyncio.gather(*[worker() for _ in range(width)])
        numbers[f"append, {width} in flight, /s"] = FLIGHT / (time.perf_counter() - began)
    subscription = await stream.pull_subscribe(f"{prefix}.flight", "bench")
    began = time.perf_counter()
    seen = 0
    while seen < RECORDS:
        for message in await subscription.fetch(256):
            await message.ack()
            seen += 1
    numbers["consume and ack, /s"] = RECORDS / (time.perf_counter() - began)
    await client.close()
    return numbers


async def main(rounds: int) -> None:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"fast": [], "plain": [], "nats-py": []})
    with tempfile.TemporaryDirectory() as folder:
        starts = []
        for _ in range(5):
            began = time.perf_counter()
            server = await EmbeddedServer.start(Path(folder))
            starts.append(time.perf_counter() - began)
            await server.stop()
        server = await EmbeddedServer.start(Path(folder))
        for n in range(rounds):
            for kind in ("plain", "fast"):
                for name, value in (await one_round(server, f"{kind}{n}", kind == "fast")).items():
                    found[name][kind].append(value)
            for name, value in (await nats_py(server, f"own{n}")).items():
                found[name]["nats-py"].append(value)
        await server.stop()
    print(f"start of the private server: {statistics.median(starts) * 1e3:.0f} ms (median of 5)\n")
    print(
        f"{'median of ' + str(rounds) + ' rounds':32}{'nats-py':>10}{'plain':>10}{'fast':>10}   fast to nats-py, to plain"
    )
    for name, values in found.items():
        own, plain, fast = [statistics.median(values[kind] or [0]) for kind in ("nats-py", "plain", "fast")]
        ratios = [(other / fast if name.endswith("us") else fast / other) if other else 0 for other in (own, plain)]
        shown = [f"{value:10,.0f}" if value else " " * 10 for value in (own, plain, fast)]
        print(f"{name:32}{''.join(shown)}   " + ", ".join(f"{r:.1f}x" if r else "-" for r in ratios))


if __name__ == "__main__":
    wanted = int(next((a for a in sys.argv[1:] if a.isdigit()), "3"))
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main(wanted))
    else:
        asyncio.run(main(wanted))
