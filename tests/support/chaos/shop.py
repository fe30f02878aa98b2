"""The app under attack. Everything it does is counted at the end (`oracle`): each order leaves one event per topic and one increment per group.

Accept  POST /orders   state batches, emits order, pair, turn    the answer says that all of it is stored
Pay     order          pays[id] += 1, emits paid                 order["kind"] says what else happens
Book    paid           books[id] += 1, emits booked
Bump    order          hot[key] += 1, emits bumped               few keys, many writers
Pair    pair           left[key] += 1, right[key] += 1, emits paired   both or none
Turn    turn           turns[key] = n, emits turned              in order of each key
"""

from __future__ import annotations

from pathlib import Path

from support.process import write_project

HOT = 16  # keys
PAIRS = 8
TURNS = 12
LARGE = 700_000  # bytes of one event; several in one run exceed what a single record may have

# How an order behaves in Pay
KINDS = ("plain", "poison", "flaky", "slow", "hang", "exit", "crash", "large")

SPEC = """
name: chaos
nats: {prefix: chaos}
server: {bodyLimit: 4MiB}
defaults: {timeout: 6s, retry: quick}
policies: {retry: {quick: {attempts: 5, delay: 100ms, max: 1s}}}
topics: {order: {}, paid: {}, booked: {}, bumped: {}, pair: {}, paired: {}, turn: {}, turned: {}}
state: {batches: {}, pays: {}, books: {}, hot: {}, left: {}, right: {}, turns: {}}
steps:
  Accept: {type: api, method: POST, path: /orders, emits: [order, pair, turn]}
  Pay: {type: event, subscribes: [order], emits: [paid]}
  Book: {type: event, subscribes: [paid], emits: [booked]}
  Bump: {type: event, subscribes: [order], emits: [bumped]}
  Pair: {type: event, subscribes: [pair], emits: [paired]}
  Turn: {type: event, subscribes: [turn], emits: [turned], orderBy: data.key}
"""

ACCEPT = """
async def handler(request, ctx):
    batch = request.body
    for order in batch["orders"]:
        pad = "x" * LARGE if order["kind"] == "large" else ""
        await ctx.emit("order", {**order, "pad": pad})
    for pair in batch["pairs"]:
        await ctx.emit("pair", pair)
    for turn in batch["turns"]:
        await ctx.emit("turn", turn)
    await ctx.state.batches.set(batch["id"], len(batch["orders"]))
    return {"status": 202, "body": {}}
"""

PAY = """
import asyncio, ctypes, os

def first_time(id):
    try:
        os.close(os.open(os.path.join(os.environ["CHAOS_SCRATCH"], f"died-{id}"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

async def handler(data, ctx):
    kind = data["kind"]
    await ctx.state.pays.update(data["id"], lambda old: (old or 0) + 1)
    await ctx.emit("paid", {"id": data["id"], "pad": data["pad"]})
    await asyncio.sleep(0.02)
    if kind == "poison":
        raise ValueError("this order can't be paid")
    if kind == "flaky" and ctx.attempt < 3:
        raise RuntimeError("not yet")
    if kind == "slow":
        await asyncio.sleep(1.0)
    if kind == "hang" and ctx.attempt == 1:
        await asyncio.sleep(3600)
    if kind == "exit" and first_time(data["id"]):
        os._exit(3)
    if kind == "crash" and first_time(data["id"]):
        ctypes.string_at(0)
"""

BOOK = """
async def handler(data, ctx):
    await ctx.state.books.update(data["id"], lambda old: (old or 0) + 1)
    await ctx.emit("booked", {"id": data["id"]})
"""

BUMP = """
async def handler(data, ctx):
    await ctx.state.hot.update(data["hot"], lambda old: (old or 0) + 1)
    await ctx.emit("bumped", {"id": data["id"]})
"""

PAIR = """
import asyncio

async def handler(data, ctx):
    left = await ctx.state.left.get(data["key"])
    await asyncio.sleep(0.005)
    right = await ctx.state.right.get(data["key"])
    await ctx.state.left.set(data["key"], (left or 0) + 1)
    await ctx.state.right.set(data["key"], (right or 0) + 1)
    await ctx.emit("paired", {"id": data["id"]})
"""

TURN = """
async def handler(data, ctx):
    if data["n"] % 10 == 3 and ctx.attempt == 1:
        raise RuntimeError("not yet")
    await ctx.state.turns.set(data["key"], data["n"])
    await ctx.emit("turned", data)
"""


def write_shop(folder: Path, spec: str = SPEC) -> Path:
    return write_project(
        folder, spec, accept=f"LARGE = {LARGE}\n{ACCEPT}", pay=PAY, book=BOOK, bump=BUMP, pair=PAIR, turn=TURN
    )
