"""One number for all that generated code depends on. Equal fingerprints mean equal generated code, for one version of the generator."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from motia_spec.model import AnyStep, ApiStep, EventStep, NoopStep, Project, Schema

FORMAT = 1  # raised when the meaning of any part below changes


def of(project: Project) -> str:
    """64 hex digits. Places, timings, the server and NATS do not count."""
    parts: dict[str, Any] = {
        "format": FORMAT,
        "name": project.name,
        "defs": project.defs,
        "schemas": {name: _schema(schema) for name, schema in project.schemas.items()},
        "topics": {t.name: [_schema(t.schema), t.description] for t in project.topics.values()},
        "state": {g.name: [_schema(g.schema), g.description] for g in project.state.values()},
        "streams": {s.name: [_schema(s.schema), s.description] for s in project.streams.values()},
        "steps": [_step(step) for step in project.steps.values()],
        "secrets": project.secrets,
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _schema(schema: Schema | None) -> Any:
    return None if schema is None else schema.value


def _step(step: AnyStep) -> list[Any]:
    found: list[Any] = [
        type(step).__name__,
        step.name,
        step.description,
        [emit.topic for emit in step.emits],
        step.uses_state,
        step.uses_streams,
    ]
    if not isinstance(step, NoopStep):
        found += [step.handler.path, step.handler.function]
    if isinstance(step, ApiStep):
        found += [step.methods, step.path, _schema(step.body), _schema(step.query)]
        found += [[status, _schema(schema)] for status, schema in sorted(step.responses.items())]
    elif isinstance(step, EventStep):
        found += [[s.kind, s.name] for s in step.subscribes]
        found += [step.batch is not None, step.join is not None]
    elif isinstance(step, NoopStep) and step.manual:
        found.append(_schema(step.manual.input))
    return found
