"""Cron steps: when they run next, in their zone, and how it went the last time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from motia_runtime.naming import cron_subject
from motia_runtime.standings import standings
from motia_runtime.ticks import read_tick
from motia_runtime.workbench.call import Call
from motia_spec.cron import parse
from motia_spec.model import CronStep

SHOWN = 5  # due times of each
AHEAD = 400 * 86_400.0  # seconds that are looked ahead


async def get_schedules(call: Call) -> Any:
    bench = call.bench
    now = bench.clock.time()
    by_step = {each.step: each for each in await standings(bench.log, bench.project)}
    found = []
    for step in bench.project.steps.values():
        if not isinstance(step, CronStep):
            continue
        last = await bench.log.last(cron_subject(step.name))
        tick = None if last is None else read_tick(last)
        zone = ZoneInfo(step.timezone)
        times = parse(step.cron, step.timezone).between(now, now + AHEAD, SHOWN)
        found.append(
            {
                "step": step.name,
                "description": step.description,
                "cron": step.cron,
                "timezone": step.timezone,
                "overlap": step.overlap,
                "catch_up": step.catch_up,
                "next": [{"at": at, "local": datetime.fromtimestamp(at, zone).isoformat()} for at in times],
                "last_due": None if tick is None else tick.due,
                "last_by_hand": tick is not None and tick.after is not None,
                "paused_until": by_step[step.name].paused_until,
                "waiting": by_step[step.name].waiting,
                "in_flight": by_step[step.name].in_flight,
            }
        )
    return {"schedules": found, "now": now}


ROUTES = {"schedules": {"GET": get_schedules}}
