"""Where the limits of one broker are: many steps, many keys of state, many waiting events.

python tests/benchmarks/bench_limits.py [--full] [--steps 100] [--keys 100000] [--waiting 100000] [--drain 60]

Each part has a broker and a folder of its own. The app is a real `motia start`; what it finds is put there through the log, as the engine
does it. A drain ends after `--drain` seconds or with the last event. `--full` is ten times as much of everything: 1,000 steps, a million
keys, a million events; it takes some minutes and 2 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from motia_runtime.cli.loop import run_loop
from motia_runtime.naming import durable, event_subject, state_subject
from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_spec import compile_project
from support.process import AppProcess, write_project

WINDOW = 2_000  # appends under way at once
DATA = b'{"id":"%d","note":"' + b"x" * 100 + b'"}'
PROBES = 1_000  # single reads and writes whose time is taken
EVENTS = 5_000  # spread over many steps
IDLE = 5.0  # seconds over which the cost of doing nothing is taken
WORK = "async def handler(data, ctx):\n    pass\n"


class Bench:
    """One broker with an app's streams on it. Made by `on_broker`."""

    def __init__(self, server: EmbeddedServer, log: NatsLog, folder: Path) -> None:
        self.server = server
        self.log = log
        self.folder = folder
        self.env = {"NATS_URL": server.url, "NATS_TOKEN": server.token}

    def app(self) -> AppProcess:
        return AppProcess(self.folder, "start", (), self.env)

    @property
    def sizes(self) -> str:
        stored = sum(file.stat().st_size for file in self.server.store.rglob("*") if file.is_file())
        return f"broker {memory(self.server.pid):.0f} MB resident, {stored / 1e6:,.0f} MB on disk"


async def on_broker(spec: str, handlers: dict[str, str], use: Callable[[Bench], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write_project(Path(name), spec, **handlers)
        project = compile_project(folder).require()
        server = await EmbeddedServer.start(folder / "broker")
        try:
            link = await connect(server.settings, name="bench")
            try:
                await reconcile(link, project, store=server.store)
                await use(Bench(server, NatsLog(link, project.nats, store=server.store), folder))
            finally:
                await link.close()
        finally:
            await server.stop()


def memory(pid: int) -> float:
    """Resident MB of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory")


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def append_all(log: NatsLog, records: Iterable[tuple[str, bytes]]) -> float:
    """Appends a second, many under way."""
    began, count = time.perf_counter(), 0
    under_way: list[asyncio.Future[int]] = []
    for subject, data in records:
        under_way.append(log.append(subject, data))
        count += 1
        if len(under_way) >= WINDOW:
            await asyncio.gather(*under_way)
            under_way.clear()
    await asyncio.gather(*under_way)
    return count / (time.perf_counter() - began)


async def drained(log: NatsLog, names: list[str], most: float) -> tuple[int, float]:
    """Wait until the consumers have nothing before them, `most` seconds at most: (left over, seconds)."""
    began = time.perf_counter()
    while True:
        backlogs = await log.backlogs()
        left = sum(backlogs[name].waiting + backlogs[name].in_flight for name in names)
        took = time.perf_counter() - began
        if not left or took > most:
            return left, took
        await asyncio.sleep(0.1)


async def timed(calls: Iterable[Callable[[], Awaitable[object]]]) -> str:
    times = []
    for call in calls:
        began = time.perf_counter()
        await call()
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return f"p50 {times[len(times) // 2]:,.0f} us, p99 {times[len(times) * 99 // 100]:,.0f} us"


async def started(bench: Bench) -> tuple[AppProcess, float]:
    began = time.perf_counter()
    app = bench.app()
    await asyncio.to_thread(app.wait_ready)
    return app, time.perf_counter() - began


async def ended(app: AppProcess) -> None:
    took = time.perf_counter()
    code = await asyncio.to_thread(app.stop, 40)
    print(f"  stopped with code {code} in {time.perf_counter() - took:.1f} s")


async def many_steps(count: int, most: float) -> None:
    """`count` steps on as many topics, each with a durable consumer that has a request open."""
    topics = "".join(f"  t{n}: {{}}\n" for n in range(count))
    steps = "".join(f"  S{n}: {{type: event, subscribes: [t{n}], handler: steps/work.py}}\n" for n in range(count))
    spec = f"name: limits\ntopics:\n{topics}steps:\n{steps}"

    async def use(bench: Bench) -> None:
        app, took = await started(bench)
        print(
            f"  first start, which makes the consumers: {took:.1f} s; app {memory(app.process.pid):.0f} MB; {bench.sizes}"
        )
        of_app, of_broker = cpu(app.process.pid), cpu(bench.server.pid)
        await asyncio.sleep(IDLE)
        of_app, of_broker = cpu(app.process.pid) - of_app, cpu(bench.server.pid) - of_broker
        print(f"  idle: app {of_app / IDLE:.1%}, broker {of_broker / IDLE:.1%} of a core")
        rate = await append_all(bench.log, ((event_subject(f"t{n % count}"), DATA % n) for n in range(EVENTS)))
        left, took = await drained(bench.log, [durable(f"S{n}") for n in range(count)], most)
        print(f"  {EVENTS:,} events over all steps: in at {rate:,.0f}/s, {EVENTS - left:,} done {took:.1f} s later")
        await ended(app)
        app, took = await started(bench)
        print(f"  second start: {took:.1f} s")
        await ended(app)

    await on_broker(spec, {"work": WORK}, use)


async def many_keys(count: int, _most: float) -> None:
    """`count` keys of one group of state."""
    spec = "name: limits\nstate: {big: {}}\nsteps:\n  Work: {type: cron, cron: '@yearly'}\n"

    async def use(bench: Bench) -> None:
        log = bench.log
        rate = await append_all(log, ((state_subject("big", f"k{n}"), DATA % n) for n in range(count)))
        print(f"  written at {rate:,.0f}/s; {bench.sizes}")
        keys = [state_subject("big", f"k{n * count // PROBES}") for n in range(PROBES)]
        print(f"  get: {await timed((lambda key=key: log.last(key)) for key in keys)}")
        print(f"  set: {await timed((lambda key=key: log.append(key, DATA % 0)) for key in keys)}")
        app, took = await started(bench)
        print(f"  start of an app on it: {took:.1f} s")
        await ended(app)
        url, began = bench.server.url, time.perf_counter()
        await bench.server.stop()
        again = await EmbeddedServer.start(bench.folder / "broker", port=int(url.rpartition(":")[2]))
        try:
            ready = time.perf_counter() - began
            other = await connect(again.settings, name="again")
            await other.close()
            print(f"  broker stopped and started: {ready:.2f} s; {memory(again.pid):.0f} MB resident afterwards")
        finally:
            await again.stop()

    await on_broker(spec, {"work": "async def handler(ctx):\n    pass\n"}, use)


async def many_waiting(count: int, most: float) -> None:
    """`count` events that wait for one step, then an app that drains them."""
    spec = "name: limits\ntopics: {job: {}}\nsteps:\n  Work: {type: event, subscribes: [job]}\n"

    async def use(bench: Bench) -> None:
        log = bench.log
        consumer = await log.consume(durable("Work"), [event_subject("job"), "retry.Work"], lambda _: None, credit=0)
        await consumer.stop()
        rate = await append_all(log, ((event_subject("job"), DATA % n) for n in range(count)))
        print(f"  put in at {rate:,.0f}/s; {bench.sizes}")
        app, took = await started(bench)
        left, drain = await drained(log, [durable("Work")], most)
        print(f"  start of the app: {took:.1f} s; drained at {(count - left) / (took + drain):,.0f}/s, {left:,} left")
        print(f"  app {memory(app.process.pid):.0f} MB; {bench.sizes}")
        await ended(app)

    await on_broker(spec, {"work": WORK}, use)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ten times as much")
    for name, default in (("steps", 100), ("keys", 100_000), ("waiting", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default, help="0 leaves this part out")
    parser.add_argument("--drain", type=float, default=60.0, help="seconds that a drain may take")
    asked = parser.parse_args()
    parts = (("steps", many_steps), ("keys", many_keys), ("waiting", many_waiting))
    for name, part in parts:
        count = getattr(asked, name) * (10 if asked.full else 1)
        if count:
            print(f"{count:,} {name}", flush=True)
            run_loop(part(count, asked.drain))


if __name__ == "__main__":
    main()
