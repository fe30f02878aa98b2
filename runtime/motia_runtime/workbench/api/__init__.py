"""The API of the Workbench, a module for each of its pages. docs/workbench-api.md describes it for users."""

from __future__ import annotations

from collections.abc import Mapping

from motia_runtime.workbench.api import (
    again,
    app,
    data,
    deadletters,
    flows,
    queues,
    records,
    run,
    schedules,
    spec,
    steps,
    traces,
)
from motia_runtime.workbench.call import Ask

ROUTES: Mapping[str, Mapping[str, Ask]] = {
    **app.ROUTES,
    **flows.ROUTES,
    **steps.ROUTES,
    **run.ROUTES,
    **traces.ROUTES,
    **records.ROUTES,
    **again.ROUTES,
    **queues.ROUTES,
    **deadletters.ROUTES,
    **schedules.ROUTES,
    **data.ROUTES,
    **spec.ROUTES,
}
