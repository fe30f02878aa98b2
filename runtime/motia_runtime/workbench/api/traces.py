"""Traces, runs and log lines: lists with filters, one in full, and what happened given again."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime import replay
from motia_runtime.context import new_id
from motia_runtime.deadletters import DeadLetters
from motia_runtime.handler import InvalidTopic
from motia_runtime.http.problems import Refused
from motia_runtime.observe.queries import BadCursor
from motia_runtime.observe.store import LEVELS
from motia_runtime.observe.view import Filter, summary_of
from motia_runtime.workbench.bench import Bench, Missing
from motia_runtime.workbench.call import Call, moment, number
from motia_spec.model import EventStep

MOST = 1_000  # items of a page
IN_FULL = 100  # runs under way in one answer
FILTERS = ("trace", "step", "flow", "outcome", "since", "until", "longer", "shorter", "text", "limit", "after")
AROUND = 5  # lines shown before and after the one that failed
LETTERS = 1_000  # dead letters looked through for those of a trace

_FRAME = re.compile(r"^([^\n:]+):(\d+) in ", re.MULTILINE)  # of `stacks.user_stack`


def filter_of(bench: Bench, query: dict[str, str]) -> Filter:
    """What the filters of a query mean. Raises `Missing`, `Refused`."""
    steps = tuple(query["step"].split(",")) if "step" in query else ()
    if "flow" in query:
        flow = bench.project.flows.get(query["flow"])
        if flow is None:
            raise Missing(f"there is no flow {query['flow']!r} in the spec that runs")
        steps = tuple(step for step in flow.steps if not steps or step in steps) or ("",)
    return Filter(
        trace=query.get("trace", ""),
        steps=steps,
        outcomes=tuple(query["outcome"].split(",")) if "outcome" in query else (),
        since=moment(query.get("since"), "since"),
        until=moment(query.get("until"), "until"),
        longer=moment(query.get("longer"), "longer"),
        shorter=moment(query.get("shorter"), "shorter"),
        text=query.get("text", ""),
    )


async def get_traces(call: Call) -> Any:
    query = call.query(*FILTERS)
    index = await call.bench.history.index()
    wanted, limit = filter_of(call.bench, query), number(query.get("limit"), 50, MOST)
    try:
        page = await index.traces(wanted, limit=limit, after=query.get("after", ""))
    except BadCursor as problem:
        raise Refused(400, f"{problem}.") from None
    return {"traces": page.items, "next": page.next}


async def get_runs(call: Call) -> Any:
    query = call.query(*FILTERS)
    index = await call.bench.history.index()
    wanted, limit = filter_of(call.bench, query), number(query.get("limit"), 50, MOST)
    try:
        page = await index.runs(wanted, limit=limit, after=query.get("after", ""))
    except BadCursor as problem:
        raise Refused(400, f"{problem}.") from None
    return {"runs": page.items, "next": page.next}


async def get_running(call: Call) -> Any:
    """Runs under way in this process, in full as far as they are, those that began first."""
    query = call.query("trace", "step", "flow", "longer", "text", "limit")
    wanted, limit = filter_of(call.bench, query), number(query.get("limit"), 20, IN_FULL)
    return {"runs": list(itertools.islice(call.bench.running.records(wanted), limit))}


async def get_logs(call: Call) -> Any:
    """Lines that runs have logged, and the errors that they ended with. `newer`: only what the index has heard of after that line.
    `running`: what runs under way in this process have logged so far."""
    query = call.query(*FILTERS, "level", "newer")
    level = query.get("level", "")
    if level and level not in LEVELS:
        raise Refused(400, f"{level[:40]!r} is no level; there are {', '.join(LEVELS)}.")
    wanted = filter_of(call.bench, query)
    index = await call.bench.history.index()
    newest = await index.newest_line()  # before the page: what comes meanwhile is newer
    newer = number(query.get("newer"), 0, 1 << 62, "newer") if query.get("newer", "0") != "0" else 0
    try:
        page = await index.logs(
            wanted,
            level=level,
            limit=number(query.get("limit"), 200, MOST),
            after=query.get("after", ""),
            newer_than=newer,
        )
    except BadCursor as problem:
        raise Refused(400, f"{problem}.") from None
    running = [] if "after" in query else call.bench.running.lines(wanted, level=level, limit=MOST)
    return {"lines": page.items, "next": page.next, "newest": newest, "running": running}


async def get_trace(call: Call) -> Any:
    """One trace in full; the first digits of its id are enough when no other begins so."""
    (start,) = call.values
    bench = call.bench
    index = await bench.history.index()
    trace_id = start
    if len(start) < 32:
        found = await index.beginning_with(start) if re.fullmatch("[0-9a-f]{4,32}", start) else []
        if len(found) > 1:
            raise Refused(409, f"Several traces begin with {start}: {', '.join(found)}.", title="Which trace?")
        trace_id = found[0] if found else start
    tree = await index.trace(trace_id)
    running = list(bench.running.records(Filter(trace=trace_id)))
    runs = [] if tree is None else tree.runs()
    trace_id = runs[0].trace_id if runs else running[0].trace_id if running else trace_id
    runs += [run for run in running if run.trace_id == trace_id]
    if not runs:
        raise Missing(f"there is no trace {start[:40]!r}: no run of it is under way here, and no record of one is kept")
    runs.sort(key=lambda run: (run.started, run.span_id))
    summary = summary_of(runs)
    if running:
        summary = msgspec.structs.replace(summary, outcome="running")
    dead = DeadLetters(bench.log)
    steps = {run.step for run in runs if run.outcome in ("dead", "expired")}
    letters = [
        {
            "id": letter.id,
            "step": letter.story.step,
            "event_id": letter.story.event_id,
            "attempts": letter.story.attempts,
        }
        for step in sorted(steps)
        for letter in await dead.list(step=step, limit=LETTERS)
        if letter.story.trace_id == trace_id
    ]
    places = await asyncio.to_thread(_places, bench, [run.error.stack for run in runs if run.error is not None])
    return {"summary": summary, "runs": runs, "letters": letters, "places": places}


def _places(bench: Bench, stacks: list[str]) -> dict[str, Any]:
    """Of the project's own files in stacks, the lines around each frame: "steps/pay.py:12" -> lines."""
    root = Path(os.path.realpath(bench.project.root))
    found: dict[str, Any] = {}
    for stack in stacks:
        for name, line in _FRAME.findall(stack):
            path = Path(os.path.realpath(root / name))
            if not path.is_relative_to(root) or f"{name}:{line}" in found:
                continue
            try:
                lines = path.read_text("utf-8", errors="replace").splitlines()
            except OSError:
                continue
            at = int(line)
            around = range(max(1, at - AROUND), min(len(lines), at + AROUND) + 1)
            shown = [[number_of, bench.mask.text(lines[number_of - 1])] for number_of in around]
            found[f"{name}:{line}"] = {"file": path.relative_to(root).as_posix(), "line": at, "lines": shown}
    return found


async def get_event(call: Call) -> Any:
    found = await replay.event(call.bench.log, number(call.values[0], 1, 1 << 53, "id"))
    if found is None:
        raise Missing(f"event {call.values[0]} is no longer kept")
    return found.plain()


class Again(msgspec.Struct, frozen=True):
    """How an event is given again. `step`: to this step alone. `data`: instead of its own."""

    step: str | None = None
    data: msgspec.Raw = msgspec.Raw()  # nothing: as it was


async def replay_event(call: Call) -> Any:
    """Publish a stored event anew, as a trace of its own; as `motia replay --event`."""
    bench = call.bench
    wanted = await call.body(Again)
    event = await replay.event(bench.log, number(call.values[0], 1, 1 << 53, "id"))
    if event is None:
        raise Missing(f"event {call.values[0]} is no longer kept")
    topic = bench.project.topics.get(event.topic)
    if topic is None:
        raise InvalidTopic(f"the spec that runs has no topic {event.topic!r} any more")
    if wanted.step is not None:
        step = bench.step(wanted.step)
        if not isinstance(step, EventStep) or event.topic not in step.topics:
            raise Refused(400, f"{wanted.step} does not subscribe to {event.topic!r}.")
    data = bytes(wanted.data) or event.data
    codec = bench.types.codec(topic.schema)
    codec.decode(data)  # raises ValidationFailed
    event = msgspec.structs.replace(event, data=data)
    (done,) = await replay.replay(bench.log, [event], new_id(), step=wanted.step)
    return {"trace_id": done.trace_id}


ROUTES = {
    "traces": {"GET": get_traces},
    "traces/{trace}": {"GET": get_trace},
    "runs": {"GET": get_runs},
    "running": {"GET": get_running},
    "logs": {"GET": get_logs},
    "events/{id}": {"GET": get_event},
    "events/{id}/replay": {"POST": replay_event},
}
