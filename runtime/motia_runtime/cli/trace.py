"""`motia trace`: what happened, run by run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.filters import filter_options
from motia_runtime.cli.group import Group, app_options

if TYPE_CHECKING:
    from motia_runtime.cli.reach.way import Way
    from motia_runtime.records import RunRecord

SHOWN = 2_000  # characters of a payload in the tree
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
@app_options
def command() -> None:
    """Show what happened, run by run."""


@command.command("ls")
@filter_options
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@json_option
@app_options
@click.pass_context
def ls(ctx: click.Context, /, limit: int, as_json: bool, **options: Any) -> None:
    """List traces, newest first.

    Of a trace, --step, --flow and --text hold when they do for one of its runs. --status is what it has come to: the worst that a run ended in and no later
    attempt has settled.
    """
    from motia_runtime.cli.console import clock, emit_json, seconds, table
    from motia_runtime.cli.filters import wanted
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)
    which = wanted(ctx, app.names, options)

    from motia_runtime.cli.reach.history import history_of

    found = ask(app, lambda way: history_of(way).traces(which, limit))
    if as_json:
        emit_json(found)
        return
    rows = [
        (t.trace_id, clock(t.started), t.root, str(t.runs), seconds(t.duration), t.outcome, ", ".join(t.steps))
        for t in found
    ]
    table(("TRACE", "STARTED", "ROOT", "RUNS", "TOOK", "OUTCOME", "STEPS"), rows, empty="no such traces")


@command.command("show")
@click.argument("id")
@click.option("--logs", is_flag=True, help="With the lines that each run logged.")
@click.option("--full", is_flag=True, help="With everything: inputs, payloads, state before and after, stacks, lines.")
@json_option
@app_options
@click.pass_context
def show(ctx: click.Context, id: str, logs: bool, full: bool, as_json: bool) -> None:
    """Show the runs of a trace as a tree, with durations.

    The first digits of ID are enough.
    """
    from motia_runtime.cli.console import clock, emit_json, printable, seconds
    from motia_runtime.cli.reach import ask, reach

    check_id(id)
    runs = ask(reach(ctx), lambda way: _runs(way, id))
    if as_json:
        emit_json(runs)
        return
    whole = max(r.started + r.duration for r in runs) - runs[0].started
    click.echo(f"trace {runs[0].trace_id}  {clock(runs[0].started)}  {seconds(whole)}")
    for old in sorted({run.replay_of for run in runs if run.replay_of}):
        click.echo(printable(f"replay of {old}"))
    click.echo()
    for line in tree(runs, logs=logs, full=full):
        click.echo(line, color=True)


@command.command("tail")
@filter_options
@json_option
@app_options
@click.pass_context
def tail(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Show runs as they end, until interrupted.

    With --json, each run in full, one line each.
    """
    from motia_runtime.cli.filters import wanted
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)
    which = wanted(ctx, app.names, options)

    from motia_runtime.cli.reach.history import history_of

    async def show(way: Way) -> None:
        async for runs in history_of(way).tail(which):
            for run in runs:
                _tell(run, as_json)

    with contextlib.suppress(KeyboardInterrupt):
        ask(app, show)


def _tell(run: RunRecord, as_json: bool) -> None:
    from motia_runtime.cli.console import clock, emit_line, paint, printable

    if as_json:
        emit_line(run)
        return
    error = "" if run.error is None else "  " + printable(f"{run.error.type}: {run.error.message}").replace("\n", " ")
    click.echo(f"{clock(run.started)}  {run.trace_id[:8]}  {_line(run)}{paint(error, '31')}", color=True)


def tree(runs: list[RunRecord], *, logs: bool = False, full: bool = False) -> Iterator[str]:
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
        yield from (bar + text for text in _details(run, logs, full))
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


def _details(run: RunRecord, logs: bool, full: bool) -> Iterator[str]:
    from motia_runtime.cli.console import paint, printable

    changed = [f"{s.op} {s.group}/{s.key}" for s in run.state if s.op != "get"]
    if full:
        yield from _everything(run)
    elif changed:
        more = f" and {run.more_effects} more" if run.more_effects else ""
        yield paint(printable(", ".join(changed)) + more, "2")
    if logs or full:
        for line in run.logs:
            fields = "".join(f"  {key}={value}" for key, value in line.fields.items())
            yield printable(f"{line.level}: {line.message}{fields}").replace("\n", " ")
        if run.more_logs:
            yield f"{run.more_logs} more lines were logged"
    if run.error is not None:
        yield paint(printable(f"{run.error.type}: {run.error.message}").replace("\n", " "), "31")
        if full:
            yield from (paint(printable(f"  {frame}"), "31") for frame in run.error.stack.splitlines())


def _everything(run: RunRecord) -> Iterator[str]:
    """Input and effects, a line each."""
    from motia_runtime.cli.console import paint, printable

    def line(what: str, payload: object = b"") -> str:
        text = bytes(payload).decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        return paint(printable(f"{what}  {text[:SHOWN]}".rstrip()), "2")

    if data := bytes(run.input):
        yield line("input", data)
    for emit in run.emits:
        later = "" if emit.at is None else " later" + (f" under {emit.key}" if emit.key else "")
        yield line(f"emit {emit.topic}{later}", bytes(emit.data))
    for one in run.state:
        before, data = bytes(one.before), bytes(one.data)
        if one.op == "get":
            yield line(f"get {one.group}/{one.key}", before or b"nothing")
        else:
            was = f" (was {before.decode('utf-8', 'replace')[:SHOWN]})" if before else ""
            yield line(f"{one.op} {one.group}/{one.key}{was}", data)
    for call in run.streams:
        yield line(f"{call.op} {call.type} {call.stream}/{call.group}/{call.id}".replace("  ", " "), bytes(call.data))
    if run.more_effects:
        yield line(f"{run.more_effects} more effects")


async def _runs(way: Way, start: str) -> list[RunRecord]:
    from motia_runtime.cli.reach.history import history_of, no_trace, whole_id

    history = history_of(way)
    trace_id = await whole_id(history, start)
    found = await history.runs(trace_id)
    if not found:
        raise no_trace(trace_id)
    return found


def check_id(id: str) -> None:
    """UsageError for what neither is a trace id nor begins one."""
    if not re.fullmatch(r"[0-9a-f]{4,32}", id):
        raise click.UsageError(f"{id!r} is no trace id: 32 hex digits, or at least the first 4 of them")
