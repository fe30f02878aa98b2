"""`motia trace`: what happened, run by run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, project_options

if TYPE_CHECKING:
    from motia_runtime.records import RunRecord, TraceStore

T = TypeVar("T")
SEARCHED = 500  # newest traces among which a shortened id is looked up
COLORS = {
    "ok": "32",
    "skipped": "2",
    "duplicate": "2",
    "debounced": "2",
    "replaced": "2",
    "waiting": "2",
    "retry": "33",
    "split": "33",
    "parked": "33",
    "cancelled": "33",
    "failed": "31",
    "dead": "31",
}


@click.group("trace", cls=Group)
@project_options
def command() -> None:
    """Show what happened, run by run."""


@command.command("ls")
@click.option("--step", metavar="NAME", help="Only traces that this step had a part in.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@json_option
@project_options
@click.pass_context
def ls(ctx: click.Context, step: str | None, limit: int, as_json: bool) -> None:
    """List traces, newest first."""
    from motia_runtime.cli.console import clock, emit_json, seconds, table

    found = _run(ctx, step, lambda traces: traces.latest(limit, step=step))
    if as_json:
        emit_json(found)
        return
    rows = [
        (t.trace_id, clock(t.started), t.root, str(t.runs), seconds(t.duration), t.outcome, ", ".join(t.steps))
        for t in found
    ]
    table(("TRACE", "STARTED", "ROOT", "RUNS", "TOOK", "OUTCOME", "STEPS"), rows, empty="no traces yet")


@command.command("show")
@click.argument("id")
@click.option("--logs", is_flag=True, help="With the lines that each run logged.")
@json_option
@project_options
@click.pass_context
def show(ctx: click.Context, id: str, logs: bool, as_json: bool) -> None:
    """Show the runs of a trace as a tree, with durations.

    The first digits of ID are enough.
    """
    from motia_runtime.cli.console import clock, emit_json, printable, seconds

    check_id(id)
    runs = _run(ctx, None, lambda traces: _runs(traces, id))
    if as_json:
        emit_json(runs)
        return
    whole = max(r.started + r.duration for r in runs) - runs[0].started
    click.echo(f"trace {runs[0].trace_id}  {clock(runs[0].started)}  {seconds(whole)}")
    for old in sorted({run.replay_of for run in runs if run.replay_of}):
        click.echo(printable(f"replay of {old}"))
    click.echo()
    for line in tree(runs, logs=logs):
        click.echo(line, color=True)


def tree(runs: list[RunRecord], *, logs: bool = False) -> Iterator[str]:
    """The lines of the picture; runs ordered by start. A run whose parent is not among them is a root."""
    children: dict[str, list[RunRecord]] = {}
    spans = {run.span_id for run in runs}
    roots: list[RunRecord] = []
    for run in runs:
        if run.parent_id in spans and run.parent_id != run.span_id:
            children.setdefault(run.parent_id, []).append(run)
        else:
            roots.append(run)
    drawn: set[int] = set()

    def draw(run: RunRecord, first: str, rest: str) -> Iterator[str]:
        if id(run) in drawn:  # spans that name each other as parents, by a forged header
            return
        drawn.add(id(run))
        below = children.get(run.span_id, [])
        yield first + _line(run)
        bar = rest + ("│  " if below else "   ")
        yield from (bar + text for text in _details(run, logs))
        for index, child in enumerate(below):
            last = index == len(below) - 1
            yield from draw(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    for run in [*roots, *runs]:
        yield from draw(run, "", "")


def _line(run: RunRecord) -> str:
    from motia_runtime.cli.console import paint, printable, seconds

    trigger = run.trigger
    what = {
        "api": f"{trigger.method} {trigger.path}",
        "event": trigger.topic or "",
        "cron": "cron",
        "manual": "manual",
    }[trigger.type]
    parts = [paint(printable(run.step), "1"), printable(what), paint(run.outcome, COLORS.get(run.outcome, ""))]
    if run.status is not None:
        parts.append(str(run.status))
    parts.append(seconds(run.duration))
    if run.attempt > 1 or run.outcome in ("retry", "dead"):
        parts.append(f"attempt {run.attempt}")
    if run.queued >= 0.001:
        parts.append(paint(f"waited {seconds(run.queued)}", "2"))
    if run.conflicts:
        parts.append(f"began again {run.conflicts} times")
    if run.events:
        parts.append(f"batch of {len(run.events)}")
    if run.batch:
        parts.append(f"in a batch of trace {run.batch}")
    return "  ".join(parts)


def _details(run: RunRecord, logs: bool) -> Iterator[str]:
    from motia_runtime.cli.console import paint, printable

    changed = [f"{s.op} {s.group}/{s.key}" for s in run.state]
    if changed:
        more = f" and {run.more_effects} more" if run.more_effects else ""
        yield paint(printable(", ".join(changed)) + more, "2")
    if logs:
        for line in run.logs:
            fields = "".join(f"  {key}={value}" for key, value in line.fields.items())
            yield printable(f"{line.level}: {line.message}{fields}").replace("\n", " ")
        if run.more_logs:
            yield f"{run.more_logs} more lines were logged"
    if run.error is not None:
        yield paint(printable(f"{run.error.type}: {run.error.message}").replace("\n", " "), "31")


async def _runs(traces: TraceStore, start: str) -> list[RunRecord]:
    from motia_runtime.cli.errors import Failure

    start = await whole_id(traces, start)
    runs = await traces.runs(start)
    if not runs:
        raise Failure(f"no trace {start} is kept; `motia trace ls` lists them")
    return runs


def check_id(id: str) -> None:
    """UsageError for what neither is a trace id nor begins one."""
    if not re.fullmatch(r"[0-9a-f]{4,32}", id):
        raise click.UsageError(f"{id!r} is no trace id: 32 hex digits, or at least the first 4 of them")


async def whole_id(traces: TraceStore, start: str) -> str:
    """The trace id that begins so. Failure when none does, or several do."""
    from motia_runtime.cli.errors import Failure

    if len(start) == 32:
        return start
    found = [t.trace_id for t in await traces.latest(SEARCHED) if t.trace_id.startswith(start)]
    if len(found) > 1:
        raise Failure(f"{len(found)} traces begin with {start}: {', '.join(sorted(found)[:5])}")
    if not found:
        raise Failure(f"no trace {start} is kept; `motia trace ls` lists them")
    return found[0]


def _run(ctx: click.Context, step: str | None, work: Callable[[TraceStore], Awaitable[T]]) -> T:
    from motia_runtime.cli.project import known_step, load

    project = load(ctx)
    if step is not None:
        known_step(project, step)

    async def go() -> T:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.records import TraceStore

        async with open_log(project) as log:
            return await work(TraceStore(log))

    return asyncio.run(go())
