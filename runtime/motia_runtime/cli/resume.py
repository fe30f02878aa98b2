"""`motia resume`."""

from __future__ import annotations

import asyncio

import click

from motia_runtime.cli.group import project_options


@click.command("resume")
@click.argument("step")
@project_options
@click.pass_context
def command(ctx: click.Context, step: str) -> None:
    """End the pause of a step."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.project import known_step, load

    project = load(ctx)
    known_step(project, step)

    async def go() -> bool:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.standings import resume

        async with open_log(project) as log:
            return await resume(log, project.steps[step])

    say(f"{step} goes on" if asyncio.run(go()) else f"{step} was not paused")
