"""Runs that have not ended: seen in the API, in Traces, in a trace and in Logs while they run, in a real browser; and a streamed answer that is shown as it comes."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.browser import Page, find_chromium
from support.process import running_app, write_project
from support.sockets import connect
from support.waiting import wait_for
from workbench.conftest import Api, visit

SECRET = "a-secret-that-is-shown-to-nobody"
SPEC = """
    motia: "1"
    name: slow
    secrets: [BANK_KEY]
    topics: { dig: { external: in, schema: { type: object, required: [hole], properties: { hole: { type: string } } } } }
    state: { holes: { schema: { type: object } } }
    flows: { digging: {}, other: {} }
    steps:
      Dig: { type: event, subscribes: [dig], uses: { state: [holes] }, flows: [digging], handler: steps/dig.py, retry: { attempts: 1 }, timeout: 5m }
      Talk: { type: api, method: GET, path: "/talk/{hole}", flows: [digging], handler: steps/talk.py, timeout: 5m }
"""
# each waits for files of its test to say how it goes on
WAIT = """
import asyncio, os
from pathlib import Path

async def until(name):
    while not Path(name).exists():
        await asyncio.sleep(0.02)
"""
DIG = (
    WAIT
    + """
async def handler(data, ctx):
    hole = data["hole"]
    await ctx.state.holes.get(hole)
    ctx.logger.info("digging " + hole, key=os.environ["BANK_KEY"])
    await until(hole + ".deeper")
    ctx.logger.warning("deeper " + hole)
    await until(hole + ".done")
    ctx.logger.info("dug " + hole)
"""
)
TALK = (
    WAIT
    + """
async def handler(request, ctx):
    hole = request.path_params["hole"]
    yield "first words"
    await until(hole + ".done")
    yield ", last words"
"""
)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = write_project(tmp_path_factory.mktemp("slow"), SPEC, dig=DIG, talk=TALK)
    with running_app(folder, "dev", env={"BANK_KEY": SECRET}) as app:
        api = Api(app)
        yield api
        api.client.close()


def tell(api: Api, name: str) -> None:
    (api.app.folder / name).touch()


def dig(api: Api, hole: str) -> str:
    """Begin a run that lasts until it is told to end; its trace's id. It has logged its first line."""
    trace = str(api.send("POST", "emit", body={"topic": "dig", "data": {"hole": hole}})["trace_id"])
    wait_for(lambda: any(run.get("logs") for run in api.get("running", trace=trace)["runs"]), "a run with a line")
    return trace


def ended_trace(api: Api, trace: str) -> Any:
    """A trace, as soon as the record of its only run is there; for a moment after the end it is neither under way nor recorded."""

    def there() -> bool:
        answer = api.ask("GET", "traces", trace)
        return answer.status_code == 200 and answer.json()["summary"]["outcome"] == "ok"

    wait_for(there, f"no record of trace {trace}")
    return api.get("traces", trace)


def said(api: Api, **query: Any) -> list[str]:
    return [line["message"] for line in api.get("logs", **query)["running"]]


def test_the_api_tells_what_runs_and_what_it_has_said(slow: Api) -> None:
    trace = dig(slow, "a")
    (run,) = slow.get("running", trace=trace)["runs"]
    assert (run["step"], run["outcome"], run["input"]) == ("Dig", "running", {"hole": "a"})
    assert (run["state"][0]["group"], run["state"][0]["op"]) == ("holes", "get")
    assert [line["message"] for line in run["logs"]] == ["digging a"]
    assert SECRET not in json.dumps([run, slow.get("logs", trace=trace), slow.get("traces", trace)])
    assert slow.get("running", trace=trace, flow="other")["runs"] == []
    assert slow.get("running", trace=trace, longer="100000")["runs"] == []
    assert [each["step"] for each in slow.get("running", text="HOLE", flow="digging")["runs"]] == ["Dig"]
    whole = slow.get("traces", trace[:12])
    assert (whole["summary"]["trace_id"], whole["summary"]["outcome"]) == (trace, "running")
    assert whole["runs"][0]["span_id"] == run["span_id"]

    tell(slow, "a.deeper")
    wait_for(lambda: said(slow, trace=trace) == ["deeper a", "digging a"])
    assert said(slow, trace=trace, level="warning") == ["deeper a"]
    assert said(slow, trace=trace, text="digg") == ["digging a"]
    assert said(slow, trace=trace, until=str(run["started"] - 1)) == []
    assert said(slow, trace=trace, step="Talk") == []
    tell(slow, "a.done")
    ended = ended_trace(slow, trace)
    assert [each["span_id"] for each in ended["runs"]] == [run["span_id"]]
    assert said(slow, trace=trace) == []
    assert len(slow.get("logs", trace=trace)["lines"]) == 3


async def test_the_live_channel_tells_what_runs_for_a_while(slow: Api) -> None:
    wire = await connect(int(slow.app.url.rpartition(":")[2]), "/__workbench/api/live")
    await wire.send({})
    trace = dig(slow, "b")
    seen: list[tuple[int, int]] = []
    told = False
    while True:
        event = await wire.next()
        if event["type"] != "running":
            continue
        runs = [run for run in event["runs"] if run["trace_id"] == trace]
        seen += [(run["attempt"], run["lines"]) for run in runs]
        if seen and not told:
            tell(slow, "b.deeper")
            told = True
        if (1, 2) in seen and runs:
            tell(slow, "b.done")
        if (1, 2) in seen and not runs:
            break
    assert seen[0] == (1, 1)
    await wire.close()


@pytest.mark.skipif(find_chromium() is None, reason="needs chromium: apt-get install chromium")
class TestPages:
    def test_a_run_under_way_is_listed_opened_and_followed_to_its_end(self, page: Page, slow: Api) -> None:
        visit(page, slow, "/traces")
        trace = dig(slow, "c")
        page.see("Running now", "[data-test=under-way]")
        page.wait(f"document.querySelector('[data-running=\"{trace}\"]') !== null")
        page.press(f'[data-running="{trace}"]')
        page.see("running", ".page-head")
        page.see("digging c", "[data-test=run-panel]")
        page.see("It is at work still", "[data-test=run-panel]")
        assert not page.has("[data-tab=replay]")
        tell(slow, "c.deeper")
        page.see("deeper c", "[data-test=run-panel]")
        page.js(
            "globalThis.troubles = 0; new MutationObserver(() => {"
            " if (document.querySelector('[data-test=trouble]') || !document.querySelector('[data-run=Dig]')) globalThis.troubles += 1;"
            " }).observe(document.body, { childList: true, subtree: true })"
        )
        tell(slow, "c.done")
        page.see("dug c", "[data-test=run-panel]")
        page.see("ok", ".page-head")
        page.wait("document.querySelector('[data-tab=replay]') !== null")
        assert page.js("globalThis.troubles") == 0

    def test_its_lines_are_in_the_log_while_it_runs_and_once_when_it_has_ended(self, page: Page, slow: Api) -> None:
        visit(page, slow, "/logs?text=bore")
        trace = dig(slow, "bore")
        page.see("digging bore", "[data-test=logs]")
        tell(slow, "bore.deeper")
        page.see("deeper bore", "[data-test=logs]")
        tell(slow, "bore.done")
        page.see("dug bore", "[data-test=logs]")
        slow.trace(trace, "Dig")
        page.wait("[...document.querySelectorAll('[data-log]')].every((line) => /^[0-9]+$/.test(line.dataset.log))")
        lines = page.texts("[data-test=logs] .message")
        assert [line.split()[0] for line in lines] == ["digging", "deeper", "dug"]
        assert SECRET not in page.text()

    def test_a_streamed_answer_is_shown_as_it_comes(self, page: Page, slow: Api) -> None:
        visit(page, slow, "/endpoints/Talk")
        page.wait("document.querySelector('[aria-label=\"path hole\"]') !== null")
        page.type('[aria-label="path hole"]', "talk")
        page.press("[data-test=send]")
        page.see("first words", "[data-test=answer]")
        page.see("still coming", "[data-test=answer]")
        assert "last words" not in page.text()
        tell(slow, "talk.done")
        page.see("first words, last words", "[data-test=answer]")
        page.wait("!document.querySelector('[data-test=answer]').innerText.includes('still coming')")


def test_a_request_under_way_is_seen(slow: Api) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(slow.client.get("/talk/d", headers=headers)))
    asking.start()
    wait_for(lambda: [run["step"] for run in slow.get("running", trace=trace)["runs"]] == ["Talk"])
    tell(slow, "d.done")
    asking.join()
    assert answers[0].text == "first words, last words"
    assert [run["step"] for run in ended_trace(slow, trace)["runs"]] == ["Talk"]
