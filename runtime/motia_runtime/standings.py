"""How each step stands with its consumer, and pausing it: for the command line and the Workbench.

A pause belongs to the step's durable consumer at the broker, so it holds for every instance and over restarts and deployments, until it
ends or the step leaves the spec. What waits keeps waiting (events as long as `nats.maxAge`), runs that are under way finish; a retry that falls due waits too.
"""

from __future__ import annotations

import asyncio

import msgspec

from motia_runtime.naming import durable, event_subject, retry_subject
from motia_runtime.ports import Backlog, Clock, Log
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, Project

FOREVER = 253_402_300_799.0  # the end of the year 9999, the last time that JetStream can write


class Standing(msgspec.Struct, frozen=True):
    """Of one step. What a consumer would tell is None for steps that have none: api and noop steps, and those that never ran."""

    step: str
    kind: str  # api, event, cron, noop
    waiting: int | None = None  # not delivered yet
    in_flight: int | None = None  # delivered and not ended: running, about to, or given back for a moment
    delivered: int | None = None  # id of the newest event that was delivered
    paused_until: float | None = None  # seconds since the epoch; FOREVER: until it is resumed; None: not paused
    redelivered: int | None = None  # of those in flight, delivered more than once
    oldest: float | None = (
        None  # when the oldest event that has not ended was stored, seconds since the epoch; None: all have ended, or nobody asked
    )


class NotPausable(LookupError):
    """There is nothing to pause. What was found, and what to do, is in the message."""


async def standings(log: Log, project: Project, *, oldest: bool = False) -> list[Standing]:
    """Of all steps, as the spec orders them. `oldest`: look at the events of event steps too. Raises `LogUnavailable`."""
    backlogs = await log.backlogs()
    found = [_standing(step, backlogs.get(durable(step.name))) for step in project.steps.values()]
    if not oldest:
        return found
    busy = {
        number: _oldest(log, step, backlogs[durable(step.name)])
        for number, step in enumerate(project.steps.values())
        if isinstance(step, EventStep) and (found[number].waiting or found[number].in_flight)
    }
    for number, time in zip(busy, await asyncio.gather(*busy.values()), strict=True):
        found[number] = msgspec.structs.replace(found[number], oldest=time)
    return found


async def _oldest(log: Log, step: EventStep, backlog: Backlog) -> float | None:
    subjects = [*map(event_subject, step.topics), retry_subject(step.name)]
    first = await asyncio.gather(*(log.since(subject, after=backlog.ended, limit=1) for subject in subjects))
    records = [record for found in first for record in found]
    return min(records, key=lambda record: record.seq).time if records else None


def _standing(step: AnyStep, found: Backlog | None) -> Standing:
    if found is None or not isinstance(step, EventStep | CronStep):
        return Standing(step.name, kind_of(step))
    return Standing(
        step.name,
        kind_of(step),
        found.waiting,
        found.in_flight,
        found.delivered,
        found.paused_until or None,
        found.redelivered,
    )


async def pause(log: Log, clock: Clock, step: AnyStep, seconds: float | None) -> float:
    """Hand nothing more to a step for so long, None: until `resume`. A later pause takes the place of an earlier one. Gives when it ends.
    Raises `NotPausable`, `LogUnavailable`."""
    until = FOREVER if seconds is None else clock.time() + seconds
    await _set(log, step, until)
    return until


async def resume(log: Log, step: AnyStep) -> bool:
    """End a pause. False: there was none. Raises `NotPausable`, `LogUnavailable`."""
    _check(step)
    before = await log.backlog(durable(step.name))
    await _set(log, step, 0.0)
    return before.paused_until > 0


async def _set(log: Log, step: AnyStep, until: float) -> None:
    _check(step)
    try:
        await log.pause(durable(step.name), until)
    except LookupError:
        raise NotPausable(
            f"the step {step.name!r} has never run, so there is nothing to pause; start the app with it once"
        ) from None


def _check(step: AnyStep) -> None:
    if not isinstance(step, EventStep | CronStep):
        raise NotPausable(f"{step.name!r} is a step of type {kind_of(step)}: only event and cron steps can be paused")


def kind_of(step: AnyStep) -> str:
    """api, event, cron or noop."""
    if isinstance(step, ApiStep):
        return "api"
    if isinstance(step, EventStep):
        return "event"
    return "cron" if isinstance(step, CronStep) else "noop"
