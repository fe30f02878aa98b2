"""What `motia trace` and `motia logs` share: options that say which runs, and the index that finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motia_runtime.cli.when import since_option, span, until_option

if TYPE_CHECKING:
    from motia_runtime.observe.index import TraceIndex
    from motia_runtime.observe.view import Filter
    from motia_runtime.ports import Log
    from motia_spec.model import Project

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--step", "steps", metavar="NAME", multiple=True, help="Only of this step; may be given several times."
    ),
    click.option("--flow", "flows", metavar="NAME", multiple=True, help="Only of steps of this flow."),
    click.option(
        "--status",
        "outcomes",
        metavar="OUTCOME",
        multiple=True,
        help="Only with this outcome: ok, retry, dead, failed, cancelled, skipped, ...",
    ),
    since_option,
    until_option,
    click.option("--longer", metavar="DURATION", help="Only what took so long or longer: 500ms, 2s."),
    click.option("--text", metavar="WORDS", help="Only with all these words in payloads, errors or log lines."),
)


def filter_options(command: F) -> F:
    """Options that `wanted` understands, as keyword arguments of the command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wanted(ctx: click.Context, project: Project, options: dict[str, Any], *, trace: str = "") -> Filter:
    """UsageError for names that the spec does not have, BadParameter for times that are none."""
    from motia_runtime.cli.project import known_step, meant
    from motia_runtime.observe.index import steps_of
    from motia_runtime.observe.view import Filter
    from motia_spec.durations import seconds

    steps = list(options["steps"])
    for step in steps:
        known_step(project, step)
    for flow in options["flows"]:
        if flow not in project.flows:
            raise click.UsageError(f"no flow {flow!r}; {meant(flow, project.flows)}")
        steps += steps_of(project, flow)
    begin, end = span(ctx, options["since"], options["until"])
    try:
        longer = None if options["longer"] is None else seconds(options["longer"])
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param_hint="--longer") from None
    return Filter(
        trace=trace,
        steps=tuple(steps),
        outcomes=tuple(options["outcomes"]),
        since=begin,
        until=end,
        longer=longer,
        text=options["text"] or "",
    )


@asynccontextmanager
async def index_of(project: Project, log: Log) -> AsyncIterator[TraceIndex]:
    """The index of the app's runs, up to date."""
    import os

    from motia_runtime.broker import broker_url
    from motia_runtime.observe.index import open_index

    name = f"{broker_url(project, os.environ)} {project.nats.prefix}"
    async with open_index(log, project.root / ".motia", name=name) as index:
        await index.catch_up()
        yield index


async def whole_id(project: Project, log: Log, start: str) -> str:
    """The trace id that begins so. Failure when none does, or several do."""
    from motia_runtime.cli.errors import Failure

    if len(start) == 32:
        return start
    async with index_of(project, log) as index:
        found = await index.beginning_with(start, limit=6)
    if len(found) > 1:
        raise Failure(f"several traces begin with {start}: {', '.join(found[:5])}")
    if not found:
        raise Failure(f"no trace {start} is kept; `motia trace ls` lists them")
    return found[0]
