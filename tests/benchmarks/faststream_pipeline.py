"""The two-step pipeline as a FastStream app on NATS JetStream: validate, write one key, publish to b, count.

Its fastest form that was found: pull subscribers with batches, msgspec, uvloop. Runs in an environment of its own (`peers.txt`).
`faststream_pipeline.py URL TOKEN N`. Prints `ready`, then `done` when b has counted N, with the median latency in ms when the orders carry their time.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
import nats
import uvloop
from fast_depends.msgspec import MsgSpecSerializer
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from latencies import Latencies
from nats.js.api import KeyValueConfig
from shapes import Order

STREAM, BUCKET = "raw_events", "raw_state"
AT_ONCE = 256

encode = msgspec.json.Encoder().encode


async def main(url: str, token: str, goal: int) -> None:
    broker = NatsBroker(url, token=token, serializer=MsgSpecSerializer(), logger=None)
    stream = JStream(STREAM, subjects=["raw.ev.>"], duplicate_window=600)
    done = asyncio.Event()
    latencies = Latencies()

    @broker.subscriber("raw.ev.a", stream=stream, durable="a", pull_sub=PullSub(batch_size=AT_ONCE, timeout=1.0))
    async def step_a(order: Order) -> None:
        await js.publish(f"$KV.{BUCKET}.orders.{order.id}", encode(order))
        await broker.publish(encode(order), "raw.ev.b", stream=STREAM, headers={"Nats-Msg-Id": f"a:{order.id}"})

    @broker.subscriber("raw.ev.b", stream=stream, durable="b", pull_sub=PullSub(batch_size=AT_ONCE, timeout=1.0))
    async def step_b(order: Order) -> None:
        latencies.add(order)
        if latencies.seen == goal:
            done.set()

    js = (await nats.connect(url, token=token)).jetstream()  # for the key; a FastStream KeyValue does the same
    await js.create_key_value(KeyValueConfig(bucket=BUCKET))
    app = FastStream(broker)
    running = asyncio.create_task(app.run(log_level=30))
    while not broker.running:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await done.wait()
    print(f"done {latencies.shown()}", flush=True)
    app.exit()
    await running


if __name__ == "__main__":
    url, token, goal = sys.argv[1:]
    uvloop.run(main(url, token, int(goal)))
