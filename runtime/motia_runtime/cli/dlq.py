"""`motia dlq`: dead letters, events whose last attempt failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, project_options

if TYPE_CHECKING:
    from motia_runtime.deadletters import DeadLetter, DeadLetters

T = TypeVar("T")
PAGE = 1_000  # letters read at a time
OUTSIDE = "(outside)"  # instead of a step: it came from another program and was not taken in

step_option = click.option("--step", metavar="NAME", help="Only of this step.")


@click.group("dlq", cls=Group)
@project_options
def command() -> None:
    """List, redrive and purge dead letters.

    A dead letter is an event whose last attempt failed. It is kept 30 days.
    """


@command.command("ls")
@step_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@project_options
@click.pass_context
def ls(ctx: click.Context, step: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    from motia_runtime.cli.console import clock, emit_json, table

    letters = _run(ctx, step, lambda dead: dead.list(step=step, limit=limit))
    if as_json:
        emit_json([letter.plain() for letter in letters])
        return
    rows = [
        (str(d.id), clock(d.story.failed_at), d.story.step or OUTSIDE, d.story.topic, str(d.story.attempts),
         f"{d.story.error.type}: {d.story.error.message}")
        for d in letters
    ]  # fmt: skip
    table(("ID", "FAILED", "STEP", "TOPIC", "ATTEMPTS", "ERROR"), rows, empty="no dead letters")


@command.command("show")
@click.argument("id", type=click.IntRange(1))
@json_option
@project_options
@click.pass_context
def show(ctx: click.Context, id: int, as_json: bool) -> None:
    """Show one dead letter: error, stack and data."""
    from motia_runtime.cli.console import clock, emit_json, printable

    (letter,) = _run(ctx, None, lambda dead: _letters(dead, (id,)))
    if as_json:
        emit_json(letter.plain())
        return
    story = letter.story
    rows = [
        ("step", story.step or OUTSIDE),
        ("topic", story.topic),
        ("failed", clock(story.failed_at)),
        ("attempts", f"{story.attempts}" + (f", redriven {story.redrives} times before" if story.redrives else "")),
        ("trace", story.trace_id),
        ("error", f"{story.error.type}: {story.error.message}"),
    ]
    for label, text in rows:
        click.echo(f"{label:<9} {printable(text)}")
    if story.error.stack:
        click.echo("\n" + printable(story.error.stack).rstrip())
    if story.data_left_out:
        click.echo(f"\nthe data is too large to be kept here; it is event {story.event_id}")
    else:
        click.echo("\n" + printable(letter.data.decode(errors="replace")))


@command.command("redrive")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="All letters (with --step: of that step).")
@step_option
@project_options
@click.pass_context
def redrive(ctx: click.Context, ids: tuple[int, ...], every: bool, step: str | None) -> None:
    """Hand events to their steps again, with all their attempts."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure

    async def work(dead: DeadLetters) -> tuple[int, list[str]]:
        done, failed = 0, []
        for letter in await _chosen(dead, ids, every, step):
            try:
                await dead.redrive(letter)
                done += 1
            except LookupError as error:
                failed.append(str(error))
        return done, failed

    done, failed = _run(ctx, step, work)
    say(f"redriven: {done}")
    if failed:
        raise Failure("; ".join(failed))


@command.command("purge")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="All letters (with --step: of that step).")
@step_option
@project_options
@click.pass_context
def purge(ctx: click.Context, ids: tuple[int, ...], every: bool, step: str | None) -> None:
    """Delete dead letters for good."""
    from motia_runtime.cli.console import say

    async def work(dead: DeadLetters) -> int:
        return sum([await dead.purge(letter) for letter in await _chosen(dead, ids, every, step)])

    say(f"purged: {_run(ctx, step, work)}")


async def _chosen(dead: DeadLetters, ids: tuple[int, ...], every: bool, step: str | None) -> list[DeadLetter]:
    if every == bool(ids):
        raise click.UsageError("name the letters by ID, or give --all")
    if not every:
        return await _letters(dead, ids)
    found: list[DeadLetter] = []
    before: int | None = None
    while page := await dead.list(step=step, limit=PAGE, before=before):
        found += page
        before = page[-1].id
    return found


async def _letters(dead: DeadLetters, ids: tuple[int, ...]) -> list[DeadLetter]:
    from motia_runtime.cli.errors import Failure

    found: list[DeadLetter] = []
    for number in ids:
        letter = await dead.get(number)
        if letter is None:
            raise Failure(f"no dead letter {number}; `motia dlq ls` lists them")
        found.append(letter)
    return found


def _run(ctx: click.Context, step: str | None, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    from motia_runtime.cli.project import known_step, load

    project = load(ctx)
    if step is not None:
        known_step(project, step)

    async def go() -> T:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.deadletters import DeadLetters

        async with open_log(project) as log:
            return await work(DeadLetters(log))

    return asyncio.run(go())
