"""The OpenAPI 3.1 document of a project, from its spec alone: `/schema/openapi.json`, and the file `motia build` writes.

OpenAPI 3.1 schemas are JSON Schema 2020-12, so schemas pass through as they are; only their `$ref`s are pointed at
`#/components/schemas`. The document is valid whatever the spec holds: names that OpenAPI can't carry are made to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from motia_spec.keywords import MANY, NAMED, ONE
from motia_spec.model import ApiStep, Project, Schema
from motia_spec.routes import shape

Json = dict[str, Any]

WITH_BODY = frozenset(
    {"POST", "PUT", "PATCH", "DELETE"}
)  # methods whose requests have one even where the spec declares none
BODILESS = frozenset({204, 304})
PROBLEM = "Problem"
PROBLEMS = {
    400: "The request is malformed or does not fit its schema; every fault is listed",
    409: "A request with this idempotency key is still being answered. Try again later",
    413: "The body is larger than this step takes",
    415: "The body is in a media type, character set or coding that this step does not read",
    422: "The idempotency key belongs to another request",
    429: "More requests than the rate limit has room for. Retry-After says when to try again",
    500: "The handler failed; nothing was committed",
    503: "The event log can't be reached or is full; the result is not known to be stored. Try again later",
    504: "The handler took longer than the step's timeout; nothing was committed",
}
PROBLEM_SCHEMA: Json = {
    "type": "object",
    "title": "Problem details",
    "description": "An error as RFC 9457 has it",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "default": "about:blank"},
        "title": {"type": "string", "description": "What is wrong, in a few words"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong with this request"},
        "instance": {"type": "string", "format": "uri-reference"},
        "traceId": {"type": "string", "description": "What motia trace show takes"},
        "errors": {
            "type": "array",
            "description": "Every fault of a value that does not fit its schema",
            "items": {
                "type": "object",
                "required": ["pointer", "keyword", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "Where: a JSON Pointer (RFC 6901)"},
                    "keyword": {"type": "string", "description": "Which keyword of the schema"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def openapi_document(project: Project) -> Json:
    """The whole document, as plain JSON values. The same project gives the same document; paths are in the spec's order."""
    names = component_names(project.defs)
    schemas = {names[key]: pointed(value, names) for key, value in project.defs.items()}
    steps = [step for step in project.steps.values() if isinstance(step, ApiStep)]
    ids = operation_ids(project)
    paths: dict[str, Json] = {}
    for step in steps:
        for method in step.methods:
            key, renamed = _place(paths, step, method)
            operation = _operation(project, step, method, ids[step.name, method], renamed, names)
            paths.setdefault(key, {})[method.lower()] = operation
    if steps:
        schemas[names[None]] = PROBLEM_SCHEMA
    used = {name for step in steps for name in _tags(project, step)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": project.name,
            "version": project.fingerprint[:12] or "0",
            **({"description": project.description} if project.description else {}),
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "tags": [
            {"name": flow.name, **({"description": flow.description} if flow.description else {})}
            for flow in project.flows.values()
            if flow.name in used
        ],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def operation_ids(project: Project) -> dict[tuple[str, str], str]:
    """(step, method) -> operationId: the step's name, with the method where it has several."""
    taken = set(project.steps)
    return {
        (step.name, method): step.name if len(step.methods) == 1 else _unused(f"{step.name}_{method.lower()}", taken)
        for step in project.steps.values()
        if isinstance(step, ApiStep)
        for method in step.methods
    }


def _operation(
    project: Project, step: ApiStep, method: str, id: str, renamed: Mapping[str, str], names: Mapping[str | None, str]
) -> Json:
    operation: Json = {"operationId": id}
    if step.description:
        first, _, _ = step.description.strip().partition("\n")
        operation["summary"] = first
        if first != step.description.strip():
            operation["description"] = step.description
    if tags := _tags(project, step):
        operation["tags"] = tags
    parameters = [
        *_path_parameters(step, renamed),
        *_query_parameters(project, step, names),
        *_header_parameters(step),
    ]
    if parameters:
        operation["parameters"] = parameters
    if step.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": _media(project, step.body, names)},
        }
    operation["responses"] = _responses(project, step, method, names)
    if step.emits:
        operation["x-motia-emits"] = list(dict.fromkeys(emit.topic for emit in step.emits))
    operation["x-motia-step"] = step.name
    return operation


def _responses(project: Project, step: ApiStep, method: str, names: Mapping[str | None, str]) -> Json:
    """The declared ones, then what the runtime itself may answer."""
    responses: Json = {}
    for status, schema in sorted(step.responses.items()):
        response: Json = {"description": _described(project, schema) or _phrase(status)}
        if status >= 200 and status not in BODILESS and method != "HEAD":
            response["content"] = {"application/json": _media(project, schema, names)}
        responses[str(status)] = response
    if not any(200 <= status < 400 for status in step.responses):
        responses["200"] = {"description": "What the handler returns"}
    content = {} if method == "HEAD" else {"application/problem+json": {"schema": _ref(names[None])}}
    for status in _own_statuses(step, method):
        responses.setdefault(
            str(status), {"description": PROBLEMS[status], **({"content": content} if content else {})}
        )
    return dict(sorted(responses.items()))


def _own_statuses(step: ApiStep, method: str) -> Iterable[int]:
    with_body = step.body is not None or method in WITH_BODY
    if with_body or step.query or step.path_params or step.idempotency:
        yield 400
    if step.idempotency:
        yield 409
        yield 422
    if step.rate_limit:
        yield 429
    if with_body:
        yield 413
        yield 415
    yield 500
    if step.emits or step.uses_state or step.uses_streams or step.idempotency or step.rate_limit:
        yield 503
    yield 504


def _path_parameters(step: ApiStep, renamed: Mapping[str, str]) -> Iterable[Json]:
    rest = step.path.endswith(":path}")
    for index, name in enumerate(step.path_params):
        parameter: Json = {
            "name": renamed.get(name, name),
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
        }
        if rest and index == len(step.path_params) - 1:
            parameter["description"] = "The rest of the path; it may hold slashes"
        yield parameter


def _query_parameters(project: Project, step: ApiStep, names: Mapping[str | None, str]) -> Iterable[Json]:
    if step.query is None:
        return
    schema = resolved(project, step.query.value)
    if not isinstance(schema, dict) or not isinstance(properties := schema.get("properties"), dict):
        yield {
            "name": "query",
            "in": "query",
            "schema": pointed(step.query.value, names),
            "style": "form",
            "explode": True,
        }
        return
    required = schema.get("required", [])
    for name, value in properties.items():
        described = resolved(project, value)
        parameter: Json = {"name": name, "in": "query"}
        if name in required:
            parameter["required"] = True
        if isinstance(described, dict) and isinstance(text := described.get("description"), str):
            parameter["description"] = text
        parameter["schema"] = pointed(value, names)
        yield parameter


def _header_parameters(step: ApiStep) -> Iterable[Json]:
    if step.idempotency is not None:
        yield {
            "name": step.idempotency.header,
            "in": "header",
            "description": "Names this request and its repetitions, which get the first one's answer. Take a new one, such as a UUID, for each request",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }


def _media(project: Project, schema: Schema, names: Mapping[str | None, str]) -> Json:
    media: Json = {"schema": pointed(schema.value, names)}
    full = resolved(project, schema.value)
    examples = full.get("examples") if isinstance(full, dict) else None
    if isinstance(examples, list) and examples:
        media["examples"] = {f"example{index}": {"value": value} for index, value in enumerate(examples, start=1)}
    return media


def _described(project: Project, schema: Schema) -> str:
    full = resolved(project, schema.value)
    text = full.get("description") if isinstance(full, dict) else None
    return text if isinstance(text, str) else ""


def _tags(project: Project, step: ApiStep) -> list[str]:
    """The flows that the spec names; parts that merely hang together have no name worth showing."""
    return [flow.name for flow in project.flows.values() if flow.explicit and step.name in flow.steps]


def _place(paths: Mapping[str, Json], step: ApiStep, method: str) -> tuple[str, dict[str, str]]:
    """Under which path, and which of its parameters get another name there: OpenAPI takes two templates that differ only in
    the names of their parameters for one."""
    own = step.path.replace(":path}", "}")
    mine = shape(own)
    for key in paths:
        if shape(key) == mine and method.lower() not in paths[key]:
            theirs = [segment[1:-1] for segment in key.split("/") if segment.startswith("{")]
            return key, dict(zip(step.path_params, theirs, strict=True))
    return own, {}


def resolved(project: Project, value: Any) -> Any:
    """The schema that a chain of bare `$ref`s ends at. Keywords beside a `$ref` stay with it: then it is not followed."""
    seen: set[str] = set()
    while isinstance(value, dict) and isinstance(ref := value.get("$ref"), str) and not (value.keys() - {"$ref"}):
        if ref in seen:
            return True
        seen.add(ref)
        value = project.defs.get(_key(ref), True)
    return value


def component_names(defs: Mapping[str, Any]) -> dict[str | None, str]:
    """A component's name for each key of `defs`, and under None that of the problem details: letters, digits and `._-`, all different."""
    taken: set[str] = set()
    names: dict[str | None, str] = {key: key for key in defs if re.fullmatch(r"[A-Za-z0-9._-]+", key)}
    taken.update(names[key] for key in names)
    for key in defs:
        if key not in names:
            names[key] = _unused(re.sub(r"[^A-Za-z0-9._-]+", "_", key) or "_", taken)
    names[None] = _unused(PROBLEM, taken)
    return names


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def pointed(schema: Any, names: Mapping[str | None, str], below: str = "") -> Any:
    """A copy of a schema whose references point into the components, there to what is `below` ("/schema"). Data (const, enum, default, examples) is left alone."""
    if not isinstance(schema, dict):
        return schema
    result: Json = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#/$defs/"):
            result[key] = _ref(names[_key(value)])["$ref"] + below
        elif key in ONE:
            result[key] = pointed(value, names, below)
        elif key in MANY and isinstance(value, list):
            result[key] = [pointed(item, names, below) for item in value]
        elif key in NAMED and isinstance(value, dict):
            result[key] = {name: pointed(item, names, below) for name, item in value.items()}
        else:
            result[key] = value
    return result


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _key(ref: str) -> str:
    return ref.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
