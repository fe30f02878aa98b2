"""`motia emit`."""

from __future__ import annotations

import asyncio

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options


@click.command("emit")
@click.argument("topic")
@click.argument("data", metavar="JSON")
@json_option
@project_options
@click.pass_context
def command(ctx: click.Context, topic: str, data: str, as_json: bool) -> None:
    """Emit an event.

    JSON is checked against the schema of TOPIC; - reads it from stdin. Prints the id of the trace that begins with it.

    \b
    motia emit order.cleared '{"orderId": "o-1", "approved": true}'
    """
    from motia_runtime.cli.broker import types
    from motia_runtime.cli.console import emit_json
    from motia_runtime.cli.jsonarg import read_json
    from motia_runtime.cli.project import load, meant

    plain = read_json(data)
    project = load(ctx)
    if topic not in project.topics:
        raise click.UsageError(f"no topic {topic!r}; {meant(topic, project.topics)}")

    async def go() -> str:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.publish import publish

        async with open_log(project) as log:
            return await publish(log, project, types(project), topic, plain)

    trace_id = asyncio.run(go())
    if as_json:
        emit_json({"topic": topic, "trace_id": trace_id})
    else:
        click.echo(trace_id)
