"""The app as a whole: what the front end reads first, and every time another version runs."""

from __future__ import annotations

from typing import Any

from motia_runtime.standings import kind_of
from motia_runtime.version import __version__
from motia_runtime.workbench.call import Call
from motia_spec.durations import spell
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, NoopStep, Project


async def get_app(call: Call) -> Any:
    bench = call.bench
    project = bench.project
    return {
        "name": project.name,
        "description": project.description,
        "version": __version__,
        "fingerprint": project.fingerprint,
        "dev": bench.dev,
        "steps": [step_line(step, project) for step in project.steps.values()],
        "flows": [
            {"name": flow.name, "description": flow.description, "steps": flow.steps, "explicit": flow.explicit}
            for flow in project.flows.values()
        ],
        "topics": [
            {
                "name": topic.name,
                "description": topic.description,
                "external": topic.external,
                "schema": None if topic.schema is None else topic.schema.value,
            }
            for topic in project.topics.values()
        ],
        "state": [
            {
                "name": group.name,
                "description": group.description,
                "history": group.history,
                "ttl": group.ttl,
                "schema": None if group.schema is None else group.schema.value,
            }
            for group in project.state.values()
        ],
        "streams": [
            {
                "name": stream.name,
                "description": stream.description,
                "ttl": stream.ttl,
                "schema": None if stream.schema is None else stream.schema.value,
            }
            for stream in project.streams.values()
        ],
        "defs": project.defs,
        "board": bench.board.plain(),
    }


def step_line(step: AnyStep, project: Project) -> dict[str, Any]:
    """A step in a list."""
    line: dict[str, Any] = {
        "name": step.name,
        "kind": kind_of(step),
        "description": step.description,
        "trigger": trigger(step),
        "language": None if isinstance(step, NoopStep) else step.handler.path.rpartition(".")[2],
        "emits": [emit.topic for emit in step.emits],
        "subscribes": [],
        "flows": [flow.name for flow in project.flows.values() if step.name in flow.steps],
    }
    if isinstance(step, EventStep | NoopStep):
        line["subscribes"] = [{"kind": each.kind, "name": each.name} for each in step.subscribes]
    if isinstance(step, ApiStep):
        line |= {"methods": step.methods, "path": step.path}
    if isinstance(step, NoopStep):
        line["manual"] = step.opens_tasks
    return line


def trigger(step: AnyStep) -> str:
    """What starts a step, in a few words."""
    match step:
        case ApiStep():
            return f"{'|'.join(step.methods)} {step.path}"
        case CronStep():
            return step.cron + ("" if step.timezone == "UTC" else f" {step.timezone}")
        case EventStep():
            sources = ", ".join(
                each.name if each.kind == "topic" else f"{each.kind} {each.name}" for each in step.subscribes
            )
            return sources + (f", after {spell(step.delay)}" if step.delay else "")
        case NoopStep():
            return ", ".join(each.name for each in step.subscribes) or "from outside"


ROUTES = {"app": {"GET": get_app}}
