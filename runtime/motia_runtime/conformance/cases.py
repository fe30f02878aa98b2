"""What a worker has to do, case by case. Each begins with a worker that serves, and leaves one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from motia_runtime.conformance.kit import Broken, Kit, expect, until

Case = Callable[[Kit], Awaitable[None]]
CASES: list[tuple[str, Case]] = []


def case(what: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES.append((what, function))
        return function

    return add


@case("it is a micro service: PING, INFO, STATS")
async def service(kit: Kit) -> None:
    (ping,) = await kit.services("PING")
    expect(ping.get("type"), "io.nats.micro.v1.ping_response", "type of the answer to PING")
    (info,) = await kit.services("INFO")
    expect(info["metadata"].get("Motia-Protocol"), "1", "Motia-Protocol in its metadata")
    for endpoint in info["endpoints"]:
        expect(endpoint["queue_group"], "work", f"queue group of {endpoint['name']}")
    await kit.script(["context"])
    (stats,) = await kit.services("STATS")
    counted = {e["name"]: e for e in stats["endpoints"]}
    if not counted["Script"]["num_requests"] >= 1 or not counted["Script"]["processing_time"] > 0:
        raise Broken(f"STATS counts no runs: {counted['Script']}")


@case("a handler gets its input, and its context")
async def context(kit: Kit) -> None:
    (seen,) = await kit.script(["context"])
    expect(seen[:5], ["Script", 1, 32, "script", "event"], "step, attempt, length of the trace id, topic, trigger")
    if not str(seen[5]).startswith("Script:"):
        raise Broken(f"the idempotency key is {seen[5]!r}, not that of the run")


@case("reads see what the run has written")
async def own_writes(kit: Kit) -> None:
    seen = await kit.script(
        ["clear", "notes"],
        ["get", "notes", "a"],
        ["set", "notes", "a", {"n": 1, "text": "ä€😀"}],
        ["get", "notes", "a"],
        ["set", "notes", "b", [None, 1.5, True]],
        ["group", "notes"],
        ["delete", "notes", "a"],
        ["delete", "notes", "a"],
        ["group", "notes"],
    )
    one, two = {"n": 1, "text": "ä€😀"}, [None, 1.5, True]
    expect(seen, [None, None, one, one, two, [one, two], True, False, [two]], "what it has seen")
    expect(await kit.app.state.items("notes"), {"b": two}, "what is stored")


@case("emits and writes come true when the run ends well, and not otherwise")
async def effects(kit: Kit) -> None:
    before = len(await kit.app.events("told"))
    await kit.script(["emit", "told", {"a": 1}], ["emit", "told", None], ["emit", "typed", {"n": 1}])
    expect((await kit.app.events("told"))[before:], [{"a": 1}, None], "the events of told, in order")
    await kit.emit(["emit", "told", "never"], ["set", "notes", "never", 1], ["raise", "skipped"])
    await kit.app.settle(60)
    await kit.failures()
    expect(len(await kit.app.events("told")), before + 2, "number of events after a run that failed")
    expect(await kit.app.state.get("notes", "never"), None, "state after a run that failed")


@case("a delayed emit comes later")
async def delayed(kit: Kit) -> None:
    before = len(await kit.app.events("told"))
    await kit.script(["emit later", "told", "late", 60])
    expect(len(await kit.app.events("told")), before, "number of events before its time")
    await kit.app.advance(61)
    expect((await kit.app.events("told"))[before:], ["late"], "the events after its time")


@case("what is flushed stays")
async def flushed(kit: Kit) -> None:
    await kit.emit(["set", "notes", "kept", 1], ["flush"], ["set", "notes", "dropped", 1], ["raise", "skipped"])
    await kit.app.settle(60)
    await kit.failures()
    found = [await kit.app.state.get("notes", key) for key in ("kept", "dropped")]
    expect(found, [1, None], "state that was flushed, and state that was not")


@case("items of streams are written at once")
async def streams(kit: Kit) -> None:
    seen = await kit.script(
        ["stream get", "board", "g", "1"],
        ["stream set", "board", "g", "1", {"n": 1}],
        ["stream get", "board", "g", "1"],
        ["stream group", "board", "g"],
        ["stream send", "board", "g", "note", {"a": 1}],
        ["stream delete", "board", "g", "1"],
        ["stream delete", "board", "g", "1"],
        ["try", ["stream set", "board", "g", "2", {"n": "x"}]],
    )
    item = {"n": 1}
    expect([seen[0], *seen[2:4], *seen[5:]], [None, item, [item], True, False, "ValidationFailed"], "what it has seen")


@case("what does not fit its schema fails the run, and stores nothing")
async def unfit(kit: Kit) -> None:
    before = len(await kit.app.events("typed"))
    scripts = [
        await kit.emit(["emit", "typed", {"n": "x"}]),
        await kit.emit(["set", "numbers", "k", {"n": "x"}]),
        await kit.emit(["emit", "typed", {"n": 2}], ["set", "notes", "", 1]),
        await kit.emit(["emit", "nobody", 1], ["emit", "typed", {"n": 3}]),
    ]
    await kit.app.settle(60)
    await kit.app.advance(20, 60)
    failed = await kit.failures()
    kinds = [failed[token].error.type if token in failed else None for token, _ in scripts]
    expect(kinds, ["ValidationFailed", "ValidationFailed", "InvalidKey", "InvalidTopic"], "errors in the dead letters")
    expect(len(await kit.app.events("typed")), before, "number of events of typed")


@case("log lines belong to their run, with level and fields")
async def logs(kit: Kit) -> None:
    _, trace = await kit.emit(["log", "info", "one", {"a": 1}], ["log", "error", "two", None])
    await kit.app.settle(60)
    (run,) = await kit.app.runs(trace)
    expect(
        [(x.level, x.message, x.fields) for x in run.logs], [("info", "one", {"a": 1}), ("error", "two", {})], "lines"
    )


@case("errors are told by class, message and place")
async def errors(kit: Kit) -> None:
    plain, skipped, final, later = [
        (await kit.emit(["raise", kind]))[0] for kind in ("plain", "skipped", "final", "later")
    ]
    await kit.app.settle(60)
    failed = await kit.failures()
    expect(sorted(failed), sorted([skipped, final]), "scripts that are dead letters at once")
    expect(failed[skipped].error.message, "as told", "message of the error")
    if "steps/script" not in failed[skipped].error.stack:
        raise Broken(f"the stack does not name the project's file: {failed[skipped].error.stack!r}")
    await kit.app.advance(15, 60)
    failed = await kit.failures()
    expect({token: story.attempts for token, story in failed.items()}, {plain: 2}, "attempts of the plain error")
    await kit.app.advance(100, 60)
    expect(sorted(await kit.failures()), [later], "dead letters when the time of the later one has come")


@case("concurrent writers of a key lose no update")
async def conflicts(kit: Kit) -> None:
    await kit.app.state.set("notes", "n", 0)
    runs = 12
    for n in range(runs):  # each reads, waits, writes: a Conflict begins it again
        await kit.emit(["get", "notes", "n"], ["sleep", 0.02], ["set", "notes", "n", n], ["emit", "told", n])
    before = len(await kit.app.events("told"))
    await kit.app.settle(60)
    expect(len(await kit.app.events("told")) - before, runs, "runs that ended well")
    expect(await kit.failures(), {}, "dead letters")


@case("conditions, batches, joins, changes of state, ticks")
async def shapes(kit: Kit) -> None:
    token, _ = await kit.emit(["context"], unwanted=True)
    for n in range(3):
        await kit.app.emit("many", n)
    await kit.app.emit("left", {"key": "k"})
    await kit.app.emit("right", {"key": "k"})
    await kit.script(["set", "watched", "w", {"a": 1}])
    await kit.app.advance(86_400, 60)
    seen = await kit.app.state.items("seen")
    expect(seen.get(token), None, "what a run has left that its condition did not want")
    expect(seen.get("Many"), [0, 1, 2], "the batch")
    expect(seen.get("Pair"), {"left": {"key": "k"}, "right": {"key": "k"}}, "the join")
    expect(seen.get("Brief"), {"group": "watched", "key": "w", "value": {"a": 1}, "previous": None}, "the change")
    expect(seen.get("Tick"), "cron", "the trigger of a tick")


@case("requests are answered: status, headers, JSON, text, bytes, nothing")
async def answers(kit: Kit) -> None:
    async def ask(answer: Any) -> Any:
        return await kit.app.request("POST", "/answer/box?q=1", json={"answer": answer}, headers={"x-a": "b"})

    made = await ask({"status": 201, "headers": {"x-b": "c"}, "body": {"n": 1}})
    expect([made.status, made.headers.get("x-b"), made.json()], [201, "c", {"n": 1}], "the answer")
    text = await ask({"status": 200, "body": "text"})
    expect([text.body.decode(), text.headers["content-type"]], ["text", "text/plain; charset=utf-8"], "text")
    data = await ask({"bytes": [255, 0]})
    expect([list(data.body), data.headers["content-type"]], [[255, 0], "image/png"], "bytes")
    expect((await ask({"status": 204})).status, 204, "status without a body")
    echo = await ask({"echo": True})
    expect(echo.json()[:3], [{"kind": "box"}, {"q": "1"}, "b"], "path parameters, query, header")
    bare = await ask({"n": 1})
    expect([bare.status, bare.json()], [200, {"n": 1}], "a result without a status")


@case("messages above the broker's limit, both ways")
async def large(kit: Kit) -> None:
    long = "ä" * 1_500_000
    answer = await kit.app.request("POST", "/answer/box", json={"answer": {"status": 200, "body": long}})
    expect(answer.status, 200, "status of the answer to a large request")
    expect(len(answer.body.decode()), len(long), "length of a large answer")
    for key in ("l1", "l2"):
        await kit.app.state.set("notes", key, "x" * 700_000)
    before = len(await kit.app.events("told"))
    await kit.emit(["group", "notes"], ["emit", "told", "x" * 700_000], quiet=True)
    await kit.app.settle(60)
    expect(len(await kit.app.events("told")) - before, 1, "runs that read a large group and emit a large event")
    for key in ("l1", "l2"):
        await kit.app.state.delete("notes", key)


@case("an engine of another version is refused, with a reason")
async def version(kit: Kit) -> None:
    answers: list[Any] = []
    kit.messenger.ask(
        "conformance.work.run.Script",
        b'{"type":"run","protocol":99}',
        lambda status, data: answers.append((status, data)),
        timeout=10,
    )
    (status, data) = (await until(lambda: answers, "an answer to a run of protocol 99"))[0]
    expect(status, 0, "status of the answer")
    told = json.loads(data)
    expect([told["type"], told["why"], bool(told.get("message"))], ["refused", "protocol", True], "the refusal")


@case("a run past its timeout is ended, and what it says then is not heard")
async def timeout(kit: Kit) -> None:
    await kit.script(["set", "watched", "slow", {"sleep": 1.5}])
    await kit.app.settle(60)
    (letter,) = await kit.app.dead_letters("Brief")
    expect(letter.story.error.type, "HandlerTimeout", "the error")
    await asyncio.sleep(1.5)
    found = await kit.app.state.get("seen", "Brief")
    if isinstance(found, dict) and found.get("key") == "slow":
        raise Broken("the run has written after its end")


@case("a handler that computes for longer than the heartbeats is alive")
async def alive(kit: Kit) -> None:
    before = len(await kit.app.events("told"))
    _, trace = await kit.emit(["compute", 4], ["emit", "told", "computed"])
    await kit.app.settle(60)
    runs = await kit.app.runs(trace)
    expect([run.outcome for run in runs], ["ok"], "outcomes of its runs")
    expect((await kit.app.events("told"))[before:], ["computed"], "its events")
    (stats,) = await kit.services("STATS")
    expect(stats.get("type"), "io.nats.micro.v1.stats_response", "whether the worker still answers")


@case("killed in mid-run: nothing is lost, nothing is doubled")
async def killed(kit: Kit) -> None:
    before = len(await kit.app.events("told"))
    file = str(kit.folder / "go")
    tokens = [await kit.emit(["set", "notes", f"k{n}", n], ["hold", file], ["emit", "told", f"k{n}"]) for n in range(4)]
    begun = kit.folder / "go.begun"
    await until(lambda: begun.exists() and len(begun.read_text().split()) >= 4, "four runs that have begun")
    for pid in {int(pid) for pid in begun.read_text().split()}:
        os.kill(pid, signal.SIGKILL)
    kit.kill()
    await kit.gone()
    (kit.folder / "go").touch()
    await kit.start()
    await kit.app.settle(60)
    found = sorted(str(event) for event in (await kit.app.events("told"))[before:])
    expect(found, [f"k{n}" for n in range(len(tokens))], "the events of all of them")
    expect(await kit.failures(), {}, "dead letters")


@case("SIGTERM: what has begun is finished, the rest waits for another worker")
async def drained(kit: Kit) -> None:
    before = len(await kit.app.events("told"))
    file = kit.folder / "leave"
    await kit.emit(["hold", str(file)], ["emit", "told", "finished"])
    await until(lambda: (kit.folder / "leave.begun").exists(), "a run that has begun")
    stopping = asyncio.create_task(kit.stop())
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while await kit.services("PING"):
        if loop.time() > deadline:
            raise Broken("it still answers PING 10 s after SIGTERM")
    await kit.emit(["emit", "told", "waited"])
    file.touch()
    expect(await stopping, 0, "its exit code")
    await kit.start()
    await kit.app.settle(60)
    expect((await kit.app.events("told"))[before:], ["finished", "waited"], "the events")
