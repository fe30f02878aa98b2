"""The live channel: a WebSocket that tells what happens, to those who may know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.process import AppProcess, running_app, write_project
from support.sockets import ClosedByServer, Refused, TestSocket, connect
from support.waiting import wait_for
from workbench.conftest import Api

LIVE = "/__workbench/api/live"
TOKEN = "a-token-that-nobody-guesses"
PLAIN = """
    motia: "1"
    name: plain
    server: { cors: { origins: ["http://friend.example"] } }
    steps:
      Hello: { type: api, method: GET, path: /hello, handler: steps/hello.py }
"""
HELLO = "async def handler(request, ctx):\n    return {'status': 200, 'body': 'hello'}\n"


def port(app: AppProcess) -> int:
    return int(app.url.rpartition(":")[2])


async def look(app: AppProcess, greeting: Any = None, **headers: str) -> TestSocket:
    wire = await connect(port(app), LIVE, **headers)
    await wire.send({} if greeting is None else greeting)
    return wire


async def until(wire: TestSocket, kind: str) -> Any:
    while (event := await wire.next())["type"] != kind:
        pass
    return event


async def closed(wire: TestSocket) -> int:
    """The code with which the server closes, once all that it tells before is read."""
    try:
        while True:
            await wire.next()
    except ClosedByServer as end:
        return end.code
    finally:
        await wire.close()


async def test_it_tells_what_happens(api: Api) -> None:
    wire = await look(api.app)
    assert (await wire.next())["type"] == "hello"
    first = await until(wire, "steps")
    assert {step["step"] for step in first["steps"]} >= {"CreateOrder", "ChargeCard"}
    trace = api.order(card="tok_flaky")
    seen: dict[Any, Any] = {}
    while ("NotifyCustomer", 1) not in seen:
        event = await until(wire, "runs")
        seen |= {(run["step"], run["attempt"]): run for run in event["runs"] if run["trace_id"] == trace}
    assert seen["CreateOrder", 1]["emits"] == ["order.created"]
    assert seen["ChargeCard", 1]["outcome"] == "retry"
    assert seen["ChargeCard", 1]["error"].startswith("BankUnavailable")
    assert seen["ChargeCard", 3]["outcome"] == "ok"
    while True:
        steps = {step["step"]: step for step in (await until(wire, "steps"))["steps"]}
        if steps["ChargeCard"]["failed"] >= 2:
            break
    await wire.close()


async def test_it_tells_who_follows_streams(api: Api) -> None:
    wire = await look(api.app)
    assert (await until(wire, "clients"))["groups"] == []
    first, second = await connect(port(api.app)), await connect(port(api.app))
    await first.join("progress", "a/b")
    await first.join("progress", "a/b", "one")
    await second.join("progress", "a/b", "two")
    await second.join("progress", "c")
    told: dict[str, Any] = {}
    while {each["group"]: each["clients"] for each in told.get("groups", [])} != {"a/b": 2, "c": 1}:
        told = await until(wire, "clients")
    assert told["clients"] == 2
    late = await look(api.app)
    assert {each["clients"] for each in (await until(late, "clients"))["groups"]} == {1, 2}
    await late.close()
    await second.close()
    while told["clients"] != 1:
        told = await until(wire, "clients")
    assert [(each["stream"], each["group"], each["clients"]) for each in told["groups"]] == [("progress", "a/b", 1)]
    await first.close()
    await wire.close()


async def test_a_save_is_told_and_the_new_version_takes_the_channel(api: Api) -> None:
    spec = api.app.folder / "motia.yaml"
    good = spec.read_text()
    wire = await look(api.app)
    try:
        spec.write_text(good.replace("subscribes: [order.cleared]", "subscribes: [order.claered]"))
        board = (await until(wire, "board"))["board"]
        while not board["broken"]:
            board = (await until(wire, "board"))["board"]
        assert board["broken"] == "The spec has errors."
        finding = next(each for each in board["findings"] if each["severity"] == "error")
        line = next(text for number, text in finding["lines"] if number == finding["place"]["line"])
        assert "order.claered" in line
        assert api.get("app")["board"]["broken"]
    finally:
        spec.write_text(good + "\n")
    assert await closed(wire) == 1012
    wait_for(lambda: api.get("app")["board"]["broken"] == "")


async def test_who_looks_is_sent_away_without_a_fault_when_the_app_reloads_and_stops(tmp_path: Path) -> None:
    folder = write_project(tmp_path, PLAIN, hello=HELLO)
    with running_app(folder, "dev") as app:
        wire = await look(app)
        assert (await wire.next())["type"] == "hello"
        spec = folder / "motia.yaml"
        spec.write_text(spec.read_text().replace("path: /hello", "path: /hallo"))
        assert await closed(wire) == 1012
        wire = await look(app)
        assert (await wire.next())["type"] == "hello"
        assert app.stop() == 0
        assert await closed(wire) == 1012
        assert "without answering" not in app.output
        assert "error" not in app.output.lower()


async def test_only_pages_of_this_server_open_it(tmp_path: Path) -> None:
    """Those that `server.cors` allows may follow streams, not this."""
    with running_app(write_project(tmp_path, PLAIN, hello=HELLO), "dev") as app:
        own = await look(app, origin=app.url.replace("localhost", "127.0.0.1"))
        assert (await own.next())["type"] == "hello"
        await own.close()
        for origin in ("http://friend.example", "http://evil.example", "null", "http://127.0.0.1:1"):
            with pytest.raises(Refused) as refused:
                await look(app, origin=origin)
            assert refused.value.status == 403
        with pytest.raises(Refused) as refused:
            await look(app, host="evil.example")
        assert refused.value.status == 421
        for words in ("hello", "[]", {"token": 1}, {"secret": ""}, "[" * 5_000):
            assert await closed(await look(app, words)) == 4400


async def test_a_token_comes_in_the_first_message(tmp_path: Path) -> None:
    folder = write_project(tmp_path, PLAIN, hello=HELLO)
    with running_app(folder, "start", "--workbench", env={"MOTIA_ADMIN_TOKEN": TOKEN}) as app:
        for words in ({}, {"token": None}, {"token": TOKEN + "x"}, {"token": "\u00e9"}):
            assert await closed(await look(app, words)) == 4401
        wire = await look(app, {"token": TOKEN})
        assert (await wire.next())["type"] == "hello"
        await wire.close()
    with running_app(folder, "start", env={"MOTIA_ADMIN_TOKEN": TOKEN}) as app:
        with pytest.raises(Refused) as refused:
            await look(app, {"token": TOKEN})
        assert refused.value.status == 404
