"""`motia tasks`: what waits for a person or an outside system."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, project_options

if TYPE_CHECKING:
    import msgspec

    from motia_runtime.tasks import Tasks

T = TypeVar("T")


@click.group("tasks", cls=Group)
@project_options
def command() -> None:
    """List, show and complete tasks of noop steps.

    Each event of a noop step with `manual` is a task that waits for an answer.
    """


@command.command("ls")
@click.option("--step", metavar="NAME", help="Only of this step.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@project_options
@click.pass_context
def ls(ctx: click.Context, step: str | None, limit: int, as_json: bool) -> None:
    """List tasks that are open, the oldest first."""
    from motia_runtime.cli.console import clock, emit_json, table

    found = _run(ctx, step, lambda tasks: tasks.waiting(step=step, limit=limit))
    if as_json:
        emit_json([task.plain() for task in found])
        return
    rows = [(t.step, t.id, clock(t.opened), "" if t.due is None else clock(t.due), _text(t.data)) for t in found]
    table(("STEP", "ID", "OPENED", "DUE", "DATA"), rows, empty="no open tasks")


@command.command("show")
@click.argument("step")
@click.argument("id")
@json_option
@project_options
@click.pass_context
def show(ctx: click.Context, step: str, id: str, as_json: bool) -> None:
    """Show one task, also one that has ended."""
    from motia_runtime.cli.console import clock, emit_json, printable
    from motia_runtime.cli.errors import Failure

    task = _run(ctx, step, lambda tasks: tasks.get(step, id))
    if task is None:
        raise Failure(f"{step} has no task {id!r}; `motia tasks ls` lists those that are open")
    if as_json:
        emit_json(task.plain())
        return
    ended = task.ended
    rows = [
        ("step", task.step),
        ("task", task.id),
        ("status", "open" if ended is None else ended.outcome),
        ("topic", task.topic),
        ("opened", clock(task.opened)),
        *([("due", clock(task.due))] if task.due is not None else []),
        ("trace", task.context.trace_id),
    ]
    if ended is not None:
        rows.append(("ended", clock(ended.at) + (f" by {ended.by}" if ended.by else "")))
        rows.append(("emitted", ended.topic or "nothing"))
        if bytes(ended.data):
            rows.append(("answer" if ended.outcome == "completed" else "data", _text(ended.data)))
    for label, text in rows:
        click.echo(f"{label:<9} {printable(text)}")
    if bytes(task.data):
        click.echo("\n" + printable(_text(task.data)))


@command.command("complete")
@click.argument("step")
@click.argument("id")
@click.argument("answer", metavar="JSON")
@click.option("--topic", metavar="NAME", help="Where the answer goes, for a step that emits several topics.")
@click.option("--by", metavar="WHO", help="Who decided.  [default: the user who is logged in]")
@json_option
@project_options
@click.pass_context
def complete(
    ctx: click.Context, step: str, id: str, answer: str, topic: str | None, by: str | None, as_json: bool
) -> None:
    """Give the answer to a task.

    JSON is checked against the step's `manual.input` and the topic that it goes to; - reads it from stdin.

    \b
    motia tasks complete ApproveOrder 8841 '{"orderId": "o-1", "approved": true}'
    """
    from motia_runtime.cli.console import emit_json, say
    from motia_runtime.cli.jsonarg import read_json

    plain = read_json(answer)
    who = _user() if by is None else by
    task = _run(ctx, step, lambda tasks: tasks.complete(step, id, plain, topic=topic, by=who))
    if as_json:
        emit_json(task.plain())
        return
    ended = task.ended
    say(f"completed; emitted {ended.topic if ended and ended.topic else 'nothing'}")


def _text(data: msgspec.Raw) -> str:
    return bytes(data).decode(errors="replace")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return ""


def _run(ctx: click.Context, step: str | None, work: Callable[[Tasks], Awaitable[T]]) -> T:
    from motia_runtime.cli.project import known_step, load

    project = load(ctx)
    if step is not None:
        known_step(project, step)

    async def go() -> T:
        from motia_runtime.cli.broker import open_log, types
        from motia_runtime.clock import SystemClock
        from motia_runtime.commit import Commits
        from motia_runtime.context.base import new_id
        from motia_runtime.orphans import Orphans
        from motia_runtime.records import RecordWriter
        from motia_runtime.redaction import Redaction
        from motia_runtime.tasks import Tasks

        async with open_log(project) as log:
            clock, records = SystemClock(), RecordWriter(log, Redaction(project))
            orphans = Orphans(log, clock, new_id())
            try:
                return await work(Tasks(project, types(project), log, clock, Commits(log, clock, orphans), records))
            finally:
                records.flush()
                await orphans.stop()

    return asyncio.run(go())
