"""Steps with `isolation: process`: the same results as without, whatever the handler does to its process."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from pathlib import Path

import msgspec
import pytest

from motia_generator import generate
from motia_runtime import context
from motia_runtime.bind import HandlerError
from motia_runtime.effects import Unit
from motia_runtime.isolation import remote
from motia_runtime.isolation.inputs import pack, unpack
from motia_runtime.streams import StreamStore
from motia_runtime.types import load_types
from motia_spec import compile_project

SPEC = """
name: t
topics: {a: {external: in}, b: {}}
state: {done: {}}
policies: {retry: {once: {attempts: 1}}}
steps:
  Work: {type: event, subscribes: [a], emits: [b], isolation: process, retry: once, timeout: 20s, concurrency: {limit: 1}}
"""

# What a handler can do with its ctx, and what it sees of it. Run without and with a process, as async and as plain function.
SHOP = """
name: shop
topics:
  order: {external: in, schema: {$ref: "#/schemas/Order"}}
  paid: {schema: {$ref: "#/schemas/Order"}}
  told: {}
state: {orders: {schema: {$ref: "#/schemas/Order"}, history: 3}, notes: {}, seen: {}}
streams: {board: {schema: {$ref: "#/schemas/Order"}}}
secrets: [SHOP_SECRET]
schemas:
  Order:
    type: object
    required: [id, total]
    properties: {id: {type: string}, total: {type: number, minimum: 0}, unitPrice: {type: number}, tags: {type: array, items: {type: string}}}
steps:
  Shop: {type: event, subscribes: [order], emits: [paid, told], retry: {attempts: 1}, isolation: ISOLATION, timeout: 20s}
"""
ASYNC = """
    from motia_types import Order

    async def handler(data, ctx):
        saw = []

        async def attempt(what):
            try:
                saw.append(repr(await what))
            except Exception as problem:
                saw.append(f"{type(problem).__name__}: {problem}")

        saw.append([type(data).__name__, type(data) is Order, data.unit_price, data["unitPrice"], data.tags])
        saw.append([ctx.step, ctx.attempt, ctx.topic, ctx.trigger.type, ctx.trigger.event_id, ctx.idempotency_key])
        saw.append([len(ctx.trace_id), len(ctx.new_id()), ctx.secrets["SHOP_SECRET"], repr(ctx.secrets)])
        ctx.logger.info("at it", {"order": data.id}, total=data.total)
        ctx.logger.error("odd", thing=object)
        orders, notes, board = ctx.state.orders, ctx.state["notes"], ctx.streams.board
        await attempt(orders.get("1"))
        await attempt(orders.set("1", data))
        await attempt(orders.get("1"))
        await attempt(orders.set("2", {"id": "2", "total": 7}))
        await attempt(orders.update("2", lambda old: Order(id=old.id, total=old.total + 1)))
        await attempt(ctx.state.list("orders"))
        await attempt(orders.keys())
        await attempt(orders.items())
        await attempt(orders.delete("2"))
        await attempt(orders.delete("2"))
        await attempt(orders.set("3", {"id": 3}))
        await attempt(orders.set("", data))
        await attempt(orders.set("3", data, ttl=0.5))
        await attempt(notes.set("big", "x" * 2_000_000))
        await attempt(notes.set("bad", object()))
        await attempt(notes.set("n", None))
        await attempt(notes.get("n"))
        await attempt(ctx.emit("paid", data))
        await attempt(ctx.emit({"topic": "told", "data": [1, None, {"a": "\\u00e4"}]}))
        await attempt(ctx.emit("paid", {"id": "x", "total": -1}))
        await attempt(ctx.emit("nobody", 1))
        await attempt(ctx.emit("told", 1, delay=-1))
        await attempt(ctx.flush())
        await attempt(orders.get("1"))
        await attempt(orders.set("1", {"id": "1", "total": 2}))
        await attempt(ctx.flush())
        await attempt(orders.history("1"))
        await attempt(board.get("g", "1"))
        await attempt(board.set("g", "1", data))
        await attempt(board.update("g", "1", lambda old: Order(id=old.id, total=old.total + 1)))
        await attempt(board.get_group("g"))
        await attempt(board.set("g", "2", {"id": 2}))
        await attempt(board.delete("g", "1"))
        await attempt(board.send("g", "note", {"of": 1}, id="1"))
        await attempt(board.send({"groupId": "g"}, {"type": "note", "data": [None]}))
        await attempt(board.send("", "note"))
        await attempt(board.send("g", ""))
        await attempt(board.send("g", "note", object()))
        try:
            ctx.streams["nothing"]
        except KeyError as problem:
            saw.append(str(problem))
        await attempt(notes.clear())
        await ctx.state.seen.set("it", saw)
"""
PLAIN = re.sub(r"\bawait |\basync ", "", ASYNC).replace("attempt(what)", "attempt(what, *args, **more)")
PLAIN = PLAIN.replace("repr(what)", "repr(what(*args, **more))")
PLAIN = re.sub(r"attempt\(((?:\w+\.)+\w+)\((.*)\)\)\n", r"attempt(\1, \2)\n", PLAIN)


@pytest.mark.parametrize("source", [ASYNC, PLAIN], ids=["async", "plain"])
async def test_a_handler_sees_and_does_the_same_in_a_process(make_app, monkeypatch, source):
    monkeypatch.setenv("SHOP_SECRET", "hush hush")
    assert ("await" in source) == (source is ASYNC)
    outcomes = []
    for isolation in ("none", "process"):
        async with make_app(SHOP.replace("ISOLATION", isolation), shop=source) as app:
            trace = await app.emit("order", {"id": "1", "total": 5, "unitPrice": 2.5, "tags": ["x"]})
            await app.settle()
            assert await app.dead_letters() == []
            (run,) = [run for run in await app.runs(trace) if run.step == "Shop"]
            lines = [(line.level, line.message, line.fields) for line in run.logs]
            outcomes.append(
                {
                    "saw": await app.state.get("seen", "it"),
                    "orders": msgspec.to_builtins(await app.state.items("orders")),
                    "notes": await app.state.items("notes"),
                    "paid": await app.events("paid"),
                    "told": await app.events("told"),
                    "record": (run.outcome, *map(_told, (run.emits, run.state, run.streams)), lines),
                }
            )
    inside, outside = outcomes
    assert len(inside["saw"]) == 43
    assert outside == inside


def _told(effects):
    """Effects of a record, but for when they happened."""
    return [{**one, "offset": 0} for one in msgspec.json.decode(msgspec.json.encode(effects))]


def test_what_contexts_ask_of_a_run_is_there_in_a_process_too():
    """A member that a context begins to use must get its request."""
    text = "".join(path.read_text() for path in Path(context.__file__).parent.glob("*.py"))
    used = set(re.findall(r"_unit\.streams\.(\w+)\(", text))
    assert used
    assert used <= set(dir(remote.RemoteStreams)) & set(dir(StreamStore))
    used = set(re.findall(r"unit\.(\w+)\(", text))
    assert {"get", "set", "emit", "flush"} <= used
    assert used <= set(dir(remote.RemoteUnit)) & set(dir(Unit))
    used = set(re.findall(r"_run\.(\w+)", text))
    assert used <= set(dir(remote.RemoteAttempt))


async def test_conflicts_run_again_and_lose_no_update(make_app):
    spec = SPEC.replace("{limit: 1}", "{limit: 3}")
    work = """
    import asyncio
    async def handler(data, ctx):
        n = await ctx.state.done.get("n") or 0
        await asyncio.sleep(0.1)  # until the other processes have started, too
        await ctx.state.done.set("n", n + 1)
    """
    async with make_app(spec, work=work) as app:
        traces = [await app.emit("a", n) for n in range(40)]
        await app.settle(60)
        assert await app.state.get("done", "n") == 40
        runs = [run for trace in traces for run in await app.runs(trace)]
        assert sum(run.conflicts for run in runs) > 0, "nothing was tested: no run met another"


async def test_errors_count_as_they_do_without_a_process(make_app):
    spec = SPEC.replace("attempts: 1", "attempts: 3, delay: 10s, jitter: false, skip: [Hopeless]")
    work = """
    from motia_runtime.handler import NonRetryable, RetryLater

    class Base(Exception): pass
    class Hopeless(Base): pass
    class Never(NonRetryable): pass

    def handler(data, ctx):
        ctx.emit("b", {"of": data})
        if data == "hopeless": raise Hopeless("is skipped")
        if data == "never": raise Never("of no use")
        if data == "later" and ctx.attempt == 1: raise RetryLater(100, "not now")
        if data == "exit": raise SystemExit(2)
        if data == "caught":
            try:
                ctx.state.done.set("", 1)
            except ValueError as problem:
                raise OSError("no key") from problem
    """
    async with make_app(spec, work=work) as app:
        for data in ("hopeless", "never", "later", "exit", "caught", "fine"):
            await app.emit("a", data)
        await app.settle()
        letters = {letter.data: letter.story for letter in await app.dead_letters()}
        assert set(letters) == {b'"hopeless"', b'"never"'}
        error = letters[b'"hopeless"'].error
        assert (error.type, error.message, letters[b'"hopeless"'].attempts) == ("Hopeless", "is skipped", 1)
        assert error.stack == 'steps/work.py:10 in handler: if data == "hopeless": raise Hopeless("is skipped")'
        assert letters[b'"never"'].error.type == "Never"
        assert await app.events("b") == [{"of": "fine"}]
        await app.advance(99)
        letters = {letter.data: letter.story for letter in await app.dead_letters()}
        assert letters[b'"exit"'].attempts == 3
        assert letters[b'"exit"'].error.type == "HandlerExited"
        assert letters[b'"exit"'].error.message == "the handler called sys.exit(2)"
        assert letters[b'"caught"'].error.type == "OSError"
        assert len(await app.events("b")) == 1
        await app.advance(2)
        assert await app.events("b") == [{"of": "fine"}, {"of": "later"}]


PIDS = """
    import os
    STARTED = os.getpid()
    def handler(data, ctx):
        if data == "die": os._exit(7)
        ctx.state.done.update("pids", lambda old: [*(old or []), STARTED])
"""


async def test_a_process_is_kept_and_replaced_when_it_dies(make_app):
    async with make_app(SPEC, work=PIDS) as app:
        for data in ("one", "two", "die", "three"):
            await app.emit("a", data)
            await app.settle()
        first, second, third = await app.state.get("done", "pids")
        assert first == second != third
        assert os.getpid() not in (first, third), "the app does not even import the handler"
        (letter,) = await app.dead_letters()
        assert letter.story.error.type == "WorkerDied"
        assert letter.story.error.message == "the process of Work ended with exit code 7"
        assert _exists(third)
    assert not _exists(first)
    assert not _exists(third)


async def test_one_that_dies_between_runs_costs_no_attempt(make_app):
    async with make_app(SPEC, work=PIDS) as app:
        await app.emit("a", "one")
        await app.settle()
        (first,) = await app.state.get("done", "pids")
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while _exists(first):
                await asyncio.sleep(0.001)
        await app.emit("a", "two")
        await app.settle()
        assert await app.dead_letters() == []
        assert len(set(await app.state.get("done", "pids"))) == 2


DEATHS = {
    "segfault": ("ctypes.string_at(0)", "was killed by SIGSEGV"),
    "abort": ("os.abort()", "was killed by SIGABRT"),
    "kill": ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    "exit": ("os._exit(0)", "ended with exit code 0"),
    "scribble": (
        "[contextlib.suppress(OSError).__enter__() or write(fd) for fd in range(3, 40)]; time.sleep(60)",
        "sent what is no message",
    ),
    "close": ("os.closerange(3, 200); time.sleep(60)", ""),
}


@pytest.mark.parametrize("how", DEATHS)
async def test_a_handler_that_ruins_its_process_fails_alone(make_app, how):
    what, told = DEATHS[how]
    work = f"""
    import contextlib, ctypes, os, time
    def write(fd):
        try:
            os.write(fd, b"\\xff" * 64)
        except OSError:
            pass
    async def handler(data, ctx):
        await ctx.state.done.set(str(data), 1)
        await ctx.emit("b", data)
        if data == 1: {what}
    """
    async with make_app(SPEC.replace("attempts: 1", "attempts: 2, delay: 1s"), work=work) as app:
        for data in (0, 1, 2):
            await app.emit("a", data)
        await app.settle(30)
        await app.advance(10, 30)
        (letter,) = await app.dead_letters()
        assert (letter.data, letter.story.attempts, letter.story.error.type) == (b"1", 2, "WorkerDied")
        assert told in letter.story.error.message
        if how in ("segfault", "abort"):
            assert letter.story.error.stack == "steps/work.py:11 in handler", "which line it was"
        assert sorted(await app.state.items("done")) == ["0", "2"], "effects of a run that died are not there"
        assert sorted(await app.events("b")) == [0, 2]


HANGS = {
    "python": "while True: print(end='')",
    "native, holding the interpreter": "7 ** (10 ** 9)",
    "regex": "re.match('(a|aa)+$', 'a' * 60 + 'b')",
    "signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(60)",
    "with a child": "subprocess.run([sys.executable, '-c', 'import os,time;print(os.getpid(), flush=True);time.sleep(60)'])",
}


@pytest.mark.parametrize("how", HANGS)
async def test_one_that_hangs_is_killed_at_its_timeout(make_app, caplog, how):
    work = f"""
    import re, signal, subprocess, sys, time
    def handler(data, ctx):
        if data: exec({HANGS[how]!r})
    """
    caplog.set_level(logging.INFO, "motia.run")
    async with make_app(SPEC.replace("timeout: 20s", "timeout: 1s"), work=work) as app:
        began = time.monotonic()
        await app.emit("a", 1)
        await app.emit("a", 0)
        await app.settle(20)
        assert 1.0 <= time.monotonic() - began < 15.0
        (letter,) = await app.dead_letters()
        assert letter.data == b"1"
        assert letter.story.error.type == "HandlerTimeout"
        assert letter.story.error.message == "no result after 1 s; its process was killed"
        if how == "with a child":
            (printed,) = [record.getMessage() for record in caplog.records if record.getMessage().isdigit()]
            async with asyncio.timeout(5):
                while _exists(int(printed)):
                    await asyncio.sleep(0.001)


async def test_runs_at_once_are_limited_by_concurrency(make_app, tmp_path):
    spec = SPEC.replace("{limit: 1}", "{limit: 2}")
    work = f"""
    import os, time
    os.chdir({str(tmp_path)!r})
    def runs():
        return [name for name in os.listdir() if name.endswith(".on")]
    def handler(data, ctx):
        open(f"{{os.getpid()}}.{{data}}.on", "x").close()
        deadline = time.monotonic() + 10
        while len(runs()) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
    """
    async with make_app(spec, work=work) as app:
        for data in range(6):
            await app.emit("a", data)
        await app.settle(30)
    made = [path.name.split(".") for path in tmp_path.glob("*.on")]
    assert sorted(int(data) for _, data, _ in made) == list(range(6))
    assert len({pid for pid, _, _ in made}) == 2


async def test_what_it_prints_is_logged_with_its_step_and_trace(make_app, caplog):
    caplog.set_level(logging.INFO, "motia.run")
    work = """
    import logging, sys
    print("imported")
    def handler(data, ctx):
        print("out", "\\u00e4", flush=True)
        print("err", file=sys.stderr)
        logging.getLogger("lib").warning("careful")
        ctx.logger.info("said")
        sys.stdout.write("x" * 300_000)
        sys.stdout.write("no end")
    """
    async with make_app(SPEC, work=work) as app:
        trace = await app.emit("a", 1)
        await app.settle()
    told = {record.getMessage(): record.motia for record in caplog.records if record.name == "motia.run"}
    assert told["imported"] == {"step": "Work", "trace_id": ""}
    for line in ("out ä", "err", "WARNING lib: careful", "said"):
        assert told[line]["step"] == "Work"
        assert told[line]["trace_id"] == trace
    assert max(map(len, told)) == 2_000


async def test_a_limit_of_memory_set_by_the_file_is_the_handlers_own(make_app):
    work = """
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    def handler(data, ctx):
        ctx.state.done.set("size", len(bytearray(data << 20)))
    """
    async with make_app(SPEC, work=work) as app:
        await app.emit("a", 1024)
        await app.emit("a", 10)
        await app.settle()
        (letter,) = await app.dead_letters()
        assert (letter.data, letter.story.error.type) == (b"1024", "MemoryError")
        assert await app.state.get("done", "size") == 10 << 20
        assert len(bytearray(500 << 20)) == 500 << 20


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (
            "import nothing_of_this_name\ndef handler(data, ctx): pass",
            "steps/work.py can't be imported: ModuleNotFound",
        ),
        ("import os\nos._exit(4)\ndef handler(data, ctx): pass", "importing its handler ends the process"),
    ],
)
async def test_a_handler_that_cant_be_loaded_is_found_before_anything_runs(make_app, work, told):
    with pytest.raises(HandlerError, match=re.escape(told)):
        async with make_app(SPEC, work=work):
            pass


async def test_a_ctx_that_outlives_its_run_can_do_nothing(make_app):
    work = """
    import threading
    kept = []
    go, gone = threading.Event(), threading.Event()
    def late():
        go.wait()
        try:
            kept[0].state.done.set("late", 1)
        except RuntimeError as problem:
            kept.append(str(problem))
        gone.set()
    def handler(data, ctx):
        if data == 1:
            kept.append(ctx)
            threading.Thread(target=late, daemon=True).start()
        else:
            go.set()
            gone.wait(10)
            ctx.state.done.set("told", kept[1])
    """
    async with make_app(SPEC, work=work) as app:
        for data in (1, 2):
            await app.emit("a", data)
            await app.settle()
        assert await app.state.items("done") == {"told": "the run has ended; nothing can be asked of its ctx any more"}


@pytest.mark.parametrize(("seconds", "grace"), [(0.3, 20), (60, 0.2)])
async def test_a_stop_lets_it_finish_within_the_grace_and_kills_it_after(make_app, tmp_path, seconds, grace):
    work = f"""
    import os, time
    os.chdir({str(tmp_path)!r})
    def handler(data, ctx):
        with open("pid.part", "w") as f: f.write(str(os.getpid()))
        os.rename("pid.part", "pid")
        time.sleep(data)
        ctx.state.done.set("it", 1)
    """
    async with make_app(SPEC, work=work) as app:
        await app.emit("a", seconds)
        async with asyncio.timeout(20):
            while not (tmp_path / "pid").exists():
                await asyncio.sleep(0.001)
        began = time.monotonic()
        await app._version.engine.stop(grace)
        assert time.monotonic() - began < 15
        assert not _exists(int((tmp_path / "pid").read_text()))
        assert bool(await app.state.items("done")) == (seconds < grace)


def test_inputs_are_of_the_classes_that_the_other_side_imports(tmp_path):
    """After a reload, the running version's classes are no longer those that are imported by their name."""
    (tmp_path / "motia.yaml").write_text(SHOP.replace("ISOLATION", "none"))
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "shop.py").write_text("def handler(data, ctx): pass")
    project = compile_project(tmp_path, environ={"SHOP_SECRET": "x"}).require()
    schema = project.topics["order"].schema
    old = load_types(project, generate).codec(schema).decode(b'{"id": "1", "total": 2.5, "tags": ["x"]}')
    load_types(project, generate)
    from motia_types import Order

    value, more = unpack(pack((old, {"b": [old, None]})))
    assert type(old) is not Order
    assert type(value) is Order
    assert msgspec.json.encode([value, more]) == msgspec.json.encode([old, {"b": [old, None]}])
    assert value.unit_price is msgspec.UNSET


def _exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
