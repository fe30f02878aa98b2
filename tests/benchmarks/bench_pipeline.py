"""(c) of `make bench`: 20,000 events through two steps. Step a validates, writes one state key and emits to b; b counts.

Programs that do the same work, one after the other in each round, each on a fresh nats-server: the app (`motia start`, tracing on, effects exactly once), in one process
and in two; a hand-written pipelined program on nats-py's public API; one on our own link without a framework; and FastStream, when its environment is there (`make bench` makes
it). A publisher, the same for all, feeds them while they run. Then, with one event at a time, the latency from the publish to b.
Prints medians and ratios, what an event costs the program, the broker and the publisher in CPU time, and how many cores that was at this rate: on a machine
of few they share them, and a second process of the app has what the others leave. `--work` has each handler of the app work for so long, as real ones do.
`python tests/benchmarks/bench_pipeline.py [--events N] [--rounds N] [--work MS] [--only NAME ...]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from shapes import SCHEMA, order  # noqa: E402  # the path must be set first

from motia_runtime.nats.connect import Settings, connect  # noqa: E402
from motia_runtime.nats.embedded import EmbeddedServer  # noqa: E402
from motia_runtime.nats.log import NatsLog  # noqa: E402
from motia_spec.model import Nats  # noqa: E402
from support.process import clean_environ  # noqa: E402

SPEC = f"""
name: pipe
schemas:
  Order:
{textwrap.indent(SCHEMA, "    ")}
topics:
  a: {{schema: {{$ref: "#/schemas/Order"}}, external: in}}
  b: {{schema: {{$ref: "#/schemas/Order"}}}}
state:
  orders: {{schema: {{$ref: "#/schemas/Order"}}}}
steps:
  A: {{type: event, subscribes: [a], emits: [b], uses: {{state: [orders]}}}}
  B: {{type: event, subscribes: [b]}}
nats: {{url: "${{NATS_URL}}", prefix: pipe}}
"""
A = """
import sys
import os

sys.path.append(os.environ["BENCHMARKS"])

from latencies import work

async def handler(data, ctx):
    work()
    await ctx.state.orders.set(data.id, data)
    await ctx.emit("b", data)
"""
B = """
import os
import sys

sys.path.append(os.environ["BENCHMARKS"])

from latencies import Latencies, work

latencies, goal, pid = Latencies(), int(os.environ["GOAL"]), os.getpid()

async def handler(data, ctx):
    work()
    latencies.add(data)
    if latencies.seen % 10 == 0:
        os.write(1, b"seen %d %d\\n" % (pid, latencies.seen))
    if latencies.seen == goal:
        print("done " + latencies.shown(), flush=True)
"""
PEERS = HERE.parents[1] / ".venv" / "peers" / "bin" / "python"
TITLES = {
    "motia": "motia start",
    "motia-2": "motia start --workers 2",
    "nats-py": "hand-written, nats-py",
    "link": "hand-written, our link",
    "faststream": "FastStream",
}
SLOW_EVENTS = 500
UNCOUNTED = 30  # of two processes, which tell of every tenth event only


def write_app(folder: Path) -> None:
    (folder / "steps").mkdir(parents=True, exist_ok=True)
    (folder / "motia.yaml").write_text(SPEC)
    (folder / "steps" / "a.py").write_text(textwrap.dedent(A))
    (folder / "steps" / "b.py").write_text(textwrap.dedent(B))


async def publish(settings: Settings, prefix: str, events: int) -> None:
    link = await connect(settings, name="publisher")
    log = NatsLog(link, Nats(prefix=prefix))
    payloads = [msgspec.json.encode(order(n)) for n in range(events)]
    for start in range(0, events, 500):
        await asyncio.gather(*(log.append("ev.a", data) for data in payloads[start : start + 500]))
    await link.close()


async def publish_slowly(settings: Settings, prefix: str, events: int) -> None:
    """One event every 10 ms, with its time."""
    link = await connect(settings, name="publisher")
    log = NatsLog(link, Nats(prefix=prefix))
    for number in range(events):
        await asyncio.sleep(0.01)
        await log.append("ev.a", msgspec.json.encode({**order(number), "note": f"t={time.time()!r}"}))
    await link.close()


def cpu(pid: int) -> float:
    """Seconds that a process and those it has started have worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return own + sum(map(cpu, map(int, children.split())))


class Took(NamedTuple):
    seconds: float  # from the first publish to the last count of b
    cpu: list[float]  # seconds of the program, the broker and the publisher
    late: list[float]  # ms: median, 99th percentile


async def one(how: str, events: int, *, slowly: bool = False) -> Took:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = await EmbeddedServer.start(folder)
        try:
            env = clean_environ()
            if how.startswith("motia"):
                write_app(folder)
                env |= {
                    "NATS_URL": server.url,
                    "NATS_TOKEN": server.token,
                    "GOAL": str(events),
                    "BENCHMARKS": str(HERE),
                }
                command = [sys.executable, "-m", "motia_runtime", "-C", str(folder), "start", "--port", "0"]
                command += ["--workers", "2"] if how == "motia-2" else []
                ready, prefix = "http://", "pipe"
            elif how == "faststream":
                command = [str(PEERS), str(HERE / "faststream_pipeline.py"), server.url, server.token, str(events)]
                ready, prefix = "ready", "raw"
            else:
                command = [sys.executable, str(HERE / "raw_pipeline.py"), how, server.url, server.token, str(events)]
                ready, prefix = "ready", "raw"
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, limit=1 << 20
            )
            assert process.stdout is not None
            try:
                await _line(process.stdout, ready)
                began = time.perf_counter()
                pids = process.pid, server.pid, os.getpid()
                before = [cpu(pid) for pid in pids[:2]] + [time.process_time()]
                feed = publish_slowly if slowly else publish
                publisher = asyncio.create_task(feed(server.settings, prefix, events))
                if how == "motia-2":
                    await _counted(process.stdout, events - UNCOUNTED)
                    told = ""
                else:
                    told = await _line(process.stdout, "done")
                took = time.perf_counter() - began
                await publisher
                after = [cpu(pid) for pid in pids[:2]] + [time.process_time()]
                spent = [now - then for now, then in zip(after, before, strict=True)]
                return Took(took, spent, [float(word) for word in told.split()[1:]])
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()
        finally:
            await server.stop()


async def _line(stream: asyncio.StreamReader, text: str) -> str:
    seen = []
    async with asyncio.timeout(180):
        async for line in stream:
            seen.append(line.decode(errors="replace"))
            if text in seen[-1] and not seen[-1].startswith("seen "):
                return seen[-1]
    raise SystemExit(f"no line with {text!r}:\n{''.join(seen[-40:])}")


async def _counted(stream: asyncio.StreamReader, goal: int) -> None:
    counts: dict[bytes, int] = {}
    async with asyncio.timeout(180):
        async for line in stream:
            if line.startswith(b"seen "):
                _, process, count = line.split()
                counts[process] = int(count)
                if sum(counts.values()) >= goal:
                    return


async def main(events: int, rounds: int, programs: list[str], work: float) -> None:
    os.environ["WORK"] = str(work)
    rates: dict[str, list[float]] = {how: [] for how in programs}
    spent: dict[str, list[list[float]]] = {how: [] for how in programs}
    late: dict[str, list[list[float]]] = {how: [] for how in programs if how != "motia-2"}
    for _ in range(rounds):
        for how in programs:
            goal = events if how != "faststream" else events // 4
            took = await one(how, goal)
            rates[how].append(goal / took.seconds)
            spent[how].append([seconds / goal * 1e6 for seconds in took.cpu])
        for how in late:
            late[how].append((await one(how, SLOW_EVENTS, slowly=True)).late)
    medians = {how: statistics.median(found) for how, found in rates.items()}
    base = medians.get("motia", medians[programs[0]])
    print(f"pipeline of {events:,} events, {rounds} rounds, events/s (FastStream a quarter of the events)")
    if work:
        print(f"each handler of the app works for {work:g} ms; the other programs do not")
    print(
        f"{'program':26} {'median':>8} {'min':>8} {'max':>8} {'motia / it':>11}   CPU us/event: its, broker's, publisher's; cores"
    )
    for how in programs:
        found = rates[how]
        each = [statistics.median(values) for values in zip(*spent[how], strict=True)]
        shares = " ".join(f"{value:8.0f}" for value in each) + f" {medians[how] * sum(each) / 1e6:8.2f}"
        print(
            f"{TITLES[how]:26} {medians[how]:8,.0f} {min(found):8,.0f} {max(found):8,.0f} {base / medians[how]:11.2f}   {shares}"
        )
    print(f"\nlatency of one event at a time over both steps, ms ({SLOW_EVENTS} events, 100/s)")
    print(f"{'program':26} {'median':>8} {'p99':>8} {'motia / it':>11}")
    shown = {how: [statistics.median(values) for values in zip(*found, strict=True)] for how, found in late.items()}
    for how, (median, p99) in shown.items():
        print(f"{TITLES[how]:26} {median:8.2f} {p99:8.2f} {shown.get('motia', (median,))[0] / median:11.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=TITLES, default=[t for t in TITLES if t != "faststream" or PEERS.exists()]
    )
    parser.add_argument("--work", type=float, default=0.0, help="ms of CPU that each handler of the app takes")
    args = parser.parse_args()
    asyncio.run(main(args.events, args.rounds, args.only, args.work))
