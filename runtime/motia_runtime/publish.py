"""Events from outside a run: `motia emit`, tests, the Workbench."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from motia_runtime.context import new_id
from motia_runtime.handler import InvalidTopic
from motia_runtime.naming import check_topic, event_subject
from motia_runtime.ports import Log
from motia_runtime.trace import format_context, new_trace
from motia_runtime.types import Types
from motia_spec.model import Project


async def publish(log: Log, project: Project, types: Types, topic: str, data: Any) -> str:
    """Store an event that begins a new trace, and give the trace's id. Durable when it returns.
    Raises `InvalidTopic` when the spec declares no such topic, `ValidationFailed` when the data does not fit, `LogUnavailable`."""
    check_topic(topic)
    known = project.topics.get(topic)
    if known is None:
        near = get_close_matches(topic, project.topics, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f" (declared: {', '.join(sorted(project.topics)) or 'none'})"
        raise InvalidTopic(f"the spec declares no topic {topic!r}{hint}")
    trace = new_trace()
    encoded = types.codec(known.schema).encode(data)
    await log.append(event_subject(topic), encoded, headers={"traceparent": format_context(trace)}, id=new_id())
    return trace.trace_id
