"""HTTP benchmark: this server and application against bare ASGI and against plain Litestar handlers.

    python tests/benchmarks/bench_http.py [--seconds 2] [--rounds 3] [--connections 1,16,64] [--peers NAME,...]

Every peer runs in a process of its own, the load generator in another. Peers take turns within a round, so that load from elsewhere
meets all of them; the table holds medians over the rounds and ratios. Use ratios: absolute values depend on the machine. On a machine that does
other work as well, requests per second say how much of it was left; the server's CPU time per request is steadier: its ratios come last.

    app        `motia start`: an app with a GET step, a validated POST step and a POST step that emits one event; NATS, tracing, all of it
    http       the same steps behind guard, routing, headers and encoding, but with a runner that only calls the handler
    bare       an ASGI function that reads and validates the body and sends ready bytes, on our server; EMIT awaits nats-py's publish
    litestar   @get and @post with a msgspec body, on our server; EMIT awaits nats-py's publish
    bare-uvicorn, litestar-uvicorn   the same two on uvicorn's own server and protocol
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from motia_runtime.codec import Codec
from motia_runtime.nats.embedded import EmbeddedServer

ORDER = json.dumps(
    {
        "customerId": "c-4711",
        "items": [{"sku": f"book-{n}", "qty": n + 1, "price": 12.5} for n in range(4)],
        "note": "Please ring twice, the bell is old and the dog is older." * 2,
    }
).encode()
GET = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n"
POST = (
    b"POST /orders HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ORDER), ORDER)
)
REQUESTS = {"GET": GET, "POST": POST, "EMIT": POST.replace(b"/orders", b"/emit", 1)}

SPEC = """
name: bench
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
topics: {order: {schema: {$ref: "#/schemas/Order"}, external: out}}
steps:
  Hello: {type: api, method: GET, path: /hello}
  Orders: {type: api, method: POST, path: /orders, body: {$ref: "#/schemas/Order"}}
  Emit: {type: api, method: POST, path: /emit, body: {$ref: "#/schemas/Order"}, emits: [order]}
nats: {url: "${NATS_URL}", prefix: bench}
"""
STEPS = {
    "hello": 'async def handler(request, ctx):\n    return {"message": "hello"}\n',
    "orders": 'async def handler(request, ctx):\n    return {"customer": request.body.customer_id}\n',
    "emit": (
        "async def handler(request, ctx):\n"
        '    await ctx.emit("order", request.body)\n'
        '    return {"customer": request.body.customer_id}\n'
    ),
}


class Item(msgspec.Struct):
    sku: str
    qty: int
    price: float


class Order(msgspec.Struct):
    customerId: str  # the wire's name
    items: list[Item]
    note: str = ""


class Publisher:
    """nats-py's JetStream publish, connected at the first use; what a hand-written service does."""

    def __init__(self) -> None:
        self.js: Any = None

    async def __call__(self, data: bytes) -> None:
        if self.js is None:
            import nats
            from nats.js.api import StreamConfig

            client = await nats.connect(os.environ["NATS_URL"], token=os.environ["NATS_TOKEN"])
            self.js = client.jetstream()
            await self.js.add_stream(StreamConfig(name="raw", subjects=["raw.>"]))
        await self.js.publish("raw.order", data)


def bare_app() -> Any:
    decode = msgspec.json.Decoder(Order).decode
    hello = msgspec.json.encode({"message": "hello"})
    publish = Publisher()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            body = b""
            while True:
                message = await receive()
                body += message["body"]
                if not message["more_body"]:
                    break
            order = decode(body)
            if scope["path"] == "/emit":
                await publish(msgspec.json.encode(order))
            answer = msgspec.json.encode({"customer": order.customerId})
        else:
            answer = hello
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def litestar_app() -> Any:
    from litestar import Litestar, get, post

    @get("/hello")
    async def hello() -> dict[str, str]:
        return {"message": "hello"}

    @post("/orders", status_code=200)
    async def orders(data: Order) -> dict[str, str]:
        return {"customer": data.customerId}

    publish = Publisher()

    @post("/emit", status_code=200)
    async def emit(data: Order) -> dict[str, str]:
        await publish(msgspec.json.encode(data))
        return {"customer": data.customerId}

    return Litestar([hello, orders, emit], openapi_config=None, logging_config=None)


class Types:
    def codec(self, schema: Any) -> Codec:
        return Codec("order", Order)


class Runner:
    async def run_api(self, step: Any, request: Any, trace: Any, finish: Callable[[Any], Any], stream_to: Any) -> Any:
        return finish(await self.handlers[step.name](request))

    async def hello(self, request: Any) -> Any:
        return {"message": "hello"}

    async def orders(self, request: Any) -> Any:
        return {"customer": request.body.customerId}

    @property
    def handlers(self) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        return {"Hello": self.hello, "Orders": self.orders}


def our_app() -> Any:
    from motia_runtime.http.app import build_app
    from motia_runtime.http.guard import Hosts, Switch
    from motia_spec.model import ApiStep, Handler, Project, Schema

    handler = Handler(path="steps/x.py")
    order = Schema(id="step:Orders:body", value={})
    steps = (
        ApiStep(name="Hello", handler=handler, methods=("GET",), path="/hello"),
        ApiStep(name="Orders", handler=handler, methods=("POST",), path="/orders", body=order),
    )
    project = Project(root=Path("/"), files=(), name="bench", steps={step.name: step for step in steps})
    return Switch(build_app(project, Types(), Runner(), ready=lambda: True), Hosts("127.0.0.1", ()))


EMITTERS = ("app", "bare", "litestar")
APPS: dict[str, Callable[[], Any]] = {
    "bare": bare_app,
    "http": our_app,
    "litestar": litestar_app,
    "bare-uvicorn": bare_app,
    "litestar-uvicorn": litestar_app,
}


def run_server(peer: str, pipe: Any) -> None:
    async def main() -> None:
        from motia_runtime.http.server import serve

        app = APPS[peer]()
        if peer.endswith("-uvicorn"):
            import socket

            import uvicorn

            sock = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
            )
            pipe.send(sock.getsockname()[1])
            await uvicorn.Server(config).serve(sockets=[sock])
            return
        server = await serve(app, host="127.0.0.1", port=0)
        pipe.send(server.port)
        await server.wait_stopped()

    uvloop.run(main())


def start_app(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """`motia start` with the app of this benchmark, and its port."""
    (folder / "steps").mkdir(parents=True)
    (folder / "motia.yaml").write_text(SPEC)
    for name, source in STEPS.items():
        (folder / "steps" / f"{name}.py").write_text(source)
    process = subprocess.Popen(
        [sys.executable, "-m", "motia_runtime", "start", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://[^:]+:(\d+)", line):
            return process, int(found[1])
    raise SystemExit("motia start did not start")


class Client(asyncio.Protocol):
    """One connection that sends the next request as soon as the answer is there. Answers have a content-length."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = data if not self.buffer else self.buffer + data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.find(b"content-length: ") + 16
        if len(self.buffer) < end + 4 + int(self.buffer[at : self.buffer.find(b"\r\n", at)]):
            return
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self.buffer[:300])
        self.buffer = b""
        self.load.latencies.append(time.perf_counter() - self.sent)
        if time.perf_counter() < self.load.until:
            self.next()
        else:
            self.transport.close()


class Load:
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.latencies: list[float] = []
        self.until = 0.0


async def measure(port: int, request: bytes, connections: int, seconds: float) -> tuple[float, float]:
    """(requests/s, median latency in ms)."""
    loop = asyncio.get_running_loop()
    load = Load(request)
    began = time.perf_counter()
    load.until = began + seconds
    clients = [(await loop.create_connection(lambda: Client(load), "127.0.0.1", port))[1] for _ in range(connections)]
    while any(not client.transport.is_closing() for client in clients):
        await asyncio.sleep(0.01)
    return len(load.latencies) / (time.perf_counter() - began), statistics.median(load.latencies) * 1000


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        broker = await EmbeddedServer.start(Path(name))
        os.environ |= {"NATS_URL": broker.url, "NATS_TOKEN": broker.token}
        try:
            await compare(options, Path(name))
        finally:
            await broker.stop()


async def compare(options: argparse.Namespace, folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    peers = options.peers.split(",")
    connections = [int(n) for n in options.connections.split(",")]
    servers: dict[str, tuple[Any, int]] = {}
    for peer in peers:
        if peer == "app":
            servers[peer] = start_app(folder / "app")
            continue
        ours, theirs = context.Pipe()
        process = context.Process(target=run_server, args=(peer, theirs), daemon=True)
        process.start()
        servers[peer] = (process, ours.recv())
    results: dict[tuple[str, str, int], list[tuple[float, float, float]]] = {}
    try:
        for peer in peers:  # warm-up
            for method, request in REQUESTS.items():
                if method == "EMIT" and peer not in EMITTERS:
                    continue
                await measure(servers[peer][1], request, 4, 0.3)
        for _ in range(options.rounds):
            for method, request in REQUESTS.items():
                for n in connections:
                    for peer in peers:
                        if method == "EMIT" and peer not in EMITTERS:
                            continue
                        process, port = servers[peer]
                        before = cpu_seconds(process.pid)
                        rate, latency = await measure(port, request, n, options.seconds)
                        cpu = (cpu_seconds(process.pid) - before) / (rate * options.seconds) * 1e6
                        results.setdefault((method, peer, n), []).append((rate, latency, cpu))
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.wait() if isinstance(process, subprocess.Popen) else process.join()
    print(
        "| | connections | peer | req/s | of bare | of litestar | p50 ms | CPU us/req | bare's CPU / its | litestar's CPU / its |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for method in REQUESTS:
        for n in connections:
            middle = {
                peer: [statistics.median(column) for column in zip(*results[method, peer, n], strict=True)]
                for peer in peers
                if (method, peer, n) in results
            }
            for peer in middle:
                rate, latency, cpu = middle[peer]
                of = [f"{rate / middle[p][0]:.2f}" if p in middle else "-" for p in ("bare", "litestar")]
                by = [f"{middle[p][2] / cpu:.2f}" if p in middle else "-" for p in ("bare", "litestar")]
                row = (method, n, peer, f"{rate:,.0f}", *of, f"{latency:.2f}", f"{cpu:.0f}", *by)
                print("|", " | ".join(map(str, row)), "|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--peers", default=",".join(["app", *APPS]))
    uvloop.run(main(parser.parse_args(sys.argv[1:])))
