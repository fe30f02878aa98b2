"""`motia tasks`: what waits for a person or an outside system."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, app_options

if TYPE_CHECKING:
    from motia_runtime.cli.reach.tasks import AskedTasks

T = TypeVar("T")


@click.group("tasks", cls=Group)
@app_options
def command() -> None:
    """List, show and complete tasks of noop steps.

    Each event of a noop step with `manual` is a task that waits for an answer.
    """


@command.command("ls")
@click.option("--step", metavar="NAME", help="Only of this step.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@app_options
@click.pass_context
def ls(ctx: click.Context, step: str | None, limit: int, as_json: bool) -> None:
    """List tasks that are open, the oldest first."""
    from motia_runtime.cli.console import clock, emit_json, table

    found = _run(ctx, step, lambda tasks: tasks.waiting(step, limit))
    if as_json:
        emit_json(found)
        return
    rows = [
        (t["step"], t["id"], clock(t["opened_at"]), "" if t["due_at"] is None else clock(t["due_at"]), _text(t["data"]))
        for t in found
    ]
    table(("STEP", "ID", "OPENED", "DUE", "DATA"), rows, empty="no open tasks")


@command.command("show")
@click.argument("step")
@click.argument("id")
@json_option
@app_options
@click.pass_context
def show(ctx: click.Context, step: str, id: str, as_json: bool) -> None:
    """Show one task, also one that has ended."""
    from motia_runtime.cli.console import clock, emit_json, printable
    from motia_runtime.cli.errors import Failure

    task = _run(ctx, step, lambda tasks: tasks.get(step, id))
    if task is None:
        raise Failure(f"{step} has no task {id!r}; `motia tasks ls` lists those that are open")
    if as_json:
        emit_json(task)
        return
    rows = [
        ("step", task["step"]),
        ("task", task["id"]),
        ("status", task["status"]),
        ("topic", task["topic"]),
        ("opened", clock(task["opened_at"])),
        *([("due", clock(task["due_at"]))] if task["due_at"] is not None else []),
        ("trace", task["trace_id"]),
    ]
    if task["status"] != "open":
        emitted = task["emitted"]
        rows.append(("ended", clock(task["ended_at"]) + (f" by {task['by']}" if task["by"] else "")))
        rows.append(("emitted", emitted["topic"] if emitted else "nothing"))
        if task["status"] == "completed":
            rows.append(("answer", _text(task["answer"])))
        elif emitted:
            rows.append(("data", _text(emitted["data"])))
    for label, text in rows:
        click.echo(f"{label:<9} {printable(text)}")
    if task["data"] is not None:
        click.echo("\n" + printable(_text(task["data"])))


@command.command("complete")
@click.argument("step")
@click.argument("id")
@click.argument("answer", metavar="JSON")
@click.option("--topic", metavar="NAME", help="Where the answer goes, for a step that emits several topics.")
@click.option("--by", metavar="WHO", help="Who decided.  [default: the user who is logged in]")
@json_option
@app_options
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
    task = _run(ctx, step, lambda tasks: tasks.complete(step, id, plain, topic, who))
    if as_json:
        emit_json(task)
        return
    emitted = task["emitted"]
    say(f"completed; emitted {emitted['topic'] if emitted else 'nothing'}")


def _text(data: Any) -> str:
    import msgspec

    return msgspec.json.encode(data).decode()


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return ""


def _run(ctx: click.Context, step: str | None, work: Callable[[AskedTasks], Awaitable[T]]) -> T:
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)
    known("step", step, app.names.steps)

    from motia_runtime.cli.reach.tasks import tasks_of

    return ask(app, lambda way: work(tasks_of(way)))
