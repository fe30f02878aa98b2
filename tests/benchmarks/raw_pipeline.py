"""The two-step pipeline by hand, as a program of its own: validate, write one key, publish to b, count. No framework.

    raw_pipeline.py nats-py URL TOKEN N     nats-py's public API, 256 events at once, fetches overlapped with handling
    raw_pipeline.py link URL TOKEN N        our own link (motia_runtime.nats.fast) and nothing above it

Prints `ready`, then `done` when b has counted N, with latencies when the orders carry their time.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
import uvloop
from latencies import Latencies
from shapes import Order

STREAM, BUCKET = "raw_events", "raw_state"
AT_ONCE = 256  # events of step a under way

decode = msgspec.json.Decoder(Order).decode
encode = msgspec.json.Encoder().encode


class Count:
    def __init__(self, goal: int) -> None:
        self.latencies = Latencies()
        self.goal = goal
        self.done = asyncio.Event()

    def add(self, data: bytes) -> None:
        self.latencies.add(decode(data))
        if self.latencies.seen == self.goal:
            self.done.set()


async def by_nats_py(url: str, token: str, goal: int) -> None:
    import nats
    from nats.js.api import ConsumerConfig, KeyValueConfig, StreamConfig

    nc = await nats.connect(url, token=token, pending_size=1 << 26)
    js = nc.jetstream(timeout=30)
    await js.add_stream(StreamConfig(name=STREAM, subjects=["raw.ev.>"], duplicate_window=600))
    await js.create_key_value(KeyValueConfig(bucket=BUCKET))
    config = ConsumerConfig(ack_wait=30, max_ack_pending=10_000)
    a = await js.pull_subscribe("raw.ev.a", durable="a", stream=STREAM, config=config)
    b = await js.pull_subscribe("raw.ev.b", durable="b", stream=STREAM, config=config)
    count = Count(goal)
    slots = asyncio.Semaphore(AT_ONCE)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(msg: nats.aio.msg.Msg) -> None:
        order = decode(msg.data)
        await js.publish(f"$KV.{BUCKET}.orders.{order.id}", encode(order))
        await js.publish("raw.ev.b", encode(order), headers={"Nats-Msg-Id": f"a:{msg.metadata.sequence.stream}:1"})
        await msg.ack()
        slots.release()

    async def step_a() -> None:
        while True:
            for msg in await _fetch(a):
                await slots.acquire()
                task = asyncio.create_task(handle(msg))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def step_b() -> None:
        while True:
            for msg in await _fetch(b):
                count.add(msg.data)
                await msg.ack()

    async def _fetch(sub: object) -> list[nats.aio.msg.Msg]:
        try:
            return await sub.fetch(AT_ONCE, timeout=1)  # type: ignore[attr-defined]  # a pull subscription
        except TimeoutError:
            return []

    print("ready", flush=True)
    workers = [asyncio.create_task(step_a()), asyncio.create_task(step_b())]
    await count.done.wait()
    print(f"done {count.latencies.shown()}", flush=True)
    for worker in workers:
        worker.cancel()
    await nc.close()


async def by_link(url: str, token: str, goal: int) -> None:
    from pathlib import Path

    from motia_runtime.nats.connect import Settings, connect
    from motia_runtime.nats.log import NatsLog
    from motia_runtime.nats.reconcile import reconcile
    from motia_runtime.ports import Delivery
    from motia_spec.model import EventStep, Handler, Nats, Project, StateGroup, Subscription, Topic

    def step(name: str, topic: str) -> EventStep:
        return EventStep(name=name, handler=Handler(path="x.py"), subscribes=(Subscription(kind="topic", name=topic),))

    project = Project(
        root=Path(),
        files=(),
        name="raw",
        nats=Nats(prefix="raw"),
        topics={t: Topic(name=t) for t in "ab"},
        state={"orders": StateGroup(name="orders")},
        steps={s: step(s, t) for s, t in (("A", "a"), ("B", "b"))},
    )
    link = await connect(Settings(url=url, token=token), name="raw")
    await reconcile(link, project)
    log = NatsLog(link, project.nats)
    count = Count(goal)

    async def handle(delivery: Delivery) -> None:
        order = decode(delivery.record.data)
        await log.append(f"st.orders.{order.id}", encode(order))
        await log.append("ev.b", encode(order), id=f"a:{delivery.record.seq}:1")
        delivery.ack()
        consumers[0].resume(1)

    tasks: set[asyncio.Task[None]] = set()

    def step_a(delivery: Delivery) -> None:
        task = asyncio.create_task(handle(delivery))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def step_b(delivery: Delivery) -> None:
        count.add(delivery.record.data)
        delivery.ack()
        consumers[1].resume(1)

    consumers = [
        await log.consume("A", ["ev.a"], step_a, credit=AT_ONCE),
        await log.consume("B", ["ev.b"], step_b, credit=AT_ONCE),
    ]
    print("ready", flush=True)
    await count.done.wait()
    print(f"done {count.latencies.shown()}", flush=True)
    await link.close()


if __name__ == "__main__":
    how, url, token, goal = sys.argv[1:]
    program = by_nats_py if how == "nats-py" else by_link
    uvloop.run(program(url, token, int(goal)))
