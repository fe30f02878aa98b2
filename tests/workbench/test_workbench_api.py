"""The API that the pages read: over real HTTP, against the example app."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.waiting import wait_for
from workbench.conftest import MARK, Api


def events(api: Api) -> Iterator[dict[str, Any]]:
    """What the live channel tells, until the caller has seen enough."""
    with api.client.stream("GET", "/__workbench/api/live", headers=MARK) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def test_the_app_as_a_whole(api: Api) -> None:
    app = api.get("app")
    assert app["name"] == "shop"
    assert {step["name"]: step["kind"] for step in app["steps"]}["ApproveOrder"] == "noop"
    assert [flow["name"] for flow in app["flows"]] == ["orders", "reports", "Hello"]
    assert app["board"] == {"broken": "", "saves": app["board"]["saves"], "findings": []}


def test_a_flow_is_laid_out_and_positions_are_kept_in_the_project(api: Api) -> None:
    flow = api.get("flows", "orders")
    boxes = {box["id"]: box for box in flow["boxes"]}
    assert boxes["step:CreateOrder"]["x"] < boxes["step:ScreenOrder"]["x"] < boxes["step:ChargeCard"]["x"]
    for box in boxes.values():
        assert 0 <= box["x"] <= flow["width"] - box["width"]
        assert 0 <= box["y"] <= flow["height"] - box["height"]
    arrow = next(a for a in flow["arrows"] if a["target"] == "step:NotifyCustomer")
    assert arrow["conditional"]
    assert arrow["topics"] == ["order.paid", "order.rejected"]
    assert len(arrow["points"]) % 3 == 1
    assert "state:orders" not in boxes
    assert "state:orders" in {box["id"] for box in api.get("flows", "orders", data=1)["boxes"]}
    kept = api.app.folder / "motia-workbench.json"
    api.send("PUT", "flows", "orders", "positions", body={"positions": {"step:GetOrder": {"x": 5.04, "y": -7}}})
    assert json.loads(kept.read_text()) == {"orders": {"step:GetOrder": {"x": 5.0, "y": -7.0}}}
    assert api.get("flows", "orders")["positions"] == {"step:GetOrder": {"x": 5.0, "y": -7.0}}
    far = {"positions": {"step:GetOrder": {"x": 1e9, "y": 0}}}
    assert api.ask("PUT", "flows", "orders", "positions", body=far).status_code == 400
    assert api.ask("PUT", "flows", "nope", "positions", body={"positions": {}}).status_code == 404
    api.send("PUT", "flows", "orders", "positions", body={"positions": {}})
    assert not kept.exists()
    assert api.ask("GET", "flows", "nope").status_code == 404


def test_a_step_says_how_it_is_treated_and_where_that_is_written(api: Api) -> None:
    step = api.get("steps", "ChargeCard")
    spec = (api.app.folder / "motia.yaml").read_text().splitlines()
    lines = {line["name"]: line for line in step["policies"]}
    assert lines["timeout"]["from"] == "defaults"
    assert "timeout: 10s" in spec[lines["timeout"]["place"]["line"] - 1]
    assert lines["retry"]["policy"] == "payment"
    assert "payment: {" in spec[lines["retry"]["place"]["line"] - 1]
    assert lines["retry"]["value"].startswith("5 attempts, exponential from 500ms")
    assert lines["dead letter"]["from"] == "built in"
    assert step["place"]["line"] == spec.index("  ChargeCard:") + 1
    assert "async def handler(decision" in step["handler"]["source"]
    assert step["inputs"] == [
        {
            "what": "topic",
            "name": "order.cleared",
            "site": "topic:order.cleared",
            "schema": {"$ref": "#/$defs/Decision"},
        }
    ]
    assert api.get("steps", "CreateOrder")["policies"][1]["name"] == "middleware"
    assert api.ask("GET", "steps", "nope").json()["detail"] == "There is no step 'nope' in the spec that runs."


def test_a_value_is_checked_as_when_it_comes_in(api: Api) -> None:
    wrong = api.send("POST", "check", body={"site": "step:CreateOrder:body", "value": {"customerId": "", "x": 1}})
    assert {fault["keyword"] for fault in wrong["faults"]} == {"required", "minLength", "additionalProperties"}
    right = {"customerId": "c", "items": [{"sku": "a", "qty": 1, "price": 1}]}
    assert api.send("POST", "check", body={"site": "step:CreateOrder:body", "value": right}) == {"faults": []}
    assert api.ask("POST", "check", body={"site": "nowhere", "value": 1}).status_code == 404


def test_an_event_step_runs_now_and_alone(api: Api) -> None:
    created = api.trace(api.order(), "NotifyCustomer")
    order = next(run for run in created["runs"] if run["step"] == "CreateOrder")["state"][-1]["key"]
    data = {"orderId": order, "approved": False}
    trace = api.send("POST", "steps", "ChargeCard", "run", body={"data": data})["trace_id"]
    runs = api.trace(trace, "ChargeCard", "NotifyCustomer")["runs"]
    assert [run["step"] for run in runs] == ["ChargeCard", "NotifyCustomer"]
    refused = api.ask("POST", "steps", "ChargeCard", "run", body={"data": {"approved": 1}})
    assert refused.status_code == 422
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {"", "/approved"}
    for body in ({"source": "order.paid", "data": data}, {"source": 1}):
        assert api.ask("POST", "steps", "ChargeCard", "run", body=body).status_code == 400
    assert api.ask("POST", "steps", "CreateOrder", "run", body={}).status_code == 400


def test_a_cron_step_runs_now_beside_its_schedule(api: Api) -> None:
    trace = api.send("POST", "steps", "DailyReport", "run")["trace_id"]
    runs = api.trace(trace, "DailyReport", "BuildReport")["runs"]
    assert runs[0]["trigger"]["type"] == "cron"
    assert abs(runs[0]["trigger"]["due"] - time.time()) < 60


def test_an_event_is_emitted_for_all(api: Api) -> None:
    trace = api.send("POST", "emit", body={"topic": "report.requested", "data": {"day": "2026-01-01"}})["trace_id"]
    assert [run["step"] for run in api.trace(trace, "BuildReport")["runs"]] == ["BuildReport"]
    assert api.ask("POST", "emit", body={"topic": "report.requested", "data": {}}).status_code == 422
    assert api.ask("POST", "emit", body={"topic": "nope", "data": {}}).status_code == 400


def test_the_live_channel_tells_what_happens(api: Api) -> None:
    told = events(api)
    assert next(told)["type"] == "hello"
    first = next(event for event in told if event["type"] == "steps")
    assert {step["step"] for step in first["steps"]} >= {"CreateOrder", "ChargeCard"}
    trace = api.order(card="tok_flaky")
    seen: dict[str, Any] = {}
    for event in told:
        if event["type"] == "runs":
            seen |= {(run["step"], run["attempt"]): run for run in event["runs"] if run["trace_id"] == trace}
        if ("NotifyCustomer", 1) in seen:
            break
    assert seen["CreateOrder", 1]["emits"] == ["order.created"]
    assert seen["ChargeCard", 1]["outcome"] == "retry"
    assert seen["ChargeCard", 1]["error"].startswith("BankUnavailable")
    assert seen["ChargeCard", 3]["outcome"] == "ok"
    counted = next(
        step
        for event in told
        if event["type"] == "steps"
        for step in event["steps"]
        if step["step"] == "ChargeCard" and step["runs"]
    )
    assert counted["failed"] >= 2
    told.close()


def test_a_save_is_told_and_the_new_version_takes_the_channel(api: Api) -> None:
    spec = api.app.folder / "motia.yaml"
    good = spec.read_text()
    told = events(api)
    next(told)
    try:
        spec.write_text(good.replace("subscribes: [order.cleared]", "subscribes: [order.claered]"))
        board = next(event for event in told if event["type"] == "board")["board"]
        assert board["broken"] == "The spec has errors."
        finding = next(each for each in board["findings"] if each["severity"] == "error")
        line = next(text for number, text in finding["lines"] if number == finding["place"]["line"])
        assert "order.claered" in line
        assert api.get("app")["board"]["broken"]
    finally:
        spec.write_text(good + "\n")
    assert "bye" in {event["type"] for event in told}  # and it ends
    wait_for(lambda: api.get("app")["board"]["broken"] == "")


@pytest.mark.parametrize("path", ["nope", "steps", "state/a/b/c", ""])
def test_what_is_not_there_says_so(api: Api, path: str) -> None:
    answer = api.client.get(f"/__workbench/api/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
