"""`motia plan`."""

from __future__ import annotations

import asyncio

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options


@click.command("plan")
@json_option
@project_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show what the next start would change on the broker.

    Streams and consumers, against the spec. Exits with 1 when something can't be changed in place.
    """
    from motia_runtime.broker import differences
    from motia_runtime.cli.console import emit_json, say
    from motia_runtime.cli.project import load

    found = asyncio.run(differences(load(ctx)))
    if as_json:
        emit_json(found)
    else:
        for difference in found:
            click.echo(str(difference))
        if not found:
            say("the broker has what the spec needs", color="32")
    ctx.exit(1 if any(difference.action == "blocked" for difference in found) else 0)
