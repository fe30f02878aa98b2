"""The API that the pages read: over real HTTP, against the example app."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from support.waiting import wait_for
from workbench.conftest import Api


def test_the_app_as_a_whole(api: Api) -> None:
    app = api.get("app")
    assert app["name"] == "shop"
    assert {step["name"]: step["kind"] for step in app["steps"]}["ApproveOrder"] == "noop"
    assert [flow["name"] for flow in app["flows"]][:2] == ["orders", "reports"]
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
    assert "await charge(order.card, order.total" in step["handler"]["source"]
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


def test_traces_are_found_and_told_in_full(api: Api) -> None:
    trace = api.order(card="tok_declined")
    full = api.trace(trace, "NotifyCustomer")
    assert full["summary"]["root"] == "CreateOrder"
    charge = next(run for run in full["runs"] if run["step"] == "ChargeCard")
    assert [emit["topic"] for emit in charge["emits"]] == ["order.rejected"]
    write = next(each for each in charge["state"] if each["op"] == "set")
    assert write["before"]["status"] == "new"
    assert write["data"]["status"] == "rejected"
    assert api.get("traces", trace[:10])["summary"]["trace_id"] == trace
    listed = api.get("traces", flow="orders", step="ChargeCard", text="rejected", outcome="ok", limit=5)["traces"]
    assert trace in [each["trace_id"] for each in listed]
    assert api.get("traces", flow="reports", step="ChargeCard")["traces"] == []
    assert api.get("traces", trace=trace, longer=3600)["traces"] == []
    runs = api.get("runs", step="NotifyCustomer", trace=trace)["runs"]
    assert [run["outcome"] for run in runs] == ["ok"]
    page = api.get("traces", limit=1)
    assert api.get("traces", limit=1, after=page["next"])["traces"][0]["trace_id"] != page["traces"][0]["trace_id"]
    for wrong in ({"since": "yesterday"}, {"limit": 0}, {"after": "nonsense"}, {"colour": "red"}):
        assert api.ask("GET", "traces", **wrong).status_code == 400
    assert api.ask("GET", "traces", flow="nope").status_code == 404
    assert api.ask("GET", "traces", "0" * 32).status_code == 404


def test_an_event_is_given_again(api: Api) -> None:
    first = api.trace(api.send("POST", "emit", body={"topic": "quote.asked", "data": {"n": 7}})["trace_id"], "Quote")
    event = first["runs"][0]["trigger"]["event_id"]
    assert api.get("events", event)["data"] == {"n": 7}
    again = api.send("POST", "events", event, "replay", body={"data": {"n": 9}, "step": "Quote"})["trace_id"]
    runs = api.trace(again, "Quote")["runs"]
    assert runs[0]["input"] == {"n": 9}
    assert runs[0]["replay_of"] == first["summary"]["trace_id"]
    assert api.ask("POST", "events", event, "replay", body={"data": {"n": "x"}}).status_code == 422
    assert api.ask("POST", "events", event, "replay", body={"step": "ChargeCard"}).status_code == 400
    assert api.ask("POST", "events", 10**9, "replay", body={}).status_code == 404


def test_log_lines_are_found(api: Api) -> None:
    trace = api.send("POST", "emit", body={"topic": "quote.asked", "data": {"n": 51}})["trace_id"]
    api.trace(trace, "Quote")
    lines = api.get("logs", trace=trace)["lines"]
    assert [(line["message"], line["fields"]) for line in lines[::-1]] == [
        ("quoting", {"n": 51}),
        ("quoted", {"discount": 100}),
    ]
    assert api.get("logs", trace=trace, newer=lines[0]["id"])["lines"] == []
    assert api.get("logs", trace=trace, level="error")["lines"] == []
    assert api.ask("GET", "logs", level="loud").status_code == 400


def test_a_dead_letter_is_redriven_and_purged(api: Api) -> None:
    traces = [
        api.send("POST", "emit", body={"topic": "quote.asked", "data": {"n": 50 * n}})["trace_id"] for n in (1, 2, 3)
    ]
    for trace in traces:
        api.trace(trace, "Quote")
    letters = api.get("dead", step="Quote", error="ZeroDivisionError")["letters"]
    assert {letter["trace_id"] for letter in letters} >= set(traces)
    letter = api.get("dead", letters[0]["id"])
    assert letter["error"]["stack"].startswith("steps/quote.py:4 in handler: discount")
    full = api.trace(letter["trace_id"], "Quote")
    assert [each["id"] for each in full["letters"]] == [letter["id"]]
    place = full["places"]["steps/quote.py:4"]
    assert [4, '    discount = 100 // (data["n"] % 50)  # nobody has thought of multiples of fifty'] in place["lines"]
    queue = next(each for each in api.get("queues")["steps"] if each["step"] == "Quote")
    assert queue["dead"] == len(api.get("dead", step="Quote")["letters"])
    assert api.send("POST", "dead", "redrive", body={"ids": [letter["id"]]}) == {"redriven": 1, "failed": []}
    assert api.send("POST", "dead", "redrive", body={"ids": [letter["id"]]}) == {"redriven": 0, "failed": []}
    assert api.ask("GET", "dead", letter["id"]).status_code == 410
    assert api.ask("POST", "dead", "purge", body={"ids": [letter["id"]]}).status_code == 410
    assert api.ask("POST", "dead", "redrive", body={"ids": [*range(1, 1002)]}).status_code == 400
    wait_for(
        lambda: any(each["redrives"] == 1 for each in api.get("dead", step="Quote")["letters"] if "redrives" in each)
    )
    for nobody in ({}, {"ids": [1], "all": True}, {"where": {}}):
        assert api.ask("POST", "dead", "purge", body=nobody).status_code == 400
    assert api.send("POST", "dead", "purge", body={"where": {"step": "Quote"}})["purged"] >= 3
    assert api.get("dead", step="Quote")["letters"] == []
    assert api.ask("GET", "dead", letter["id"]).status_code == 410


def test_a_step_is_paused_and_resumed(api: Api) -> None:
    assert api.send("POST", "queues", "Quote", "pause", body={"seconds": 600})["paused_until"] > time.time() + 500
    trace = api.send("POST", "emit", body={"topic": "quote.asked", "data": {"n": 1}})["trace_id"]

    def quote() -> Any:
        return next(each for each in api.get("queues")["steps"] if each["step"] == "Quote")

    wait_for(lambda: quote()["waiting"] == 1)
    assert quote()["paused_until"]
    assert quote()["redelivered"] == 0
    assert time.time() - 60 < quote()["oldest"] <= time.time() + 1
    assert api.send("POST", "queues", "Quote", "resume") == {"resumed": True}
    api.trace(trace, "Quote")
    assert api.ask("POST", "queues", "CreateOrder", "pause", body={}).status_code == 400
    assert api.ask("POST", "queues", "Quote", "pause", body={"seconds": -1}).status_code == 400


def test_schedules_are_told_in_their_zone(api: Api) -> None:
    (daily,) = api.get("schedules")["schedules"]
    assert daily["timezone"] == "Europe/Berlin"
    assert len(daily["next"]) == 5
    for each in daily["next"]:
        assert each["local"][11:19] == "00:05:00"
        assert each["at"] > time.time()


def test_state_is_edited_with_a_revision(api: Api) -> None:
    report = {"day": "2026-01-02", "orders": 1, "total": 5.5}
    made = api.send("PUT", "state", "reports", "a/b c", body={"value": report, "revision": 0})
    assert made["value"] == report
    assert {"key": "a/b c", "size": 43, "preview": json.dumps(report, separators=(",", ":"))} in api.get(
        "state", "reports", text="A/B"
    )["keys"]
    again = api.ask("PUT", "state", "reports", "a/b c", body={"value": report, "revision": 0})
    assert again.status_code == 409
    wrong = api.ask("PUT", "state", "reports", "a/b c", body={"value": {"day": 1}, "revision": made["revision"]})
    assert wrong.status_code == 422
    assert "/day" in {fault["pointer"] for fault in wrong.json()["errors"]}
    stale = api.ask("DELETE", "state", "reports", "a/b c", revision=made["revision"] + 1)
    assert stale.status_code == 409
    assert api.ask("DELETE", "state", "reports", "a/b c").status_code == 400
    assert api.send("DELETE", "state", "reports", "a/b c", revision=made["revision"]) == {"deleted": True}
    assert api.get("state", "reports", "a/b c")["deleted"]
    assert api.ask("GET", "state", "reports", "never").status_code == 404
    assert {group["group"] for group in api.get("state")["groups"]} >= {"orders", "reports"}


def test_history_of_a_key_leads_to_its_runs(api: Api) -> None:
    trace = api.order(card="tok_visa")
    order = next(run for run in api.trace(trace, "NotifyCustomer")["runs"] if run["step"] == "CreateOrder")["state"][
        -1
    ]["key"]
    history = api.get("state", "orders", order)["history"]
    assert [each["value"]["status"] for each in history] == ["paid", "new"]


def test_streams_show_their_items(api: Api) -> None:
    assert api.client.put("/progress/one").status_code == 204
    (stream,) = api.get("streams")["streams"]
    assert stream["groups"] == [{"group": "all", "items": 1}]
    (item,) = api.get("streams", "progress", "all")["items"]
    assert (item["id"], item["value"]) == ("one", {"percent": 40})
    assert api.send("DELETE", "streams", "progress", "all", "one") == {"deleted": True}
    assert api.get("streams", "progress", "all")["items"] == []
    assert api.ask("GET", "streams", "nope", "all").status_code == 404


def test_the_spec_says_where_its_values_come_from(api: Api) -> None:
    spec = api.get("spec")
    values = {".".join(map(str, each["path"])): each for each in spec["values"]}
    assert values["steps.Quote.type"] == {
        "path": ["steps", "Quote", "type"],
        "value": "event",
        "file": "more.yaml",
        "line": 6,
    }
    assert values["name"]["file"] == "motia.yaml"
    assert spec["merged"]["steps"]["Quote"]["retry"] == {"attempts": 1}


@pytest.mark.parametrize("path", ["nope", "steps", "state/a/b/c", ""])
def test_what_is_not_there_says_so(api: Api, path: str) -> None:
    answer = api.client.get(f"/__workbench/api/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
