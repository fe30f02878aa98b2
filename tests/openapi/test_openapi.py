"""The OpenAPI document: valid by the rules of OpenAPI 3.1 itself, and saying what the spec says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from motia_runtime.http.openapi import openapi_document
from motia_spec.model import (
    ApiStep,
    Emit,
    EventStep,
    Flow,
    Handler,
    Idempotency,
    Project,
    RateLimit,
    Schema,
    Subscription,
)

# https://spec.openapis.org/oas/3.1/schema, as published by the OpenAPI Initiative (Apache-2.0)
OPENAPI = Draft202012Validator(json.loads(Path(__file__).with_name("openapi-3.1-schema.json").read_text()))

ORDER: Any = {
    "type": "object",
    "description": "An order as stored",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
    "examples": [{"id": "o-1", "items": []}, {"id": "o-2"}],
}


def handler(name: str) -> Handler:
    return Handler(path=f"steps/{name}.py")


def schema(value: Any) -> Schema:
    return Schema(id="x", value=value)


def project(*steps: ApiStep | EventStep, defs: dict[str, Any] | None = None, **more: Any) -> Project:
    return Project(
        root=Path("."),
        files=("motia.yaml",),
        name="shop",
        description="Orders",
        fingerprint="0123456789abcdef",
        defs={"Order": ORDER, "Item": {"type": "object"}} if defs is None else defs,
        steps={step.name: step for step in steps},
        **more,
    )


def api(name: str, method: str = "GET", path: str = "/x", **more: Any) -> ApiStep:
    return ApiStep(name=name, handler=handler("h"), methods=tuple(method.split("|")), path=path, **more)


def document(project: Project) -> dict[str, Any]:
    """The document, after every check that holds for all documents."""
    made = openapi_document(project)
    assert made == json.loads(json.dumps(made)), "plain JSON values only"
    faults = [f"{list(e.absolute_path)}: {e.message[:200]}" for e in OPENAPI.iter_errors(made)]
    assert faults == []
    components = made["components"]["schemas"]
    for part in components.values():
        Draft202012Validator.check_schema(part)
    for ref in references(made):
        assert ref.startswith("#/components/schemas/")
        assert ref.removeprefix("#/components/schemas/") in components
    ids = [op["operationId"] for item in made["paths"].values() for op in item.values()]
    assert len(ids) == len(set(ids))
    for key, item in made["paths"].items():
        template = sorted(s[1:-1] for s in key.split("/") if s.startswith("{"))
        for op in item.values():
            assert sorted(p["name"] for p in op.get("parameters", []) if p["in"] == "path") == template
    return made


def references(value: Any) -> list[str]:
    """Every `$ref` where OpenAPI reads one; none of the documents here holds one as data, but for the test of just that."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for key, v in value.items() if key not in ("const", "enum", "default") for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


def test_an_operation_says_all_that_the_spec_says() -> None:
    step = api(
        "CreateOrder",
        "POST",
        "/shops/{shop}/orders",
        description="Accept an order\nand keep it",
        body=schema({"$ref": "#/$defs/Order"}),
        query=schema(
            {
                "type": "object",
                "required": ["day"],
                "properties": {
                    "day": {"type": "string", "format": "date", "description": "Which day"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            }
        ),
        responses={201: schema({"$ref": "#/$defs/Order"}), 409: schema({"type": "object"})},
        emits=(Emit(topic="order.created"), Emit(topic="order.created"), Emit(topic="audit")),
    )
    flows = {"orders": Flow(name="orders", description="From cart to paid", steps=("CreateOrder",))}
    made = document(project(step, flows=flows))
    assert made["openapi"] == "3.1.0"
    assert made["info"] == {"title": "shop", "version": "0123456789ab", "description": "Orders"}
    assert made["tags"] == [{"name": "orders", "description": "From cart to paid"}]
    operation = made["paths"]["/shops/{shop}/orders"]["post"]
    assert operation["operationId"] == "CreateOrder"
    assert operation["summary"] == "Accept an order"
    assert operation["description"] == "Accept an order\nand keep it"
    assert operation["tags"] == ["orders"]
    assert operation["x-motia-emits"] == ["order.created", "audit"]
    parameters = {p["name"]: p for p in operation["parameters"]}
    assert {name: p["in"] for name, p in parameters.items()} == {
        "shop": "path",
        "day": "query",
        "tags": "query",
    }
    assert parameters["shop"]["required"] is True
    assert parameters["day"]["required"] is True
    assert parameters["day"]["description"] == "Which day"
    assert "required" not in parameters["tags"]
    media = operation["requestBody"]["content"]["application/json"]
    assert media["schema"] == {"$ref": "#/components/schemas/Order"}
    assert [e["value"] for e in media["examples"].values()] == ORDER["examples"]
    responses = operation["responses"]
    assert list(responses) == ["201", "400", "409", "413", "415", "500", "503", "504"]
    assert responses["201"]["description"] == "An order as stored"
    assert responses["409"]["description"] == "Conflict"
    assert list(responses["400"]["content"]) == ["application/problem+json"]
    assert made["components"]["schemas"]["Order"]["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/Item"
    }


@pytest.mark.parametrize(
    ("step", "statuses"),
    [
        (api("A"), ["200", "500", "504"]),
        (api("A", "POST"), ["200", "400", "413", "415", "500", "504"]),
        (api("A", "POST", body=schema({"type": "object"})), ["200", "400", "413", "415", "500", "504"]),
        (api("A", path="/{id}"), ["200", "400", "500", "504"]),
        (api("A", query=schema({"type": "object"})), ["200", "400", "500", "504"]),
        (api("A", emits=(Emit(topic="t"),)), ["200", "500", "503", "504"]),
        (api("A", uses_state=("g",), responses={302: schema(True)}), ["302", "500", "503", "504"]),
        (api("A", responses={404: schema({"type": "object"})}), ["200", "404", "500", "504"]),
    ],
)
def test_the_runtime_s_own_answers_are_listed_where_they_can_come(step: ApiStep, statuses: list[str]) -> None:
    assert list(document(project(step))["paths"][step.path].popitem()[1]["responses"]) == statuses


def test_a_declared_problem_response_wins_over_the_runtime_s() -> None:
    step = api("A", "POST", body=schema(True), responses={400: schema({"type": "string", "description": "ours"})})
    response = document(project(step))["paths"]["/x"]["post"]["responses"]["400"]
    assert response["description"] == "ours"
    assert list(response["content"]) == ["application/json"]


def test_answers_without_a_body_have_no_content() -> None:
    step = api("A", "HEAD|DELETE", responses={204: schema(True), 200: schema({"type": "object"})})
    item = document(project(step))["paths"]["/x"]
    assert "content" not in item["delete"]["responses"]["204"]
    assert "content" in item["delete"]["responses"]["200"]
    assert "content" not in item["head"]["responses"]["200"]
    assert "content" not in item["head"]["responses"]["500"]


def test_a_declared_body_is_asked_for_by_every_method_since_it_is_validated_for_every_one() -> None:
    step = api("A", "GET|PUT", body=schema({"type": "object"}))
    item = document(project(step))["paths"]["/x"]
    assert item["get"]["requestBody"] == item["put"]["requestBody"]
    assert item["get"]["requestBody"]["required"] is True


def test_several_methods_get_ids_of_their_own() -> None:
    made = document(project(api("A", "GET|POST", "/a"), api("A_get", "GET", "/b")))
    assert made["paths"]["/a"]["get"]["operationId"] == "A_get_2"
    assert made["paths"]["/a"]["post"]["operationId"] == "A_post"
    assert made["paths"]["/b"]["get"]["operationId"] == "A_get"


def test_paths_that_differ_only_in_parameter_names_are_one() -> None:
    made = document(project(api("Get", "GET", "/orders/{id}/x"), api("Put", "PUT", "/orders/{order}/x")))
    assert list(made["paths"]) == ["/orders/{id}/x"]
    assert made["paths"]["/orders/{id}/x"]["put"]["parameters"][0]["name"] == "id"


def test_the_rest_of_a_path_is_a_parameter() -> None:
    made = document(project(api("Files", "GET", "/files/{rest:path}"), api("One", "GET", "/files/{id}")))
    parameter = made["paths"]["/files/{rest}"]["get"]["parameters"][0]
    assert parameter["name"] == "rest"
    assert "slashes" in parameter["description"]
    assert made["paths"]["/files/{id}"]["get"]["operationId"] == "One"


def test_a_query_that_names_no_properties_is_one_free_parameter() -> None:
    step = api("A", query=schema({"type": "object", "additionalProperties": {"type": "string"}}))
    (parameter,) = document(project(step))["paths"]["/x"]["get"]["parameters"]
    assert (parameter["in"], parameter["style"], parameter["explode"]) == ("query", "form", True)


def test_a_query_by_reference_is_taken_apart() -> None:
    defs = {"Q": {"$ref": "#/$defs/Real"}, "Real": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    step = api("A", query=schema({"$ref": "#/$defs/Q"}))
    (parameter,) = document(project(step, defs=defs))["paths"]["/x"]["get"]["parameters"]
    assert parameter == {"name": "a", "in": "query", "schema": {"type": "integer"}}


def test_a_circle_of_references_ends() -> None:
    step = api("A", "POST", body=schema({"$ref": "#/$defs/A"}))
    document(project(step, defs={"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}))


def test_data_that_looks_like_a_reference_stays_data() -> None:
    looks = {"$ref": "#/$defs/Order"}
    defs: dict[str, Any] = {
        "A": {"const": looks, "default": looks, "enum": [looks], "properties": {"$ref": {"type": "string"}}},
        "Order": True,
    }
    step = api("S", "POST", body=schema({"$ref": "#/$defs/A"}))
    made = openapi_document(project(step, defs=defs))
    assert made["components"]["schemas"]["A"] == defs["A"]


def test_the_problem_schema_gives_way_to_a_user_s_schema_of_that_name() -> None:
    made = document(project(api("A"), defs={"Problem": {"type": "string"}}))
    assert made["components"]["schemas"]["Problem"] == {"type": "string"}
    content = made["paths"]["/x"]["get"]["responses"]["500"]["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Problem_2"}


def test_a_project_without_api_steps_has_a_valid_document() -> None:
    step = EventStep(name="E", handler=handler("e"), subscribes=(Subscription(kind="topic", name="t"),))
    made = document(project(step, defs={}))
    assert made["paths"] == {}
    assert made["components"]["schemas"] == {}


@settings(deadline=None, max_examples=60)  # the meta-schema takes its time
@given(st.lists(st.text(max_size=12), unique=True, max_size=6))
def test_any_names_of_schemas_give_a_valid_document(keys: list[str]) -> None:
    escaped = [key.replace("~", "~0").replace("/", "~1") for key in keys]
    defs: dict[str, Any] = {key: {"type": "object", "title": key} for key in keys}
    body = schema({"anyOf": [{"$ref": f"#/$defs/{e}"} for e in escaped] or [True]})
    made = document(project(api("A", "POST", body=body), defs=defs))
    refs = made["paths"]["/x"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    titles = [made["components"]["schemas"][r["$ref"].rpartition("/")[2]]["title"] for r in refs if r is not True]
    assert titles == keys


def test_controls_are_told() -> None:
    plain = document(project(api("A", "POST")))["paths"]["/x"]["post"]
    assert not {"409", "422", "429"} & plain["responses"].keys()
    step = api("A", "POST", idempotency=Idempotency(header="X-Key"), rate_limit=RateLimit(limit=1, per=1.0))
    made = document(project(step))["paths"]["/x"]["post"]
    assert {"400", "409", "422", "429", "503"} <= made["responses"].keys()
    (parameter,) = made["parameters"]
    assert (parameter["name"], parameter["in"], "required" in parameter) == ("X-Key", "header", False)
