"""`motia dev`."""

from __future__ import annotations

import logging
import os
import time

import click

from motia_runtime.cli.group import metrics_option, node_option, project_options, settings


@click.command("dev")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="[default: server.port of the spec; the next free one if taken]"
)
@click.option("--host", help="Address to listen on.  [default: server.host of the spec, 127.0.0.1]")
@node_option
@metrics_option
@click.option("--verbose", "-v", is_flag=True, help="Show debug lines.")
@project_options
@click.pass_context
def command(ctx: click.Context, port: int | None, host: str | None, node_workers: int | None, verbose: bool) -> None:
    """Run the app with hot reload.

    Keeps the generated types current and reloads spec, handlers and .env as they are saved. A broken edit leaves the last good version serving.
    """
    began = time.perf_counter()
    shared = settings(ctx)
    root = shared.root()

    from motia_runtime.dotenv import Dotenv
    from motia_runtime.logs import setup

    dotenv = Dotenv(root / ".env", os.environ)
    dotenv.load()
    level = logging.DEBUG if verbose else logging.INFO
    setup(None, json=False, level=level)

    from motia_runtime.cli.loop import run_loop
    from motia_runtime.cli.serve import Workplace, run_dev

    workplace = Workplace(root, dotenv, shared.env, level)
    ctx.exit(run_loop(run_dev(workplace, host=host, port=port, node_workers=node_workers or 1, began=began)))
