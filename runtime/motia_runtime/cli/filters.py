"""What `motia trace` and `motia logs` share: options that say which runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motia_runtime.cli.when import since_option, span, until_option

if TYPE_CHECKING:
    from motia_runtime.cli.reach.app import Names
    from motia_runtime.observe.view import Filter

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


def wanted(ctx: click.Context, names: Names, options: dict[str, Any], *, trace: str = "") -> Filter:
    """UsageError for names that the app does not have, BadParameter for times that are none."""
    from motia_runtime.cli.project import known
    from motia_runtime.observe.view import Filter
    from motia_spec.durations import seconds

    steps = list(options["steps"])
    for step in steps:
        known("step", step, names.steps)
    for flow in options["flows"]:
        known("flow", flow, names.flows)
        steps += names.flows[flow]
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
