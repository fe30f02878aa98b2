"""The AsyncAPI 3.0 document of a project, from its spec alone: `/schema/asyncapi.json`.

A channel is a topic, its address the subject on NATS. Operations are as AsyncAPI has them, from the app's side: it receives what a step subscribes to
and sends what a step emits. Schemas are JSON Schema 2020-12, which AsyncAPI takes when told; they are those of the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motia_runtime.cloudevents.attributes import VERSION
from motia_runtime.http.openapi import component_names, pointed
from motia_runtime.naming import event_subject, in_subject
from motia_spec.model import EventStep, NoopStep, Project, Topic

Json = dict[str, Any]

DIALECT = "application/schema+json;version=draft-2020-12"
MESSAGE = "event"  # the one message of each channel
TRAIT = "cloudEvent"
OUTSIDE = {"in": "Other programs publish to it.", "out": "Other programs read it."}


def asyncapi_document(project: Project) -> Json:
    """The whole document, as plain JSON values. The same project gives the same document; topics and steps are in the spec's order."""
    names = component_names(project.defs)
    operations: dict[str, Json] = {}
    for step in project.steps.values():
        said = {"description": step.description} if step.description else {}
        tags = [{"name": flow.name} for flow in project.flows.values() if step.name in flow.steps]
        of_step = {**said, **({"tags": tags} if tags else {})}
        if isinstance(step, EventStep | NoopStep):
            for topic in dict.fromkeys(each.name for each in step.subscribes if each.kind == "topic"):
                operations[f"{step.name}.receive.{topic}"] = _operation("receive", topic, of_step)
        for topic in dict.fromkeys(each.topic for each in step.emits):
            operations[f"{step.name}.send.{topic}"] = _operation("send", topic, of_step)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": project.name,
            "version": project.fingerprint[:12] or "0",
            **({"description": project.description} if project.description else {}),
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(project, topic, names) for topic in project.topics.values()},
        "operations": operations,
        "components": {
            "schemas": {
                names[key]: {"schemaFormat": DIALECT, "schema": _schema(value, names)}
                for key, value in project.defs.items()
            },
            "messageTraits": {TRAIT: _cloudevent(project.nats.prefix)},
        },
    }


def _cloudevent(prefix: str) -> Json:
    """What the headers of the app's own events say, and those of events that it took in from elsewhere."""
    texts = ("ce-id", "ce-source", "ce-type", "ce-datacontenttype", "ce-subject", "traceparent", "tracestate")
    schema = {
        "type": "object",
        "required": ["ce-specversion", "ce-id", "ce-source", "ce-type", "traceparent"],
        "properties": {
            "ce-specversion": {"const": VERSION},
            **{name: {"type": "string"} for name in texts},
            "ce-time": {"type": "string", "format": "date-time"},
        },
        "description": f"CloudEvents {VERSION} in binary mode; of events of this app, ce-source is /{prefix} and ce-type the topic.",
    }
    return {"headers": {"schemaFormat": DIALECT, "schema": schema}}


def _channel(project: Project, topic: Topic, names: Mapping[str | None, str]) -> Json:
    outside = topic.external == "in"
    subject = in_subject(topic.name) if outside else event_subject(topic.name)
    traits: Json = {} if outside else {"traits": [{"$ref": f"#/components/messageTraits/{TRAIT}"}]}
    said = " ".join(text for text in (topic.description, OUTSIDE.get(topic.external or "", "")) if text)
    schema = True if topic.schema is None else _schema(topic.schema.value, names)
    return {
        "address": f"{project.nats.prefix}.{subject}",
        **({"description": said} if said else {}),
        "messages": {
            MESSAGE: {
                "name": topic.name,
                "contentType": "application/json",
                "payload": {"schemaFormat": DIALECT, "schema": schema},
                **traits,
            }
        },
    }


def _operation(action: str, topic: str, of_step: Json) -> Json:
    channel = f"#/channels/{_pointer(topic)}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        **of_step,
        "messages": [{"$ref": f"{channel}/messages/{MESSAGE}"}],
    }


def _schema(schema: Any, names: Mapping[str | None, str]) -> Any:
    """A component is a schema with its dialect, so references go one level deeper than those of OpenAPI."""
    return pointed(schema, names, "/schema")


def _pointer(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")
