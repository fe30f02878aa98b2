"""`motia pause`."""

from __future__ import annotations

import click

from motia_runtime.cli.group import app_options


@click.command("pause")
@click.argument("step")
@click.option(
    "--for", "duration", metavar="DURATION", help="Such as 10m or 1h30m; until `motia resume` when not given."
)
@app_options
@click.pass_context
def command(ctx: click.Context, step: str, duration: str | None) -> None:
    """Pause an event or cron step, over all instances.

    Runs that are under way finish, what comes waits. The pause holds over restarts and deployments.

    \b
    motia pause ChargeCard --for 10m
    """
    from motia_runtime.cli.console import clock, say
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach
    from motia_spec.durations import seconds

    try:
        lasts = None if duration is None else seconds(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param_hint="--for") from error
    app = reach(ctx)
    known("step", step, app.names.steps)

    from motia_runtime.cli.reach.queues import queues_of

    until = ask(app, lambda way: queues_of(way).pause(step, lasts))
    say(f"{step} is paused until " + ("it is resumed" if lasts is None else clock(until)))
