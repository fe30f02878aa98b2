"""`motia cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import app_options

if TYPE_CHECKING:
    from motia_runtime.cancels import Dropped
    from motia_runtime.cli.reach.way import Way


@click.command("cancel")
@click.argument("trace_id", metavar="[TRACE_ID]", required=False)
@click.option("--step", metavar="NAME", help="Only the runs of this step.")
@click.option("--event", "event_id", metavar="ID", help="One event instead of a trace, for the step that --step names.")
@json_option
@app_options
@click.pass_context
def command(ctx: click.Context, trace_id: str | None, step: str | None, event_id: str | None, as_json: bool) -> None:
    """Cancel a trace, or an event for one step.

    What waits does not run any more, what runs is interrupted and leaves nothing, over all instances. What has been committed stays. The first digits
    of TRACE_ID are enough.

    \b
    motia cancel 4bf92f3577b34da6a3ce929d0e0e4736
    motia cancel --event 8841 --step ChargeCard
    """
    from motia_runtime.cli.console import emit_json, say
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach
    from motia_runtime.cli.trace import check_id

    if (trace_id is None) == (event_id is None):
        raise click.UsageError("name a trace by its id, or an event with --event and --step")
    if event_id is not None and step is None:
        raise click.UsageError("--event needs --step: it is cancelled for one step, and others that subscribe go on")
    if trace_id is not None:
        check_id(trace_id)
    app = reach(ctx)
    known("step", step, app.names.steps)

    from motia_runtime.cancels import Target
    from motia_runtime.cli.reach.events import events_of
    from motia_runtime.cli.reach.history import history_of, whole_id

    async def go(way: Way) -> tuple[str, Dropped]:
        whole = "" if trace_id is None else await whole_id(history_of(way), trace_id)
        return whole, await events_of(way).cancel(Target(whole, step or "", event_id or ""))

    whole, dropped = ask(app, go)
    if as_json:
        named = {"trace_id": whole or None, "step": step, "event_id": event_id}
        emit_json({**named, "retries": dropped.again, "delayed": dropped.emits})
    else:
        say(f"cancelled; retries and put off events: {dropped.again}, delayed emits: {dropped.emits}")
