"""`motia plan`."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options

if TYPE_CHECKING:
    from motia_runtime.nats.reconcile import Difference
    from motia_spec.model import Project


@click.command("plan")
@json_option
@project_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show what the next start would change on the broker.

    Streams and consumers, against the spec. Exits with 1 when something can't be changed in place.
    """
    from motia_runtime.cli.console import emit_json, say
    from motia_runtime.cli.project import load

    project = load(ctx)
    found = asyncio.run(_plan(project))
    if as_json:
        emit_json(found)
    else:
        for difference in found:
            click.echo(str(difference))
        if not found:
            say("the broker has what the spec needs", color="32")
    ctx.exit(1 if any(difference.action == "blocked" for difference in found) else 0)


async def _plan(project: Project) -> list[Difference]:
    from motia_runtime.app import EMBEDDED, broker_url
    from motia_runtime.logs import setup
    from motia_runtime.nats.connect import Settings, connect
    from motia_runtime.nats.embedded import EmbeddedServer, find_running
    from motia_runtime.nats.reconcile import plan

    setup(project, json=False, level=logging.ERROR)  # what goes wrong is the command's to say
    url = broker_url(project, os.environ)
    embedded = url == EMBEDDED
    server: EmbeddedServer | None = None
    if not embedded:
        settings = Settings.from_environ(url, os.environ)
    elif running := find_running(project.root):
        settings = running.settings
    else:
        server = await EmbeddedServer.start(project.root, durability=project.nats.durability)
        settings = server.settings
    try:
        link = await connect(settings, name=f"motia plan {project.name}")
        try:
            return await plan(link, project, embedded=embedded)
        finally:
            await link.close()
    finally:
        if server is not None:
            await server.stop()
