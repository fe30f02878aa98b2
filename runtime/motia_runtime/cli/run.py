"""`motia run`."""

from __future__ import annotations

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import app_options


@click.command("run")
@click.argument("step")
@click.argument("data", metavar="[JSON]", required=False)
@click.option(
    "--source",
    metavar="NAME",
    help="The topic, state:GROUP or stream:NAME that it comes from, for a step that listens to several.",
)
@json_option
@app_options
@click.pass_context
def command(ctx: click.Context, step: str, data: str | None, source: str | None, as_json: bool) -> None:
    """Run a step now.

    An event step is given JSON as an event, with all its attempts, and nobody else is; - reads it from stdin. A cron step runs beside its schedule. Prints the
    id of the trace that begins with it.

    \b
    motia run ChargeCard '{"orderId": "o-1", "total": 25}'
    motia run NightlyReport
    """
    import msgspec

    from motia_runtime.cli.console import emit_json
    from motia_runtime.cli.jsonarg import read_json
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    given = None if data is None else msgspec.json.encode(read_json(data))
    app = reach(ctx)
    known("step", step, app.names.steps)

    from motia_runtime.cli.reach.events import events_of

    trace_id = ask(app, lambda way: events_of(way).run(step, given, source or ""))
    if as_json:
        emit_json({"step": step, "trace_id": trace_id})
    else:
        click.echo(trace_id)
