"""`motia delayed`: emits that wait for their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, app_options

if TYPE_CHECKING:
    from motia_runtime.cli.reach.way import Way


@click.group("delayed", cls=Group)
@app_options
def command() -> None:
    """List and cancel emits that wait for their time."""


@command.command("ls")
@click.option("--topic", metavar="NAME", help="Only of this topic.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@app_options
@click.pass_context
def ls(ctx: click.Context, topic: str | None, limit: int, as_json: bool) -> None:
    """List emits that wait, the earliest first."""
    from motia_runtime.cli.console import clock, emit_json, table
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)
    known("topic", topic, app.names.topics)

    from motia_runtime.cli.reach.queues import queues_of

    found = ask(app, lambda way: queues_of(way).delayed(topic, limit))
    if as_json:
        emit_json([each.plain() for each in found])
        return
    rows = [(clock(e.at), e.topic, e.key or "", e.data.decode(errors="replace"), e.slot) for e in found]
    table(("DUE", "TOPIC", "KEY", "DATA", "SLOT"), rows, empty="nothing waits")


@command.command("cancel")
@click.argument("slots", metavar="SLOT...", nargs=-1, required=True)
@app_options
@click.pass_context
def cancel(ctx: click.Context, slots: tuple[str, ...]) -> None:
    """Cancel emits by the slot they wait in."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.reach import ask, reach
    from motia_runtime.cli.reach.queues import queues_of
    from motia_runtime.delayed import check_slot

    for slot in slots:
        try:
            check_slot(slot)
        except ValueError as error:
            raise click.UsageError(f"{error}; `motia delayed ls` lists them") from error

    async def go(way: Way) -> list[str]:
        return [slot for slot in slots if not await queues_of(way).cancel(slot)]

    missing = ask(reach(ctx), go)
    say(f"cancelled: {len(slots) - len(missing)}")
    if missing:
        raise Failure(f"nothing waits in {', '.join(missing)}: it was never there, or its time has come")
