"""Steps in TypeScript and JavaScript: what handlers get and may do, errors with their places, and what becomes of a worker's runs when it dies."""

from __future__ import annotations

import asyncio
import logging

import pytest

from motia_runtime.bind import HandlerError
from support.waiting import until

API = """
name: t
topics: {made: {schema: {type: object, required: [id], properties: {id: {type: string}}}}}
state: {things: {}}
streams: {board: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}}
schemas:
  Thing: {type: object, required: [id], properties: {id: {type: string}, size: {type: integer, default: 3}}}
steps:
  Make:
    type: api
    method: POST
    path: /things/{kind}
    middleware: [steps/outer.py:outer, steps/around.ts:around]
    bodyLimit: 8MiB
    body: {$ref: "#/schemas/Thing"}
    query: {type: object, properties: {n: {type: integer, default: 1}}}
    responses: {201: {$ref: "#/schemas/Thing"}}
    emits: [made]
    handler: steps/make.step.ts
  Echo: {type: api, method: POST, path: /echo, handler: steps/echo.step.js}
flows: {f: {steps: [Make, Echo]}}
"""
API_FILES = {
    "steps/outer.py": """
        async def outer(request, ctx, next):
            answer = await next()
            answer.headers = {**answer.headers, "x-outer": str(answer.body["size"])}
            return answer
    """,
    "steps/around.ts": """
        import type { ApiMiddleware } from "motia"
        export const around: ApiMiddleware = async (req, { logger }, next) => {
          if (req.body.id === "early") return { status: 418, body: "short and stout" }
          const answer = await next()
          logger.info("answered", { status: answer.status })
          return { ...answer, headers: { ...answer.headers, "x-around": "1" } }
        }
    """,
    "steps/make.step.ts": """
        import { Handlers } from "motia"
        export const config = { type: "api", name: "Make" }
        export const handler: Handlers["Make"] = async (req, { emit, state, streams, logger, traceId, flows, ...ctx }) => {
          const { id, size } = req.body
          logger.info("calls", { traceparent: ctx.traceparent, tracestate: ctx.tracestate })
          if (id === "unfit") return { status: 201, body: { id: 1 } as any }
          await state.set("things", "gone", 1)
          const saw = [req.pathParams, req.queryParams, size, req.rawBody.length, req.headers["x-y"], traceId.length, flows, ctx.step, ctx.attempt]
          await state.set("things", id, saw)
          saw.push(await state.get("things", id).then((value: any) => value.length))
          saw.push(await state.delete("things", "gone"), await state.get("things", "gone"), (await state.getGroup("things")).length)
          await streams.board.set("g", "1", { n: 1 })
          saw.push(await streams.board.get("g", "1"), await streams.board.getGroup("g"), await streams.board.delete("g", "1"))
          saw.push(await streams.board.set("g", "2", { n: "x" } as any).catch((problem: any) => problem.name))
          await streams.board.send({ groupId: "g" }, { type: "seen", data: 1 })
          await state.set("things", id, saw)
          await emit({ topic: "made", data: { id } })
          return { status: 201, headers: { "x-made": "yes" }, body: { id, size } }
        }
    """,
    "steps/echo.step.js": """
        exports.handler = async (req) => {
          const kind = req.headers["x-kind"]
          if (kind === "bytes") return { status: 200, headers: { "content-type": "image/png" }, body: Buffer.from([255, 0]) }
          if (kind === "text") return { status: 200, body: "text" }
          if (kind === "nothing") return
          if (kind === "bare") return { a: 1 }
          if (kind === "raw") return { status: 200, body: [Buffer.isBuffer(req.rawBody), req.rawBody.length] }
          return { status: 200, body: req.body }
        }
    """,
}


async def test_api_steps_in_the_originals_form(make_remote, node_environ):
    async with make_remote(API, files=API_FILES) as remote:
        await remote.node(node_environ)
        app, headers = remote.app, {"x-y": "z"}
        traced = headers | {"traceparent": f"00-{7:032x}-{7:016x}-01", "tracestate": "x=1"}
        made = await app.request("POST", "/things/box?n=7", json={"id": "i"}, headers=traced)
        assert (made.status, made.json()) == (201, {"id": "i", "size": 3})
        assert [made.headers[name] for name in ("x-made", "x-around", "x-outer")] == ["yes", "1", "3"]
        assert await app.state.get("things", "i") == [
            *({"kind": "box"}, {"n": 7}, 3, 10, "z", 32, ["f"], "Make", 1),
            *(9, 1, None, 1),
            *({"n": 1}, [{"n": 1}], {"n": 1}, "ValidationFailed"),
        ]
        assert await app.state.get("things", "gone") is None
        assert await app.events("made") == [{"id": "i"}]
        (run,) = await app.runs(made.headers["x-trace-id"])
        calls = {"traceparent": f"00-{run.trace_id}-{run.span_id}-01", "tracestate": "x=1"}
        assert [(line.level, line.message, line.fields) for line in run.logs] == [
            ("info", "calls", calls),
            ("info", "answered", {"status": 201}),
        ]
        assert (await app.request("POST", "/things/box", json={"id": "early"})).status == 500, (
            "the outer one sees a str"
        )
        assert (await app.request("POST", "/things/box", json={"id": "unfit"}, headers=headers)).status == 500
        assert (await app.request("POST", "/things/box", json={"id": 5}, headers=headers)).status == 400
        assert len(await app.events("made")) == 1
        large = await app.request("POST", "/things/box", json={"id": "l", "more": "x" * 3_000_000}, headers=headers)
        assert large.status == 201

        echoed = {}
        for kind in ("bytes", "text", "nothing", "bare"):
            echoed[kind] = await app.request("POST", "/echo", body=b"1", headers={"x-kind": kind})
        assert (echoed["bytes"].body, echoed["bytes"].headers["content-type"]) == (b"\xff\x00", "image/png")
        assert (echoed["text"].body, echoed["text"].headers["content-type"]) == (b"text", "text/plain; charset=utf-8")
        assert (echoed["nothing"].status, echoed["bare"].json()) == (204, {"a": 1})
        raw = await app.request("POST", "/echo", body=b"\xff\xfe", headers={"x-kind": "raw"})
        assert raw.json() == [True, 2]
        long = ["é" * 500_000, 1]
        assert (await app.request("POST", "/echo", json=long)).json() == long


EVENTS = """
name: t
topics:
  a: {external: in}
  b: {schema: {type: object, required: [of], properties: {of: {type: string}}}}
state: {done: {schema: {type: object, properties: {n: {type: integer}}}}, notes: {}}
policies: {retry: {some: {attempts: 2, delay: 10s, jitter: false, skip: [Hopeless]}}}
steps:
  Work: {type: event, subscribes: [a], emits: [b], retry: some, timeout: 20s, handler: steps/work.step.ts}
"""
ERRORS = """
    import { NonRetryable, RetryLater } from "motia"

    class Base extends Error {}
    class Hopeless extends Base {}
    class Never extends NonRetryable {}

    function deeper(data: string): never {
      throw new Hopeless("is skipped")
    }

    export const handler = async (data: string, { emit, state, flush, attempt }: any) => {
      await emit({ topic: "b", data: { of: data } })
      if (data === "hopeless") deeper(data)
      if (data === "never") throw new Never("of no use")
      if (data === "later" && attempt === 1) throw new RetryLater(100, "not now")
      if (data === "exit") process.exit(3)
      if (data === "text") throw "just a text"
      if (data === "topic") await emit({ topic: "nobody", data: 1 })
      if (data === "unfit") await emit({ topic: "b", data: {} })
      if (data === "refused") await state.set("done", "k", { n: "x" })
      if (data === "flushed") {
        await state.set("done", "k", { n: "x" })
        await flush()
      }
      if (data === "late") setTimeout(() => Promise.reject(new Error("nobody waits")), 1)
    }
"""


async def test_errors_count_as_those_of_any_handler(make_remote, node_environ, caplog):
    caplog.set_level(logging.INFO, "motia.worker")
    async with make_remote(EVENTS, files={"steps/work.step.ts": ERRORS}) as remote:
        await remote.node(node_environ)
        app = remote.app
        given = ("hopeless", "never", "later", "exit", "text", "topic", "unfit", "refused", "flushed", "late", "fine")
        for data in given:
            await app.emit("a", data)
        await app.settle()
        letters = {letter.data.decode().strip('"'): letter.story for letter in await app.dead_letters()}
        assert set(letters) == {"hopeless", "never"}
        error = letters["hopeless"].error
        assert (error.type, error.message, letters["hopeless"].attempts) == ("Hopeless", "is skipped", 1)
        assert error.stack == (
            'steps/work.step.ts:14 in handler: if (data === "hopeless") deeper(data)\n'
            'steps/work.step.ts:9 in deeper: throw new Hopeless("is skipped")'
        )
        assert sorted(event["of"] for event in await app.events("b")) == ["fine", "late"]
        await app.advance(50)
        letters = {letter.data.decode().strip('"'): letter.story.error for letter in await app.dead_letters()}
        assert {name: error.type for name, error in letters.items()} == {
            "hopeless": "Hopeless",
            "never": "Never",
            "exit": "HandlerExited",
            "text": "Error",
            "topic": "InvalidTopic",
            "unfit": "ValidationFailed",
            "refused": "ValidationFailed",
            "flushed": "ValidationFailed",
        }
        assert letters["exit"].message == "the handler called process.exit(3)"
        assert letters["text"].message == "the handler threw just a text, which is no Error"
        assert letters["topic"].message.startswith('this step does not emit "nobody" (it declares: b)')
        assert letters["unfit"].message == 'event b: / "of" is required'
        assert letters["flushed"].stack.endswith("steps/work.step.ts:24 in handler: await flush()"), "where it was told"
        await app.advance(100)
        assert sorted(event["of"] for event in await app.events("b")) == ["fine", "late", "later"]
        (late,) = [text for text in caplog.messages if "nobody waits" in text]
        assert late.startswith(
            "a promise that nobody awaits was rejected: Error: nobody waits, at steps/work.step.ts:26 in "
        )
        assert "\n" not in late


SHAPES = """
name: t
topics:
  a: {external: in, schema: {$ref: "#/schemas/Thing"}}
  b: {external: in, schema: {$ref: "#/schemas/Thing"}}
state: {things: {schema: {$ref: "#/schemas/Thing"}}, seen: {}}
schemas: {Thing: {type: object, required: [id], properties: {id: {type: string}}}}
steps:
  One: {type: event, subscribes: [a], condition: "steps/shapes.ts:wanted", handler: "steps/shapes.ts:one"}
  Both: {type: event, subscribes: [a, b], join: {by: data.id}, handler: "steps/shapes.ts:both"}
  Many: {type: event, subscribes: [a, b], batch: {size: 2, wait: 1s}, handler: "steps/shapes.ts:many"}
  Change: {type: event, subscribes: [{state: things}], handler: "steps/shapes.ts:change"}
  Daily: {type: cron, cron: "0 0 * * *", handler: "steps/shapes.ts:daily"}
  Old: {type: event, subscribes: [a], handler: "steps/old.js"}
  Common: {type: event, subscribes: [a], handler: "steps/common.ts"}
  Default: {type: event, subscribes: [a], handler: "steps/default.js"}
"""
SHAPES_FILES = {
    "steps/shapes.ts": """
        import path from "node:path"
        import { Size, describe } from "./lib/sizes"
        import { twice } from "./lib/twice.js"
        import type { Thing } from "./lib/nowhere"

        class Seen {
          constructor(private readonly state: any, public readonly group = "seen") {}
          note(key: string, value: unknown) { return this.state.set(this.group, key, value) }
        }
        export const wanted = async (thing: Thing) => thing.id !== "unwanted"
        export const one = async (thing: Thing, { state, topic }: any) => {
          await state.set("things", thing.id, thing)
          await new Seen(state).note("one", [thing.id, topic, Size.Large, describe(Size.Small), twice(2), path.basename("/x/y")])
        }
        export const both = async (things: Record<string, Thing>, { state }: any) => state.set("seen", "both", [things["a"].id, things["b"].id])
        export const many = async (things: Thing[], { state }: any) =>
          state.set("seen", "many", [...((await state.get("seen", "many")) ?? []), things.length])
        export const change = async (change: any, { state }: any) => state.set("seen", "change", [change.group, change.key, change.value.id, change.previous])
        export const daily = async ({ state, trigger }: any) => state.set("seen", "daily", trigger.type)
    """,
    "steps/lib/sizes/index.ts": """
        export enum Size { Small = "s", Large = "l" }
        export const describe = <const T extends Size>(size: T) => `size ${size}` satisfies string
    """,
    "steps/lib/twice.ts": "export const twice = (n: number): number => n * 2\n",
    "steps/lib/third.ts": "export const third = (n: number): number => n / 3\n",
    "steps/old.js": """
        const os = require("node:os")
        module.exports = { handler: async (thing, { state }) => { await state.set("seen", "old", typeof os.EOL) } }
    """,
    "steps/common.ts": """
        import type { Thing } from "./lib/nowhere"
        const { third } = require("./lib/third")
        exports.handler = async (thing: Thing, { state }: any) => { await state.set("seen", "common", third(9) as number) }
    """,
    "steps/default.js": 'export default async (thing, { state }) => { await state.set("seen", "default", thing.id) }\n',
}


async def test_every_input_and_every_form_of_a_file(make_remote, node_environ):
    async with make_remote(SHAPES, files=SHAPES_FILES) as remote:
        await remote.node(node_environ)
        app = remote.app
        await app.emit("a", {"id": "1"})
        await app.emit("b", {"id": "1"})
        await app.settle()
        await app.emit("a", {"id": "unwanted"})
        await app.settle()
        await app.advance(86_400)
        assert [letter.story.error for letter in await app.dead_letters()] == []
        assert await app.state.items("seen") == {
            "one": ["1", "a", "l", "size s", 4, "y"],
            "both": ["1", "1"],
            "many": [2, 1],
            "change": ["things", "1", "1", None],
            "daily": "cron",
            "old": "string",
            "common": 3,
            "default": "unwanted",
        }


BROKEN = {
    "const a = ;\nexport const handler = 1": "work.step.ts:1:11: Unexpected token",
    "export const other = async () => {}": "exports no handler (it exports: other)",
    "export const handler = 5": "exports a number as handler, not a function",
    "import { x } from './nowhere'\nexport const handler = async () => x": "Cannot find module 'steps/nowhere'",
    "\nthrow new Error('at import')\nexport const handler = async () => {}": "Error: at import (steps/work.step.ts, line 2)",
    "export namespace N { export const x = 1 }\nexport const handler = async () => N.x": "work.step.ts:1: a namespace needs",
}


@pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
async def test_a_file_that_cant_be_loaded_is_told_with_its_place(make_remote, node_environ, source):
    async with make_remote(EVENTS, files={"steps/work.step.ts": source}) as remote:
        with pytest.raises(HandlerError, match=r"^Work: steps/work\.step\.ts ") as caught:
            await remote.node(node_environ)
        assert BROKEN[source] in str(caught.value)


BUSY = """
    import { appendFileSync } from "node:fs"
    export const handler = async (data: any, { emit, state, signal }: any) => {
      appendFileSync("LOG", `${process.pid} ${data.id}\\n`)
      if (data.block) {
        const end = Date.now() + data.block
        while (Date.now() < end);
      }
      if (data.wait && !(await seen(data.id))) await new Promise((done) => { setTimeout(done, data.wait); signal.addEventListener("abort", done) })
      if (signal.aborted) return appendFileSync("LOG", `aborted ${data.id}\\n`)
      const n = (await state.get("notes", "n")) ?? 0
      if (data.count) await new Promise((done) => setTimeout(done, 10))
      await state.set("notes", "n", n + 1)
      await emit({ topic: "b", data: { of: data.id } })
    }
    const { readFileSync } = await import("node:fs")
    const seen = async (id: string) => readFileSync("LOG", "utf8").split("\\n").filter((line) => line.endsWith(` ${id}`)).length > 1
"""


@pytest.fixture
def busy(tmp_path):
    log = tmp_path / "log"
    return {"steps/work.step.ts": BUSY.replace("LOG", str(log))}, log


async def test_conflicts_over_two_processes_lose_no_update(make_remote, node_environ, busy):
    files, log = busy
    async with make_remote(EVENTS.replace("20s", "20s, concurrency: {limit: 4}"), files=files) as remote:
        await remote.node(node_environ, count=2)
        for n in range(30):
            await remote.app.emit("a", {"id": str(n), "count": True})
        await remote.app.settle(40)
        assert await remote.app.state.get("notes", "n") == 30
        assert len({line.split()[0] for line in log.read_text().splitlines()}) == 2


async def test_one_that_blocks_past_its_timeout_takes_its_process_along_and_no_run(
    make_remote, node_environ, busy, caplog
):
    caplog.set_level(logging.INFO, "motia.worker")
    files, log = busy
    async with make_remote(EVENTS.replace("20s", "2s").replace("attempts: 2", "attempts: 1"), files=files) as remote:
        await remote.node(node_environ)
        await remote.app.emit("a", {"id": "slow", "wait": 1_500})
        await until(lambda: log.exists())
        await remote.app.emit("a", {"id": "for ever", "block": 120_000})
        await until(lambda: any("the process is killed" in text for text in caplog.messages))
        await until(lambda: any("starting it again" in text for text in caplog.messages))
        await remote.app.settle(30)
        errors = {letter.data: letter.story.error for letter in await remote.app.dead_letters()}
        assert errors[b'{"id":"for ever","block":120000}'].type == "HandlerTimeout"
        await remote.app.emit("a", {"id": "after"})
        await remote.app.settle(30)
        assert {"of": "after"} in await remote.app.events("b")


async def test_timeout_and_leaving_are_heard_by_the_handler(make_remote, node_environ, busy):
    files, log = busy
    spec = EVENTS.replace("20s", "500ms").replace("attempts: 2", "attempts: 1")
    async with make_remote(spec, files=files) as remote:
        fleet = await remote.node(node_environ)
        await remote.app.emit("a", {"id": "x", "wait": 60_000})
        await remote.app.settle(20)
        (letter,) = await remote.app.dead_letters()
        assert letter.story.error.type == "HandlerTimeout"
        await until(lambda: "aborted x" in log.read_text())
        await asyncio.wait_for(fleet.stop(5), 20)
