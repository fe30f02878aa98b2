"""`motia emit`."""

from __future__ import annotations

import asyncio
import time

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options


@click.command("emit")
@click.argument("topic")
@click.argument("data", metavar="JSON")
@click.option("--delay", metavar="SECONDS", type=click.FloatRange(0), help="Emit it that much later.")
@json_option
@project_options
@click.pass_context
def command(ctx: click.Context, topic: str, data: str, delay: float | None, as_json: bool) -> None:
    """Emit an event.

    JSON is checked against the schema of TOPIC; - reads it from stdin. Prints the id of the trace that begins with it.

    \b
    motia emit order.created '{"id": "o-1", "total": 12.5}'
    """
    from motia_runtime.cli.broker import types
    from motia_runtime.cli.console import emit_json
    from motia_runtime.cli.jsonarg import read_json
    from motia_runtime.cli.project import load, meant

    plain = read_json(data)
    project = load(ctx)
    if topic not in project.topics:
        raise click.UsageError(f"no topic {topic!r}; {meant(topic, project.topics)}")
    codec = types(project).codec(project.topics[topic].schema)
    event = codec.encode(codec.convert(plain))

    from motia_runtime.app import connect
    from motia_runtime.naming import event_subject
    from motia_runtime.trace import format_context, new_trace

    trace = new_trace()

    async def go() -> None:
        async with connect(project) as log:
            at = None if delay is None else time.time() + delay
            await log.append(event_subject(topic), event, headers={"traceparent": format_context(trace)}, at=at)

    asyncio.run(go())
    if as_json:
        emit_json({"topic": topic, "trace_id": trace.trace_id})
    else:
        click.echo(trace.trace_id)
