"""What has happened, given again or called off: replays of traces and topics, and cancelling."""

from __future__ import annotations

from typing import Any

import msgspec

from motia_runtime import cancels, replay
from motia_runtime.context import new_id
from motia_runtime.http.problems import Refused
from motia_runtime.workbench.bench import Bench, Missing
from motia_runtime.workbench.call import Call, moment

MOST = 10_000  # events listed, or replayed with one request


async def choose(call: Call) -> Any:
    """Which events a replay would take, oldest first, and why it would not: those that began a trace (of it those that `step` subscribes to), or those of a
    topic in a span of time. `id`: of a replay that goes on; what it has stored is left out."""
    query = call.query("trace", "topic", "since", "until", "step", "id")
    bench = call.bench
    if ("trace" in query) == ("topic" in query):
        raise Refused(400, "Say what is to be replayed: a trace, or a topic.")
    begun_by = None
    if "trace" in query:
        topics = replay.topics_of(bench.project, _step(bench, query["step"])) if "step" in query else None
        found = await replay.of_trace(bench.log, query["trace"], topics)
        events, begun_by = found.events, found.begun_by
    else:
        since, until = moment(query.get("since"), "since"), moment(query.get("until"), "until")
        until = bench.clock.time() if until is None else until
        events = await replay.of_topic(bench.log, query["topic"], since, until, replay_id=query.get("id", ""))
    if len(events) > MOST:
        raise Refused(400, f"These are {len(events):,} events, and {MOST:,} is the most; narrow it by since and until.")
    misfit = replay.misfit(bench.project, bench.types, events)
    return {"events": [each.plain() for each in events], "begun_by": begun_by, "misfit": misfit}


class Again(msgspec.Struct, frozen=True):
    """A replay, or a part of one."""

    events: list[int]
    id: str = ""  # of the replay; empty: a new one
    again: bool = False  # it may have been interrupted, so what it has stored is left out
    step: str | None = None  # for this step alone
    data: msgspec.Raw = msgspec.Raw()  # instead of its own, of one event; nothing: as it was


async def post_replay(call: Call) -> Any:
    """Publish stored events anew, each as the beginning of a trace, in the order given; all of them, or none when any does not fit its topic."""
    bench = call.bench
    wanted = await call.body(Again)
    if not 1 <= len(wanted.events) <= MOST or (bytes(wanted.data) and len(wanted.events) > 1):
        raise Refused(400, f"A request replays 1 to {MOST:,} events, with data of yours one.")
    replay_id = wanted.id or new_id()
    try:
        replay.begun(replay_id)
    except ValueError as problem:
        raise Refused(400, f"{problem}.") from None
    if wanted.step is not None:
        _step(bench, wanted.step)
    events: list[replay.Event] = []
    for number in wanted.events:
        event = await replay.event(bench.log, number)
        if event is None:
            raise Missing(f"event {number} is no longer kept")
        if wanted.step is not None and event.topic not in replay.topics_of(bench.project, wanted.step):
            raise Refused(400, f"{wanted.step} does not subscribe to {event.topic!r}.")
        events.append(msgspec.structs.replace(event, data=bytes(wanted.data) or event.data))
    if misfit := replay.misfit(bench.project, bench.types, events):
        raise Refused(422, misfit)
    done = await replay.replay(bench.log, events, replay_id, again=wanted.again, step=wanted.step)
    return {"id": replay_id, "replayed": done}


def _step(bench: Bench, name: str) -> str:
    """The name, if that is an event step. Raises `Missing`, `Refused`."""
    if not replay.topics_of(bench.project, bench.step(name).name):
        raise Refused(400, f"{name} subscribes to no topic.")
    return name


class Target(msgspec.Struct, frozen=True):
    """What is cancelled: a trace (of it the runs of one step), or an event for one step."""

    trace: str = ""
    step: str = ""
    event: str = ""


async def cancel(call: Call) -> Any:
    """Cancel for good, as `motia cancel`: what waits does not run any more, what runs is interrupted."""
    bench = call.bench
    wanted = await call.body(Target)
    if bool(wanted.trace) == bool(wanted.event):
        raise Refused(400, "Say what is to be cancelled: a trace, or an event with a step.")
    if wanted.event and not wanted.step:
        raise Refused(400, "An event is cancelled for one step: say which.")
    if wanted.trace and not (len(wanted.trace) == 32 and set(wanted.trace) <= set("0123456789abcdef")):
        raise Refused(400, f"{wanted.trace[:40]!r} is no trace id: 32 hex digits.")
    if wanted.step:
        bench.step(wanted.step)
    target = cancels.Target(wanted.trace, wanted.step, wanted.event)
    dropped = await cancels.cancel(bench.log, target, bench.clock.time(), bench.project.nats.max_age)
    return {"retries": dropped.again, "delayed": dropped.emits}


ROUTES = {
    "replay": {"GET": choose, "POST": post_replay},
    "cancel": {"POST": cancel},
}
