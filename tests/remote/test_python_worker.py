"""Steps whose Python handlers run in a worker: the same results as in the app, whatever becomes of the worker."""

from __future__ import annotations

import json
import logging

import pytest

from motia_runtime.remote import switchboard
from support.waiting import until

SPEC = """
name: t
topics: {a: {external: in}, b: {}}
state: {done: {}}
policies: {retry: {once: {attempts: 1}}}
steps:
  Work: {type: event, subscribes: [a], emits: [b], retry: once, timeout: 20s}
"""
API = """
name: t
topics: {made: {schema: {type: object, required: [id], properties: {id: {type: string}}}}}
state: {things: {}}
schemas:
  Thing: {type: object, required: [id], properties: {id: {type: string}, size: {type: integer, default: 3}}}
steps:
  Make:
    type: api
    method: POST
    path: /things/{kind}
    middleware: [steps/around.py:twice]
    bodyLimit: 8MiB
    body: {$ref: "#/schemas/Thing"}
    query: {type: object, properties: {n: {type: integer, default: 1}}}
    responses: {201: {$ref: "#/schemas/Thing"}}
    emits: [made]
  Plain: {type: api, method: GET, path: /plain}
"""
MAKE = """
    from motia_runtime.handler import Problem
    from motia_types import Make

    def handler(request: Make.Request, ctx):
        if request.body.id == "problem":
            raise Problem(409, "no", "not now", of=1)
        if request.body.id == "error":
            raise OSError("disk")
        if request.body.id == "unfit":
            return {"status": 201, "body": {"id": 1}}
        ctx.emit("made", {"id": request.body.id})
        ctx.state.things.set(request.body.id, [request.path_params, request.query_params, request.body.size, len(request.raw_body), request.headers["x-y"]])
        return Make.Created(request.body)
"""
AROUND = """
    async def twice(request, ctx, next):
        answer = await next(request)
        ctx.logger.info("answered", status=answer.status)
        answer.headers = {"x-around": "1", "x-parent": ctx.traceparent, "x-state": ctx.tracestate}
        return answer
"""
PLAIN = """
    async def handler(request, ctx):
        return {"status": 200, "headers": {"content-type": "image/png"}, "body": b"\\xff\\x00"}
"""


async def test_api_steps_answer_as_they_do_in_the_app(make_remote):
    async with make_remote(API, make=MAKE, around=AROUND, plain=PLAIN) as remote:
        await remote.worker()
        app = remote.app
        headers = {"x-y": "z"}
        traced = headers | {"traceparent": f"00-{7:032x}-{7:016x}-01", "tracestate": "x=1"}
        made = await app.request("POST", "/things/box?n=7", json={"id": "i"}, headers=traced)
        [run, *_] = await app.runs(f"{7:032x}")
        assert made.headers["x-parent"] == f"00-{run.trace_id}-{run.span_id}-01"
        assert made.headers["x-state"] == "x=1"
        assert (made.status, made.json(), made.headers["x-around"]) == (201, {"id": "i", "size": 3}, "1")
        assert await app.state.get("things", "i") == [{"kind": "box"}, {"n": 7}, 3, 10, "z"]
        assert await app.events("made") == [{"id": "i"}]
        problem = await app.request("POST", "/things/box", json={"id": "problem"}, headers=headers)
        assert (problem.status, problem.json()["detail"], problem.json()["of"]) == (409, "not now", 1)
        for name in ("error", "unfit"):
            assert (await app.request("POST", "/things/box", json={"id": name}, headers=headers)).status == 500
        assert len(await app.events("made")) == 1
        assert (await app.request("GET", "/plain")).body == b"\xff\x00"
        large = await app.request("POST", "/things/box", json={"id": "l", "more": "x" * 3_000_000}, headers=headers)
        assert large.status == 201
        assert (await app.state.get("things", "l"))[3] > 3_000_000


@pytest.mark.parametrize("kind", ["", "async "])
async def test_errors_count_as_they_do_in_the_app(make_remote, kind):
    spec = SPEC.replace("attempts: 1", "attempts: 3, delay: 10s, jitter: false, skip: [Hopeless]")
    work = f"""
    from motia_runtime.handler import NonRetryable, RetryLater

    class Base(Exception): pass
    class Hopeless(Base): pass
    class Never(NonRetryable): pass

    {kind}def handler(data, ctx):
        {"await " if kind else ""}ctx.emit("b", {{"of": data}})
        if data == "hopeless": raise Hopeless("is skipped")
        if data == "never": raise Never("of no use")
        if data == "later" and ctx.attempt == 1: raise RetryLater(100, "not now")
        if data == "exit": raise SystemExit(2)
    """
    async with make_remote(spec, work=work) as remote:
        await remote.worker()
        app = remote.app
        for data in ("hopeless", "never", "later", "exit", "fine"):
            await app.emit("a", data)
        await app.settle()
        letters = {letter.data: letter.story for letter in await app.dead_letters()}
        assert set(letters) == {b'"hopeless"', b'"never"'}
        error = letters[b'"hopeless"'].error
        assert (error.type, error.message, letters[b'"hopeless"'].attempts) == ("Hopeless", "is skipped", 1)
        assert error.stack == 'steps/work.py:10 in handler: if data == "hopeless": raise Hopeless("is skipped")'
        assert await app.events("b") == [{"of": "fine"}]
        await app.advance(99)
        letters = {letter.data: letter.story for letter in await app.dead_letters()}
        assert letters[b'"exit"'].error.message == "the handler called sys.exit(2)"
        await app.advance(2)
        assert await app.events("b") == [{"of": "fine"}, {"of": "later"}]


async def test_conflicts_over_two_workers_lose_no_update(make_remote):
    work = """
    import asyncio
    async def handler(data, ctx):
        n = await ctx.state.done.get("n") or 0
        await asyncio.sleep(0.02)
        await ctx.state.done.set("n", n + 1)
    """
    async with make_remote(SPEC.replace("20s", "20s, concurrency: {limit: 3}"), work=work) as remote:
        await remote.worker()
        await remote.worker()
        traces = [await remote.app.emit("a", n) for n in range(30)]
        await remote.app.settle(30)
        assert await remote.app.state.get("done", "n") == 30
        runs = [run for trace in traces for run in await remote.app.runs(trace)]
        assert sum(run.conflicts for run in runs) > 0, "nothing was tested: no run met another"


SHAPES = """
name: t
topics:
  a: {external: in, schema: {$ref: "#/schemas/Thing"}}
  b: {external: in, schema: {$ref: "#/schemas/Thing"}}
state: {things: {schema: {$ref: "#/schemas/Thing"}}, seen: {}}
schemas: {Thing: {type: object, required: [id], properties: {id: {type: string}}}}
steps:
  One: {type: event, subscribes: [a], condition: "steps/shapes.py:wanted", handler: "steps/shapes.py:one"}
  Both: {type: event, subscribes: [a, b], join: {by: data.id}, handler: "steps/shapes.py:both"}
  Many: {type: event, subscribes: [a, b], batch: {size: 2, wait: 1s}, handler: "steps/shapes.py:many"}
  Change: {type: event, subscribes: [{state: things}], handler: "steps/shapes.py:change"}
  Daily: {type: cron, cron: "0 0 * * *", handler: "steps/shapes.py:daily"}
"""
SHAPES_PY = """
    def wanted(thing, ctx): return thing.id != "unwanted"
    def one(thing, ctx):
        ctx.state.things.set(thing.id, thing)
        ctx.state.seen.set("one", [type(thing).__name__, thing.id])
    def both(things, ctx): ctx.state.seen.set("both", [things["a"].id, things["b"].id])
    def many(things, ctx): ctx.state.seen.update("many", lambda old: [*(old or []), *(type(thing).__name__ for thing in things)])
    def change(change, ctx): ctx.state.seen.set("change", [change.group, change.key, change.value.id, change.previous])
    def daily(ctx): ctx.state.seen.set("daily", ctx.trigger.type)
"""


async def test_every_shape_of_input_comes_as_its_type(make_remote):
    async with make_remote(SHAPES, shapes=SHAPES_PY) as remote:
        await remote.worker()
        app = remote.app
        await app.emit("a", {"id": "1"})
        await app.emit("b", {"id": "1"})
        await app.settle()
        await app.emit("a", {"id": "unwanted"})
        await app.settle()
        await app.advance(86_400)
        assert await app.state.items("seen") == {
            "one": ["Thing", "1"],
            "both": ["1", "1"],
            "many": ["Thing"] * 3,
            "change": ["things", "1", "1", None],
            "daily": "cron",
        }


async def test_without_a_worker_events_wait_and_requests_are_told(make_remote, caplog, monkeypatch):
    monkeypatch.setattr(switchboard, "PATIENCE", 0.2)
    monkeypatch.setattr(switchboard, "TELL", 0.2)
    spec = SPEC + "  Get: {type: api, method: GET, path: /get}\n"
    caplog.set_level(logging.INFO, "motia.worker")
    async with make_remote(
        spec, work="async def handler(data, ctx): await ctx.emit('b', data)", get="def handler(request, ctx): return 1"
    ) as remote:
        assert (await remote.app.request("GET", "/get")).status == 503
        await remote.app.emit("a", 1)
        await until(lambda: any("Work: no worker takes its runs" in text for text in caplog.messages))
        await remote.worker()
        await remote.app.settle()
        assert await remote.app.events("b") == [1]
        assert (await remote.app.request("GET", "/get")).json() == 1
        assert "Work: a worker takes its runs again" in caplog.messages


async def test_a_worker_takes_no_more_than_it_says(make_remote):
    work = """
    import asyncio
    now = most = 0
    async def handler(data, ctx):
        global now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        await ctx.state.done.set(str(data), most)
    """
    async with make_remote(SPEC, work=work) as remote:
        await remote.worker(capacity=4)
        for n in range(40):
            await remote.app.emit("a", n)
        await remote.app.settle(30)
        assert max((await remote.app.state.items("done")).values()) == 4
        assert len(await remote.app.state.items("done")) == 40


async def test_a_worker_that_leaves_finishes_or_gives_back(make_remote):
    work = """
    import asyncio
    began = []
    async def handler(data, ctx):
        began.append(data)
        await asyncio.sleep(2.0 if data == "short" or began.count(data) > 1 else 60)
        await ctx.emit("b", data)
    """
    async with make_remote(SPEC, work=work) as remote:
        app, first = remote.app, await remote.worker()
        await app.emit("a", "short")
        await app.emit("a", "long")
        await until(lambda: len(first._running) == 2)
        await first.leave(5)
        assert await app.events("b") == ["short"]
        assert await app.dead_letters() == []
        # its module is imported anew, so the other worker begins from nothing
        import sys

        began = sys.modules["steps.work"].began
        second = await remote.worker()
        await until(lambda: len(second._running) == 1)
        assert sorted(began) == ["long", "short"]  # one may have been sent again, before the worker listened


async def test_one_that_falls_silent_is_gone_and_the_run_goes_elsewhere(make_remote, monkeypatch):
    monkeypatch.setattr(switchboard, "SILENT", 0.6)
    work = "async def handler(data, ctx): await ctx.emit('b', data)"
    async with make_remote(SPEC, work=work) as remote:
        silent = await remote.open()
        taken = []
        number = silent.listen(
            f"{remote.project.nats.prefix}.work.run.Work",
            lambda subject, reply, status, head, data: taken.append((reply, json.loads(data))),
            queue="work",
        )
        await silent._link.barrier()
        await remote.app.emit("a", 1)
        await until(lambda: taken)
        await silent.unlisten(number)
        await remote.worker()
        await remote.app.settle(20)
        assert await remote.app.events("b") == [1]
        assert await remote.app.dead_letters() == []
        # it comes back, too late
        answers = []
        reply, run = taken[0]
        silent.ask(
            reply,
            b'{"type": "ask", "id": 1, "what": "get", "args": ["done", "x"]}',
            lambda *a: answers.append(a),
            timeout=5,
        )
        silent.send(reply, b'{"type": "done", "effects": [["emit", "b", 2]]}')
        await until(lambda: answers)
        assert b"the run has ended" in answers[0][1]
        assert (run["attempt"], run["trigger"], run["input"]) == (1, {"type": "event", "topic": "a", "eventId": "1"}, 1)
        await remote.app.settle()
        assert await remote.app.events("b") == [1]


async def test_an_event_whose_workers_die_of_it_fails_like_any_other(make_remote, monkeypatch):
    monkeypatch.setattr(switchboard, "SILENT", 0.3)
    async with make_remote(SPEC, work="def handler(data, ctx): pass") as remote:
        silent = await remote.open()
        taken = []
        silent.listen(f"{remote.project.nats.prefix}.work.run.Work", lambda *a: taken.append(a), queue="work")
        await silent._link.barrier()
        await remote.app.emit("a", 1)
        await remote.app.settle(20)
        (letter,) = await remote.app.dead_letters()
        assert (letter.story.error.type, len(taken)) == ("WorkerDied", 2)
        assert letter.story.error.message.startswith("the worker that ran Work fell silent")


HOSTILE = [
    (b"\xff", "no message"),
    (b"[]", "no message"),
    (b'{"type": "dance"}', "no message"),
    (b'{"type": "done", "effects": [["explode", 1]]}', "'explode' is no effect"),
    (b'{"type": "done", "effects": [[]]}', "None is no effect"),
    (b'{"type": "done", "effects": [["emit", "secret", 1]]}', "does not emit 'secret'"),
    (b'{"type": "done", "effects": [["emit"]]}', "missing"),
    (b'{"type": "done", "effects": [["set", "done", 5, 1]]}', "a state key is a string"),
    (b'{"type": "done", "effects": [["set", {}, "k", 1]]}', "a state group is a string"),
    (
        b'{"type": "done", "effects": [["set", "done", "k", 1], ["emit", "b", 1], ["delete", "done", ""]]}',
        "1 to 512 bytes",
    ),
    (b"[" * 100_000, "no message"),
]


@pytest.mark.parametrize(("message", "told"), HOSTILE)
async def test_what_a_worker_may_not_say_fails_its_run_and_changes_nothing(make_remote, message, told):
    async with make_remote(SPEC, work="def handler(data, ctx): pass") as remote:
        bad = await remote.open()
        bad.listen(
            f"{remote.project.nats.prefix}.work.run.Work", lambda s, reply, *_: bad.send(reply, message), queue="work"
        )
        await bad._link.barrier()
        await remote.app.emit("a", 1)
        await remote.app.settle(20)
        (letter,) = await remote.app.dead_letters()
        assert told in letter.story.error.message
        assert await remote.app.events("b") == []
        assert await remote.app.state.items("done") == {}


async def test_a_run_ends_at_its_timeout_and_its_worker_hears_of_it(make_remote):
    work = """
    import asyncio
    async def handler(data, ctx):
        try:
            await asyncio.sleep(60)
        finally:
            ctx.logger.info("left")
    """
    async with make_remote(SPEC.replace("20s", "300ms"), work=work) as remote:
        worker = await remote.worker()
        await remote.app.emit("a", 1)
        await remote.app.settle(20)
        (letter,) = await remote.app.dead_letters()
        assert (letter.story.error.type, letter.story.error.message) == ("HandlerTimeout", "no result after 0.3 s")
        await until(lambda: not worker._running)


async def test_versions_that_do_not_fit_are_told_of(make_remote, caplog):
    async with make_remote(SPEC, work="def handler(data, ctx): pass") as remote:
        await remote.worker()
        asked = await remote.open()
        answers = []
        subject = f"{remote.project.nats.prefix}.work.run.Work"
        asked.ask(subject, b'{"type": "run", "protocol": 99}', lambda *a: answers.append(a), timeout=5)
        await until(lambda: answers)
        told = json.loads(answers[0][1])
        assert (told["type"], told["why"]) == ("refused", "protocol")
        assert told["message"] == "the engine speaks protocol 99, this worker 1; update the older one"
    async with make_remote(SPEC, work="def handler(data, ctx): pass") as remote:
        other = await remote.open()
        refusal = json.dumps({"type": "refused", "why": "protocol", "message": "it is of 1970"}).encode()
        other.listen(
            f"{remote.project.nats.prefix}.work.run.Work", lambda s, reply, *_: other.send(reply, refusal), queue="work"
        )
        await other._link.barrier()
        await remote.app.emit("a", 1)
        await until(lambda: any("does not fit this engine: it is of 1970" in text for text in caplog.messages))


async def test_workers_are_micro_services(make_remote):
    work = "def handler(data, ctx):\n    if data: raise OSError('no')"
    async with make_remote(SPEC, work=work) as remote:
        await remote.worker()
        for data in (0, 0, 1):
            await remote.app.emit("a", data)
        await remote.app.settle()
        asking, name = await remote.open(), f"{remote.project.nats.prefix}_python"
        found = {}
        for verb in ("PING", "INFO", "STATS"):
            asking.ask(
                f"$SRV.{verb}.{name}",
                b"",
                lambda status, data, verb=verb: found.update({verb: (status, data)}),
                timeout=5,
            )
        await until(lambda: len(found) == 3)
        ping, info, stats = (json.loads(found[verb][1]) for verb in ("PING", "INFO", "STATS"))
        assert ping["type"] == "io.nats.micro.v1.ping_response"
        assert info["metadata"]["Motia-Protocol"] == "1"
        (endpoint,) = info["endpoints"]
        assert (endpoint["name"], endpoint["queue_group"]) == ("Work", "work")
        (counted,) = stats["endpoints"]
        assert (counted["num_requests"], counted["num_errors"], counted["last_error"]) == (3, 1, "no")
        assert counted["average_processing_time"] > 0
