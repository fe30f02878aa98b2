"""`motia delayed`: emits that wait for their time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, project_options

if TYPE_CHECKING:
    from motia_runtime.delayed import DelayedEmit


@click.group("delayed", cls=Group)
@project_options
def command() -> None:
    """List and cancel emits that wait for their time."""


@command.command("ls")
@click.option("--topic", metavar="NAME", help="Only of this topic.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@project_options
@click.pass_context
def ls(ctx: click.Context, topic: str | None, limit: int, as_json: bool) -> None:
    """List emits that wait, the earliest first."""
    from motia_runtime.cli.console import clock, emit_json, table
    from motia_runtime.cli.project import load, meant

    project = load(ctx)
    if topic is not None and topic not in project.topics:
        raise click.UsageError(f"no topic {topic!r}; {meant(topic, project.topics)}")

    async def go() -> list[DelayedEmit]:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.delayed import waiting

        async with open_log(project) as log:
            return await waiting(log, topic=topic, limit=limit)

    found = asyncio.run(go())
    if as_json:
        emit_json([each.plain() for each in found])
        return
    rows = [(clock(e.at), e.topic, e.key or "", e.data.decode(errors="replace"), e.slot) for e in found]
    table(("DUE", "TOPIC", "KEY", "DATA", "SLOT"), rows, empty="nothing waits")


@command.command("cancel")
@click.argument("slots", metavar="SLOT...", nargs=-1, required=True)
@project_options
@click.pass_context
def cancel(ctx: click.Context, slots: tuple[str, ...]) -> None:
    """Cancel emits by the slot they wait in."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.project import load

    project = load(ctx)

    async def go() -> list[str]:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.delayed import cancel

        async with open_log(project) as log:
            return [slot for slot in slots if not await cancel(log, slot)]

    try:
        missing = asyncio.run(go())
    except ValueError as error:
        raise click.UsageError(f"{error}; `motia delayed ls` lists them") from error
    say(f"cancelled: {len(slots) - len(missing)}")
    if missing:
        raise Failure(f"nothing waits in {', '.join(missing)}: it was never there, or its time has come")
