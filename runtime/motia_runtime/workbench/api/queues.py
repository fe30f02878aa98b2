"""What waits before each step, and stopping it for a while."""

from __future__ import annotations

from typing import Any

import msgspec

from motia_runtime import delayed
from motia_runtime.http.problems import Refused
from motia_runtime.standings import FOREVER, pause, resume
from motia_runtime.workbench.bench import Missing
from motia_runtime.workbench.call import Call, number
from motia_runtime.workbench.live import stand

LONGEST = 366 * 86_400.0  # seconds of a pause with an end


async def get_queues(call: Call) -> Any:
    """How every step stands, as `motia steps ls`."""
    bench = call.bench
    return {"steps": await stand(bench.log, bench.project), "forever": FOREVER}


class Pause(msgspec.Struct, frozen=True):
    seconds: float | None = None  # None: until it is resumed


async def post_pause(call: Call) -> Any:
    bench = call.bench
    step = bench.step(*call.values)
    wanted = await call.body(Pause)
    if wanted.seconds is not None and not 0 < wanted.seconds <= LONGEST:
        raise Refused(400, f"A pause has more than 0 and at most {LONGEST:,.0f} seconds, or no end.")
    return {"paused_until": await pause(bench.log, bench.clock, step, wanted.seconds)}


async def post_resume(call: Call) -> Any:
    bench = call.bench
    return {"resumed": await resume(bench.log, bench.step(*call.values))}


async def get_delayed(call: Call) -> Any:
    """Emits that wait for their time, as `motia delayed ls`."""
    query = call.query("topic", "limit")
    found = await delayed.waiting(
        call.bench.log, topic=query.get("topic"), limit=number(query.get("limit"), 100, 100_000)
    )
    return {"delayed": [each.plain() for each in found]}


async def delete_delayed(call: Call) -> Any:
    (slot,) = call.values
    try:
        cancelled = await delayed.cancel(call.bench.log, slot)
    except ValueError as problem:
        raise Refused(400, f"{problem}.") from None
    if not cancelled:
        raise Missing(f"nothing waits in {slot}: it was never there, or its time has come")
    return {"cancelled": slot}


ROUTES = {
    "queues": {"GET": get_queues},
    "queues/{step}/pause": {"POST": post_pause},
    "queues/{step}/resume": {"POST": post_resume},
    "delayed": {"GET": get_delayed},
    "delayed/{slot}": {"DELETE": delete_delayed},
}
