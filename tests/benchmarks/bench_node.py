"""A step in TypeScript against what it stands on: the same step in Python, a bare Node server, bare nats.js request-reply through the same nats-server.

    python tests/benchmarks/bench_node.py [--seconds 2] [--rounds 3] [--connections 1,16,64] [--events 5000]

    ts, python     `motia start`: a validated POST step, in TypeScript in the Node worker and in Python in the process
    node-http      a Node server that parses the same body and answers the same
    nats.js        the official client (from npm, into a temporary folder): one process asks, another answers; no HTTP, no framework

Peers take turns within a round. Then 5,000 events through two steps (validate, one state key, one emit; count), both in TypeScript and both in Python: events/s, and the latency of
one event at a time. Prints medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_http import ORDER, POST, measure  # noqa: E402  # the path must be set first
from bench_pipeline import publish, publish_slowly  # noqa: E402
from shapes import SCHEMA  # noqa: E402

from motia_runtime.nats.embedded import EmbeddedServer  # noqa: E402
from motia_runtime.remote import node  # noqa: E402
from support.process import clean_environ  # noqa: E402

CLIENT = "@nats-io/transport-node@3.4.0"
API = """
name: api
schemas:
  Order:
    type: object
    required: [customerId, items]
    properties:
      customerId: {type: string}
      note: {type: string}
      items:
        type: array
        items:
          type: object
          required: [sku, qty, price]
          properties: {sku: {type: string}, qty: {type: integer}, price: {type: number}}
steps:
  Ts: {type: api, method: POST, path: /ts, body: {$ref: "#/schemas/Order"}, handler: steps/orders.ts}
  Py: {type: api, method: POST, path: /py, body: {$ref: "#/schemas/Order"}, handler: steps/orders.py}
nats: {url: "${NATS_URL}", prefix: api}
"""
API_FILES = {
    "orders.ts": "export const handler = async (req: any) => ({ status: 200, body: { customer: req.body.customerId } })\n",
    "orders.py": "async def handler(request, ctx):\n    return {'customer': request.body.customer_id}\n",
}
PIPE = f"""
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
  A: {{type: event, subscribes: [a], emits: [b], handler: steps/a.ENDING}}
  B: {{type: event, subscribes: [b], handler: steps/b.ENDING}}
nats: {{url: "${{NATS_URL}}", prefix: pipe}}
"""
PIPE_FILES = {
    "a.ts": """
        export const handler = async (order: any, { state, emit }: any) => {
          await state.set("orders", order.id, order)
          await emit({ topic: "b", data: order })
        }
    """,
    "b.ts": """
        const goal = Number(process.env.GOAL)
        const took: number[] = []
        let seen = 0
        export const handler = async (order: any) => {
          seen += 1
          if (order.note?.startsWith("t=")) took.push(Date.now() - Number(order.note.slice(2)) * 1000)
          if (seen !== goal) return
          took.sort((a, b) => a - b)
          console.log("done " + (took.length ? took[took.length >> 1].toFixed(2) + " " + took[Math.floor(took.length * 0.99)].toFixed(2) : ""))
        }
    """,
    "a.py": """
        async def handler(data, ctx):
            await ctx.state.set("orders", data.id, data)
            await ctx.emit("b", data)
    """,
    "b.py": """
        import os, sys
        sys.path.append(os.environ["BENCHMARKS"])
        from latencies import Latencies
        latencies, goal = Latencies(), int(os.environ["GOAL"])
        async def handler(data, ctx):
            latencies.add(data)
            if latencies.seen == goal:
                print("done " + latencies.shown(), flush=True)
    """,
}
SLOW_EVENTS = 300


def write(folder: Path, spec: str, files: dict[str, str]) -> Path:
    (folder / "steps").mkdir(parents=True)
    (folder / "motia.yaml").write_text(spec)
    for name, source in files.items():
        (folder / "steps" / name).write_text(textwrap.dedent(source))
    return folder


def start(command: list[str], pattern: str, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """A process that says it is ready by a line that fits, and what is in the pattern's group."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.search(pattern, line):
            return process, found[1]
    raise SystemExit("".join(seen))


def motia_start(folder: Path, env: dict[str, str]) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "motia_runtime", "-C", str(folder), "start", "--port", "0"]
    return start(command, r"http://[^:]+:(\d+)", env=env)


async def api(folder: Path, env: dict[str, str], options: argparse.Namespace) -> None:
    program = node.find()
    bare = folder / "bare"
    bare.mkdir()
    (bare / "bare_nats.mjs").write_text((HERE / "bare_nats.mjs").read_text())
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", CLIENT]
    client = subprocess.run(install, cwd=bare, capture_output=True, text=True, check=False).returncode == 0
    app, port = motia_start(write(folder / "api", API, API_FILES), env)
    server, bare_port = start([program, str(HERE / "bare_http.mjs")], r"port (\d+)")
    running = [app, server]
    environ = {**env, "ORDER": ORDER.decode()}
    if client:
        running.append(start([program, "bare_nats.mjs", "serve"], "(ready)", cwd=bare, env=environ)[0])
    else:
        print(f"without nats.js: npm can't install {CLIENT} here")
    requests = {"ts": (port, b"/ts"), "python": (port, b"/py"), "node-http": (bare_port, b"/")}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    try:
        for who, (where, path) in requests.items():
            await measure(int(where), POST.replace(b"/orders", path, 1), 4, 1.0)
            del who
        for _ in range(options.rounds):
            for n in map(int, options.connections.split(",")):
                for who, (where, path) in requests.items():
                    request = POST.replace(b"/orders", path, 1)
                    found.setdefault((who, n), []).append(await measure(int(where), request, n, options.seconds))
                if client:
                    command = [program, "bare_nats.mjs", "ask", str(options.seconds), str(n)]
                    asked = subprocess.run(command, cwd=bare, env=environ, capture_output=True, text=True, check=True)
                    found.setdefault(("nats.js", n), []).append(tuple(json.loads(asked.stdout)))
    finally:
        for process in running:
            process.terminate()
            process.communicate()
    print("| connections | peer | req/s | of nats.js | p50 ms | over nats.js ms |")
    print("|---|---|---|---|---|---|")
    for who, n in sorted(found, key=lambda pair: pair[1]):
        rate, latency = (statistics.median(column) for column in zip(*found[who, n], strict=True))
        base = found.get(("nats.js", n))
        of = over = "-"
        if base:
            of = f"{rate / statistics.median(r for r, _ in base):.2f}"
            over = f"{latency - statistics.median(p for _, p in base):.2f}"
        print(f"| {n} | {who} | {rate:,.0f} | {of} | {latency:.2f} | {over} |")


async def pipe(ending: str, events: int, *, slowly: bool) -> tuple[float, list[float]]:
    """Seconds from the first publish to the last count, and latencies in ms: median, 99th percentile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = await EmbeddedServer.start(folder)
        try:
            files = {path: text for path, text in PIPE_FILES.items() if path.endswith(ending)}
            write(folder / "app", PIPE.replace("ENDING", ending), files)
            env = clean_environ() | broker.settings.environ() | {"GOAL": str(events), "BENCHMARKS": str(HERE)}
            process, _ = await asyncio.to_thread(motia_start, folder / "app", env)
            try:
                feed = publish_slowly if slowly else publish
                began = time.perf_counter()
                publisher = asyncio.create_task(feed(broker.settings, "pipe", events))
                told = await asyncio.to_thread(_done, process)
                took = time.perf_counter() - began
                await publisher
                return took, [float(number) for number in told]
            finally:
                process.terminate()
                process.communicate()
        finally:
            await broker.stop()


def _done(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"done ([\d.]+ [\d.]+|)", line):
            return found[1].split()
    raise SystemExit("the app ended")


async def pipelines(options: argparse.Namespace) -> None:
    print(f"\npipeline of {options.events:,} events through two steps, then {SLOW_EVENTS} one at a time")
    print("| steps in | events/s | p50 ms | p99 ms |")
    print("|---|---|---|---|")
    for ending, title in (("ts", "TypeScript"), ("py", "Python")):
        rates, late = [], []
        for _ in range(options.rounds):
            rates.append(options.events / (await pipe(ending, options.events, slowly=False))[0])
            late.append((await pipe(ending, SLOW_EVENTS, slowly=True))[1])
        p50, p99 = (statistics.median(column) for column in zip(*late, strict=True))
        print(f"| {title} | {statistics.median(rates):,.0f} | {p50:.2f} | {p99:.2f} |")


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        broker = await EmbeddedServer.start(Path(name))
        try:
            await api(Path(name), clean_environ() | broker.settings.environ(), options)
        finally:
            await broker.stop()
    await pipelines(options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--events", type=int, default=5_000)
    uvloop.run(main(parser.parse_args(sys.argv[1:])))
