"""Runs in full, in the order in which their records were written: for who follows what ends."""

from __future__ import annotations

from typing import Any

from motia_runtime.observe.feed import Feed
from motia_runtime.observe.matching import fits
from motia_runtime.workbench.api.traces import FILTERS, filter_of
from motia_runtime.workbench.call import Call, number


async def get_records(call: Call) -> Any:
    """Those that were written since `after`, some at a time. `next`: what `after` is for those that follow; without `after` nothing but that."""
    query = call.query(*FILTERS[:-2], "after")
    wanted = filter_of(call.bench, query)
    log = call.bench.log
    if "after" not in query:
        return {"records": [], "next": await log.newest("run")}
    feed = Feed(log, after=0 if query["after"] == "0" else number(query["after"], 0, 1 << 53, "after"))
    found = await feed.more()
    return {"records": [stored.record for stored in found if fits(stored.record, wanted)], "next": feed.after}


ROUTES = {"records": {"GET": get_records}}
