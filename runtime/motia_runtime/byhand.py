"""A step run now: an event given to it alone, or a cron step beside its schedule. For the command line and the Workbench."""

from __future__ import annotations

from motia_runtime import ticks
from motia_runtime.changes import source as source_of
from motia_runtime.context import new_id
from motia_runtime.naming import retry_subject
from motia_runtime.ports import Clock, Log
from motia_runtime.trace import format_context, new_trace
from motia_runtime.types import Types
from motia_spec.model import AnyStep, CronStep, EventStep, Project


class NotRunnable(ValueError):
    """This step can't be run by hand, or not so. What to do instead is in the message."""


async def run_now(
    log: Log, clock: Clock, project: Project, types: Types, step: AnyStep, data: bytes | None, source: str = ""
) -> str:
    """The id of the trace that begins. `data`: JSON of the event; None for a cron step. `source`: the topic, or "state:GROUP", "stream:NAME"; needed
    when the step listens to several. Durable when it returns. Raises `NotRunnable`, `ValidationFailed`, `LogUnavailable`, `TooLarge`."""
    if isinstance(step, CronStep):
        if data is not None:
            raise NotRunnable(f"{step.name} is a cron step and takes no data")
        return await ticks.run_now(log, clock, step)
    if not isinstance(step, EventStep):
        raise NotRunnable(
            f"{step.name} is no event or cron step; send a request to its path, or emit the topic it waits for"
        )
    if step.join is not None:
        raise NotRunnable(f"{step.name} joins several topics; emit an event of each instead")
    if data is None:
        raise NotRunnable(f"{step.name} takes an event: give its data as JSON")
    return await _hand_over(log, project, types, step, data, source)


async def _hand_over(log: Log, project: Project, types: Types, step: EventStep, data: bytes, source: str) -> str:
    """As a redriven event comes to its step: with all its attempts, and to nobody else."""
    sources = {each.name if each.kind == "topic" else source_of(each.kind, each.name): each for each in step.subscribes}
    chosen = source or next(iter(sources))
    subscription = sources.get(chosen)
    if subscription is None:
        raise NotRunnable(f"{step.name} does not listen to {chosen!r}, but to {', '.join(sources)}")
    if subscription.kind == "topic":
        codec = types.codec(project.topics[chosen].schema)
        data = codec.encode(codec.decode(data))
    trace, once = new_trace(), f"hand:{new_id()}"
    headers = {
        "Motia-Event": once,
        "Motia-Topic": chosen,
        "Motia-Attempt": "1",
        "Motia-Redrives": "0",
        "traceparent": format_context(trace),
    }
    await log.append(retry_subject(step.name), data, headers=headers, id=once)
    return trace.trace_id
