"""`motia steps`."""

from __future__ import annotations

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, app_options


@click.group("steps", cls=Group)
@app_options
def command() -> None:
    """Show how the steps stand with their work."""


@command.command("ls")
@json_option
@app_options
@click.pass_context
def ls(ctx: click.Context, as_json: bool) -> None:
    """List steps: what waits, what is in flight, what is paused.

    Over all instances. Waiting: not delivered yet. In flight: delivered and not ended. Again: of these, delivered more than once. Oldest: when the
    oldest event that has not ended was stored.
    """
    from motia_runtime.cli.console import clock, emit_json, table
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)

    from motia_runtime.cli.reach.queues import queues_of
    from motia_runtime.standings import FOREVER

    found = ask(app, lambda way: queues_of(way).standings())
    if as_json:
        emit_json(found)
        return

    def paused(until: float | None) -> str:
        return "" if until is None else "until resumed" if until >= FOREVER else f"until {clock(until)}"

    rows = [
        (
            each.step,
            each.kind,
            _number(each.waiting),
            _number(each.in_flight),
            _number(each.redelivered),
            "" if each.oldest is None else clock(each.oldest),
            _number(each.delivered),
            paused(each.paused_until),
        )
        for each in found
    ]
    heads = ("STEP", "TYPE", "WAITING", "IN FLIGHT", "AGAIN", "OLDEST", "NEWEST EVENT", "PAUSED")
    table(heads, rows, empty="the spec has no steps")


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
