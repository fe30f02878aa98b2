"""Run it now: an event by hand, for one step or for all that subscribe; a cron step beside its schedule; the answer to a task.

Api steps need nothing here: the page sends them a request as anybody does, with a `traceparent` of its own, by which it finds the trace.
"""

from __future__ import annotations

from typing import Any

import msgspec

from motia_runtime import byhand
from motia_runtime.handler import InvalidTopic
from motia_runtime.http.problems import Refused
from motia_runtime.publish import publish
from motia_runtime.tasks import NoTask
from motia_runtime.workbench.call import Call, number

MOST = 10_000  # tasks in a list
LONGEST_BY = 200  # characters


class Wanted(msgspec.Struct, frozen=True):
    """What a step is to be given. `source`: the topic, or "state:GROUP", "stream:NAME"; needed when the step listens to several."""

    data: msgspec.Raw = msgspec.Raw()
    source: str = ""


async def run(call: Call) -> Any:
    """Give an event to this step alone, or let a cron step run now. The trace's id."""
    (name,) = call.values
    bench = call.bench
    wanted = await call.body(Wanted)
    data = bytes(wanted.data) or None
    try:
        trace_id = await byhand.run_now(
            bench.log, bench.clock, bench.project, bench.types, bench.step(name), data, wanted.source
        )
    except byhand.NotRunnable as problem:
        raise Refused(400, f"{problem}.") from None
    return {"trace_id": trace_id}


class Emitted(msgspec.Struct, frozen=True):
    topic: str
    data: msgspec.Raw = msgspec.Raw(b"null")


async def emit(call: Call) -> Any:
    """An event for all who subscribe, as `motia emit`."""
    wanted = await call.body(Emitted)
    bench = call.bench
    topic = bench.project.topics.get(wanted.topic)
    if topic is None:
        raise InvalidTopic(f"the spec that runs declares no topic {wanted.topic!r}")
    data = bench.types.codec(topic.schema).decode(bytes(wanted.data))
    return {"trace_id": await publish(bench.log, bench.project, bench.types, wanted.topic, data)}


async def tasks(call: Call) -> Any:
    query = call.query("step", "limit")
    found = await call.bench.tasks.waiting(step=query.get("step"), limit=number(query.get("limit"), 100, MOST))
    return {"tasks": [task.plain() for task in found]}


async def task(call: Call) -> Any:
    step, name = call.values
    found = await call.bench.tasks.get(step, name)
    if found is None:
        raise NoTask(f"{step} has no task {name!r}")
    return found.plain()


class Answered(msgspec.Struct, frozen=True):
    answer: msgspec.Raw = msgspec.Raw(b"null")
    topic: str | None = None
    by: str = ""


async def complete(call: Call) -> Any:
    """Answer a task, as `motia tasks complete`."""
    step, name = call.values
    given = await call.body(Answered)
    if len(given.by) > LONGEST_BY:
        raise Refused(400, f"by has {LONGEST_BY} characters at most.")
    answer = msgspec.json.decode(bytes(given.answer))
    return (await call.bench.tasks.complete(step, name, answer, topic=given.topic, by=given.by)).plain()


ROUTES = {
    "steps/{step}/run": {"POST": run},
    "emit": {"POST": emit},
    "tasks": {"GET": tasks},
    "tasks/{step}/{id}": {"GET": task, "POST": complete},
}
