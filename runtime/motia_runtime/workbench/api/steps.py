"""One step: what it takes and gives, how it is treated and where that is written, its handler's source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.handler import ValidationFailed
from motia_runtime.http.problems import Refused
from motia_runtime.workbench.api.app import step_line
from motia_runtime.workbench.api.policies import guarantees, policies
from motia_runtime.workbench.bench import Bench
from motia_runtime.workbench.call import Call
from motia_spec.load import load_spec
from motia_spec.model import AnyStep, ApiStep, EventStep, Handler, NoopStep, Schema

SOURCE_LIMIT = 256 * 1024  # bytes of a handler's file


async def get_step(call: Call) -> Any:
    (name,) = call.values
    bench = call.bench
    step = bench.step(name)
    node = (await asyncio.to_thread(load_spec, bench.project.root, os.environ, bench.overlay, None)).node
    found: dict[str, Any] = {
        **step_line(step, bench.project),
        "place": {"file": step.place.file, "line": step.place.line},
        "inputs": _inputs(bench, step),
        "outputs": _outputs(bench, step),
        "uses": {"state": step.uses_state, "streams": step.uses_streams},
        "policies": policies(step, node),
        "guarantees": guarantees(step),
        "handler": None,
    }
    if not isinstance(step, NoopStep):
        handler = step.handler
        text = await asyncio.to_thread(_source, bench.project.root, handler)
        found["handler"] = {
            "path": handler.path,
            "function": handler.function,
            "language": handler.language,
            "source": None if text is None else bench.mask.text(text),
        }
    return found


def _source(root: Path, handler: Handler) -> str | None:
    """The text of the handler's file; None when there is none to show: gone, too large, or a link that leads out of the project."""
    path = Path(os.path.realpath(root / handler.path))
    if not path.is_relative_to(os.path.realpath(root)):
        return None
    try:
        if path.stat().st_size > SOURCE_LIMIT:
            return None
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return None


def _inputs(bench: Bench, step: AnyStep) -> list[dict[str, Any]]:
    """What a step takes: the sites of its schemas."""
    if isinstance(step, ApiStep):
        parts = [_site("body", step.body), _site("query", step.query)]
        return [part for part in parts if part is not None]
    if isinstance(step, EventStep | NoopStep):
        found = [
            {"what": "topic", "name": each.name, **_schema(bench.project.topics[each.name].schema)}
            for each in step.subscribes
            if each.kind == "topic" and each.name in bench.project.topics
        ]
        data: dict[str, Mapping[str, Any]] = {"state": bench.project.state, "stream": bench.project.streams}
        found += [
            {"what": each.kind, "name": each.name, **_schema(data[each.kind][each.name].schema)}
            for each in step.subscribes
            if each.kind in data and each.name in data[each.kind]
        ]
        if isinstance(step, NoopStep) and step.manual is not None:
            found.append({"what": "answer", "name": step.name, **_schema(step.manual.input)})
        return found
    return []


def _outputs(bench: Bench, step: AnyStep) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if isinstance(step, ApiStep):
        found += [{"what": "response", "name": str(status), **_schema(s)} for status, s in step.responses.items()]
    for emit in step.emits:
        topic = bench.project.topics.get(emit.topic)
        label = {"label": emit.label, "conditional": emit.conditional}
        found.append({"what": "topic", "name": emit.topic, **label, **_schema(topic.schema if topic else None)})
    return found


def _site(what: str, schema: Schema | None) -> dict[str, Any] | None:
    return None if schema is None else {"what": what, "name": what, **_schema(schema)}


def _schema(schema: Schema | None) -> dict[str, Any]:
    return {"site": None, "schema": True} if schema is None else {"site": schema.id, "schema": schema.value}


class Checked(msgspec.Struct, frozen=True):
    """A value to be held against the schema at a site of the spec."""

    site: str
    value: msgspec.Raw


async def check(call: Call) -> Any:
    """Every fault of a value, by the same rules as when it comes in."""
    given = await call.body(Checked)
    bench = call.bench
    schema = next((each for each in bench.project.all_schemas() if each.id == given.site), None)
    if schema is None:
        raise Refused(404, f"The spec that runs has no schema at {given.site[:80]!r}.")
    try:
        bench.types.codec(schema).decode(bytes(given.value))
    except ValidationFailed as problem:
        return {"faults": problem.faults}
    return {"faults": []}


ROUTES = {"steps/{step}": {"GET": get_step}, "check": {"POST": check}}
