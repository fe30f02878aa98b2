"""The AsyncAPI document: valid by the rules of AsyncAPI 3.0 itself, and saying what the spec says of topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from motia_runtime.cloudevents.outgoing import Tails
from motia_runtime.http.asyncapi import asyncapi_document
from motia_runtime.http.page import Page
from motia_runtime.http.pages.pages import build_pages
from motia_runtime.nats.wire import decode_head, encode_head
from motia_spec import compile_project
from motia_spec.model import ApiStep, Emit, EventStep, Flow, Handler, Nats, Project, Schema, Subscription, Topic

# https://asyncapi.com/schema-store/3.0.0-without-$id.json, as published by the AsyncAPI Initiative (Apache-2.0), without its white space
ASYNCAPI = Draft7Validator(json.loads(Path(__file__).with_name("asyncapi-3.0-schema.json").read_text()))
EXAMPLE = Path(__file__).parents[2]

HANDLER = Handler(path="steps/h.py")
ORDER: Any = {"type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/my~1item"}}}}


def topic(name: str, value: Any = None, **more: Any) -> Topic:
    return Topic(name=name, schema=None if value is None else Schema(id=f"topic:{name}", value=value), **more)


def shop(*topics: Topic) -> Project:
    create = ApiStep(name="Create", handler=HANDLER, methods=("POST",), path="/x", emits=(Emit(topic="order.created"),))
    pay = EventStep(
        name="Pay",
        handler=HANDLER,
        description="Take the money",
        subscribes=(Subscription(kind="topic", name="order.created"), Subscription(kind="state", name="orders")),
        emits=(Emit(topic="a/b~c"), Emit(topic="a/b~c", conditional=True)),
    )
    return Project(
        root=Path("."),
        files=("motia.yaml",),
        name="shop",
        defs={"Order": ORDER, "my/item": {"type": "string"}},
        topics={each.name: each for each in topics},
        steps={"Create": create, "Pay": pay},
        flows={"orders": Flow(name="orders", steps=("Pay",))},
        nats=Nats(prefix="acme"),
    )


def document(project: Project) -> Any:
    """The document, after every check that holds for all documents."""
    made = asyncapi_document(project)
    assert made == json.loads(json.dumps(made)), "plain JSON values only"
    assert [f"{list(e.absolute_path)}: {e.message[:200]}" for e in ASYNCAPI.iter_errors(made)] == []
    for part in made["components"]["schemas"].values():
        Draft202012Validator.check_schema(part["schema"])
    for ref in references(made):
        target(made, ref)
    return made


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for each in value.values() for ref in references(each)]
    return [ref for each in value for ref in references(each)] if isinstance(value, list) else []


def target(made: Any, ref: str) -> Any:
    """What a reference points to. Raises `KeyError`: nothing is there."""
    found = made
    for part in ref.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_it_says_who_sends_and_who_receives() -> None:
    made = document(
        shop(
            topic("order.created", {"$ref": "#/$defs/Order"}, description="An order came in."),
            topic("a/b~c", external="out"),
            topic("stock.changed", {"type": "integer"}, external="in"),
        )
    )
    assert {key: each["address"] for key, each in made["channels"].items()} == {
        "order.created": "acme.ev.order.created",
        "a/b~c": "acme.ev.a=2Fb=7Ec",
        "stock.changed": "acme.in.stock.changed",
    }
    assert made["channels"]["order.created"]["description"] == "An order came in."
    assert made["channels"]["stock.changed"]["description"] == "Other programs publish to it."
    operations = made["operations"]
    assert list(operations) == ["Create.send.order.created", "Pay.receive.order.created", "Pay.send.a/b~c"]
    paid = operations["Pay.receive.order.created"]
    assert (paid["action"], paid["description"], paid["tags"]) == ("receive", "Take the money", [{"name": "orders"}])
    assert target(made, paid["channel"]["$ref"]) == made["channels"]["order.created"]
    assert target(made, operations["Pay.send.a/b~c"]["messages"][0]["$ref"])["name"] == "a/b~c"


def test_the_headers_of_the_apps_events_are_those_of_a_cloudevent() -> None:
    made = document(shop(topic("order.created"), topic("a/b~c"), topic("stock.changed", external="in")))
    headers = {}
    for name, channel in made["channels"].items():
        message = channel["messages"]["event"]
        headers[name] = [target(made, each["$ref"])["headers"]["schema"] for each in message.get("traits", ())]
    assert headers["stock.changed"] == []
    [schema] = headers["order.created"]
    told = decode_head(encode_head({"traceparent": "x"}, Tails("acme").tail("ev.order.created", "1", 0.5)))[1]
    assert list(Draft202012Validator(schema).iter_errors(told)) == []
    assert set(told) <= set(schema["properties"])
    assert list(Draft202012Validator(schema).iter_errors({**told, "ce-specversion": "0.3"})) != []


def test_payloads_are_the_schemas_of_the_topics() -> None:
    made = document(shop(topic("order.created", {"$ref": "#/$defs/Order"}), topic("a/b~c")))
    payload = made["channels"]["order.created"]["messages"]["event"]["payload"]
    assert payload["schemaFormat"].endswith("draft-2020-12")
    order = target(made, payload["schema"]["$ref"])
    assert target(made, order["properties"]["items"]["items"]["$ref"]) == {"type": "string"}
    assert made["channels"]["a/b~c"]["messages"]["event"]["payload"]["schema"] is True


def test_an_app_without_topics_has_a_valid_document() -> None:
    made = document(Project(root=Path("."), files=("motia.yaml",), name="small"))
    assert (made["channels"], made["operations"]) == ({}, {})


def test_the_example_has_one_and_serves_it() -> None:
    project = compile_project(EXAMPLE).project
    assert project is not None
    made = document(project)
    assert made["operations"]["ChargeCard.receive.order.cleared"]["action"] == "receive"
    page = build_pages(project)["/schema/asyncapi.json"]
    assert isinstance(page, Page)
    assert json.loads(page.body) == made


def test_a_document_that_is_wrong_is_found() -> None:
    """The checks above look."""
    made = asyncapi_document(shop(topic("order.created"), topic("a/b~c")))
    made["operations"]["Create.send.order.created"]["action"] = "emit"
    assert not ASYNCAPI.is_valid(made)
    with pytest.raises(KeyError):
        target(made, "#/channels/none")
