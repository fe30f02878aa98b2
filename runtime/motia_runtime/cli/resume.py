"""`motia resume`."""

from __future__ import annotations

import click

from motia_runtime.cli.group import app_options


@click.command("resume")
@click.argument("step")
@app_options
@click.pass_context
def command(ctx: click.Context, step: str) -> None:
    """End the pause of a step."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)
    known("step", step, app.names.steps)

    from motia_runtime.cli.reach.queues import queues_of

    resumed = ask(app, lambda way: queues_of(way).resume(step))
    say(f"{step} goes on" if resumed else f"{step} was not paused")
