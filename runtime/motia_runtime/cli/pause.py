"""`motia pause`."""

from __future__ import annotations

import asyncio

import click

from motia_runtime.cli.group import project_options


@click.command("pause")
@click.argument("step")
@click.option(
    "--for", "duration", metavar="DURATION", help="Such as 10m or 1h30m; until `motia resume` when not given."
)
@project_options
@click.pass_context
def command(ctx: click.Context, step: str, duration: str | None) -> None:
    """Pause an event or cron step, over all instances.

    Runs that are under way finish, what comes waits. The pause holds over restarts and deployments.

    \b
    motia pause ChargeCard --for 10m
    """
    from motia_runtime.cli.console import clock, say
    from motia_runtime.cli.project import known_step, load
    from motia_spec.durations import seconds

    try:
        lasts = None if duration is None else seconds(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param_hint="--for") from error
    project = load(ctx)
    known_step(project, step)

    async def go() -> float:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.clock import SystemClock
        from motia_runtime.standings import pause

        async with open_log(project) as log:
            return await pause(log, SystemClock(), project.steps[step], lasts)

    until = asyncio.run(go())
    say(f"{step} is paused until " + ("it is resumed" if lasts is None else clock(until)))
