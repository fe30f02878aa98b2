"""(c) of `make bench`: 20,000 events through two steps. Step a validates, writes one state key and emits to b; b counts.

Three programs do the same work, one after the other in each round, each on a fresh nats-server: the app (`motia start`, tracing on), a hand-written pipelined
program on nats-py's public API, and one on our own link without a framework. A publisher, the same for all three, feeds them while they run.
Prints medians and ratios. `python tests/benchmarks/bench_pipeline.py [--events N] [--rounds N]`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

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
async def handler(data, ctx):
    await ctx.state.orders.set(data.id, data)
    await ctx.emit("b", data)
"""
B = """
import os

seen, goal = 0, int(os.environ["GOAL"])

async def handler(data, ctx):
    global seen
    seen += 1
    if seen == goal:
        print("done", flush=True)
"""


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


async def one(how: str, events: int) -> float:
    """Seconds from the first publish to the last count of b."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = await EmbeddedServer.start(folder)
        try:
            env = clean_environ()
            if how == "motia":
                write_app(folder)
                env |= {"NATS_URL": server.url, "NATS_TOKEN": server.token, "GOAL": str(events)}
                command = [sys.executable, "-m", "motia_runtime", "-C", str(folder), "start", "--port", "0"]
                ready, prefix = "http://", "pipe"
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
                publisher = asyncio.create_task(publish(server.settings, prefix, events))
                await _line(process.stdout, "done")
                took = time.perf_counter() - began
                await publisher
                return took
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()
        finally:
            await server.stop()


async def _line(stream: asyncio.StreamReader, text: str) -> None:
    seen = []
    async with asyncio.timeout(180):
        async for line in stream:
            seen.append(line.decode(errors="replace"))
            if text in seen[-1]:
                return
    raise SystemExit(f"no line with {text!r}:\n{''.join(seen[-40:])}")


async def main(events: int, rounds: int) -> None:
    programs = ("motia", "nats-py", "link")
    rates: dict[str, list[float]] = {how: [] for how in programs}
    for _ in range(rounds):
        for how in programs:
            rates[how].append(events / await one(how, events))
    medians = {how: statistics.median(found) for how, found in rates.items()}
    titles = {"motia": "motia start", "nats-py": "hand-written, nats-py", "link": "hand-written, our link"}
    print(f"pipeline of {events:,} events, {rounds} rounds, events/s")
    print(f"{'program':26} {'median':>8} {'min':>8} {'max':>8} {'motia / it':>11}")
    for how in programs:
        found = rates[how]
        print(
            f"{titles[how]:26} {medians[how]:8,.0f} {min(found):8,.0f} {max(found):8,.0f} {medians['motia'] / medians[how]:11.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    asyncio.run(main(args.events, args.rounds))
