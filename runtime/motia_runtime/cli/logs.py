"""`motia logs`: the lines that runs have logged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.filters import filter_options
from motia_runtime.cli.group import app_options

if TYPE_CHECKING:
    from motia_runtime.cli.reach.way import Way
    from motia_runtime.observe.view import LogEntry

LEVELS = ("debug", "info", "warning", "error")
COLORS = {"debug": "2", "info": "32", "warning": "33", "error": "31"}


@click.command("logs")
@click.option("--trace", "trace_id", metavar="ID", help="Only of this trace; its first digits are enough.")
@filter_options
@click.option("--level", type=click.Choice(LEVELS), help="Only of this level or a worse one.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is logged from now on, until interrupted.")
@click.option(
    "--limit", "-n", type=click.IntRange(0, 1_000), default=100, show_default=True, help="The newest so many."
)
@json_option
@app_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    trace_id: str | None,
    level: str | None,
    follow: bool,
    limit: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what runs have logged.

    Oldest first. A line is here once the run that logged it has ended; the error that a run ended with is a line as well. --json prints one object a line.
    """
    from motia_runtime.cli.console import say
    from motia_runtime.cli.filters import wanted
    from motia_runtime.cli.reach import ask, reach
    from motia_runtime.cli.trace import check_id

    if trace_id is not None:
        check_id(trace_id)
    app = reach(ctx)
    which = wanted(ctx, app.names, options, trace=trace_id or "")

    from motia_runtime.cli.reach.history import history_of

    async def show(way: Way) -> None:
        none = True
        async for entries in history_of(way).lines(which, level or "", limit, follow=follow):
            for entry in entries:
                _tell(entry, as_json)
                none = False
        if none and not as_json:
            say("no such lines")

    with contextlib.suppress(KeyboardInterrupt):
        ask(app, show)


def _tell(entry: LogEntry, as_json: bool) -> None:
    from motia_runtime.cli.console import clock, emit_line, paint, printable

    if as_json:
        emit_line(entry)
        return
    import msgspec

    fields = msgspec.json.decode(entry.fields)
    told = "".join(
        f"  {name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in fields.items()
    )
    head = f"{clock(entry.time)} {paint(f'{entry.level:<7}', COLORS.get(entry.level, ''))}"
    text = printable(f"{entry.message}{told}").replace("\n", " ")
    click.echo(f"{head} {paint(printable(entry.step), '1')}  {entry.trace_id[:8]}  {text}", color=True)
