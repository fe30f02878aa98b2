"""`motia start`."""

from __future__ import annotations

import logging
import time

import click

from motia_runtime.cli.group import project_options


@click.command("start")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: server.port of the spec]")
@click.option("--host", help="Address to listen on.  [default: server.host of the spec, 127.0.0.1]")
@click.option("--nats", "url", metavar="URL", help="The broker, rather than nats.url of the spec.")
@click.option("--logs", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Log debug lines.")
@project_options
@click.pass_context
def command(ctx: click.Context, port: int | None, host: str | None, url: str | None, form: str, verbose: bool) -> None:
    """Run the app in production.

    No reload, no .env, JSON logs. SIGTERM drains: what has begun is finished, what waits is given back.
    """
    began = time.perf_counter()

    import msgspec

    from motia_runtime.cli.project import load
    from motia_runtime.logs import setup

    project = load(ctx, handlers=True, dotenv=False)
    if url is not None:
        project = msgspec.structs.replace(project, nats=msgspec.structs.replace(project.nats, url=url))
    setup(project, json=form == "json", level=logging.DEBUG if verbose else logging.INFO)

    from motia_runtime.cli.serve import run_loop, run_start

    run_loop(
        run_start(
            project,
            host=project.server.host if host is None else host,
            port=project.server.port if port is None else port,
            began=began,
        )
    )
