"""`motia emit`."""

from __future__ import annotations

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import app_options


@click.command("emit")
@click.argument("topic")
@click.argument("data", metavar="JSON")
@json_option
@app_options
@click.pass_context
def command(ctx: click.Context, topic: str, data: str, as_json: bool) -> None:
    """Emit an event.

    JSON is checked against the schema of TOPIC; - reads it from stdin. Prints the id of the trace that begins with it.

    \b
    motia emit order.cleared '{"orderId": "o-1", "approved": true}'
    """
    from motia_runtime.cli.console import emit_json
    from motia_runtime.cli.jsonarg import read_json
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    plain = read_json(data)
    app = reach(ctx)
    known("topic", topic, app.names.topics)

    from motia_runtime.cli.reach.events import events_of

    trace_id = ask(app, lambda way: events_of(way).emit(topic, plain))
    if as_json:
        emit_json({"topic": topic, "trace_id": trace_id})
    else:
        click.echo(trace_id)
