"""`motia dlq`: dead letters, events whose last attempt failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import Group, app_options
from motia_runtime.cli.when import since_option, span, until_option

if TYPE_CHECKING:
    from motia_runtime.cli.reach.dead import Dead
    from motia_runtime.deadletters import DeadLetter, Wanted

T = TypeVar("T")
OUTSIDE = "(outside)"  # instead of a step: it came from another program and was not taken in

FILTERS = (
    click.option("--step", metavar="NAME", help="Only of this step."),
    click.option("--topic", metavar="NAME", help="Only of this topic."),
    click.option("--error", metavar="TYPE", help="Only with an error of this class, such as ValueError."),
    since_option,
    until_option,
)
F = TypeVar("F", bound=Callable[..., Any])


def filters(function: F) -> F:
    """The options that say which letters are meant."""
    for option in reversed(FILTERS):
        function = option(function)
    return function


def choice(function: F) -> F:
    """Letters by id, by filter, or all."""
    function = click.option("--dry-run", is_flag=True, help="Only list them.")(filters(function))
    function = click.option("--all", "every", is_flag=True, help="All letters.")(function)
    return click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))(function)


@click.group("dlq", cls=Group)
@app_options
def command() -> None:
    """List, redrive and purge dead letters.

    A dead letter is an event whose last attempt failed. It is kept 30 days.
    """


@command.command("ls")
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@app_options
@click.pass_context
def ls(ctx: click.Context, /, limit: int, as_json: bool, **which: str | None) -> None:
    """List dead letters, newest first."""
    from motia_runtime.cli.console import emit_json

    letters = _run(ctx, which, lambda dead, wanted: dead.find(wanted, limit))
    if as_json:
        emit_json([letter.plain() for letter in letters])
    else:
        _list(letters)


def _list(letters: Sequence[DeadLetter]) -> None:
    from motia_runtime.cli.console import clock, table

    rows = [
        (str(d.id), clock(d.story.failed_at), d.story.step or OUTSIDE, d.story.topic, str(d.story.attempts),
         f"{d.story.error.type}: {d.story.error.message}")
        for d in letters
    ]  # fmt: skip
    table(("ID", "FAILED", "STEP", "TOPIC", "ATTEMPTS", "ERROR"), rows, empty="no dead letters")


@command.command("show")
@click.argument("id", type=click.IntRange(1))
@json_option
@app_options
@click.pass_context
def show(ctx: click.Context, id: int, as_json: bool) -> None:
    """Show one dead letter: error, stack, data, and what it went through before."""
    from motia_runtime.cli.console import clock, emit_json, printable

    (letter,) = _run(ctx, {}, lambda dead, _: _letters(dead, (id,)))
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
    for number, past in enumerate(story.history, story.redrives - len(story.history) + 1):
        how = f"{past.attempts} attempts" if past.attempts > 1 else "1 attempt"
        click.echo(
            printable(f"round {number:<3} {clock(past.failed_at)}, {how}: {past.error.type}: {past.error.message}")
        )
    if story.error.stack:
        click.echo("\n" + printable(story.error.stack).rstrip())
    if story.data_left_out:
        click.echo(f"\nthe data is too large to be kept here; it is event {story.event_id}")
    else:
        click.echo("\n" + printable(letter.data.decode(errors="replace")))


@command.command("redrive")
@choice
@app_options
@click.pass_context
def redrive(ctx: click.Context, /, ids: tuple[int, ...], every: bool, dry_run: bool, **which: str | None) -> None:
    """Hand events to their steps again, with all their attempts.

    Each letter that is chosen is redriven once, also when commands run at once or one is interrupted and given again.

    \b
    motia dlq redrive 17 18
    motia dlq redrive --step Pay --error ConnectionError --since 2h
    """
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure

    async def work(dead: Dead, wanted: Wanted) -> tuple[Sequence[DeadLetter], int, Sequence[str]]:
        chosen = await _chosen(dead, ids, wanted, again=True)
        return chosen, *await dead.redrive([] if dry_run else chosen[::-1])  # in the order in which they failed

    _check(ids, every, which)
    chosen, done, failed = _run(ctx, which, work)
    if dry_run:
        _list(chosen)
        say(f"would be redriven: {len(chosen)}")
        return
    say(f"redriven: {done}")
    if failed:
        raise Failure("; ".join(failed))


@command.command("purge")
@choice
@app_options
@click.pass_context
def purge(ctx: click.Context, /, ids: tuple[int, ...], every: bool, dry_run: bool, **which: str | None) -> None:
    """Delete dead letters for good."""
    from motia_runtime.cli.console import say

    async def work(dead: Dead, wanted: Wanted) -> tuple[Sequence[DeadLetter], int]:
        chosen = await _chosen(dead, ids, wanted)
        return chosen, await dead.purge([] if dry_run else chosen)

    _check(ids, every, which)
    chosen, done = _run(ctx, which, work)
    if dry_run:
        _list(chosen)
        say(f"would be purged: {len(chosen)}")
    else:
        say(f"purged: {done}")


def _check(ids: tuple[int, ...], every: bool, which: Mapping[str, str | None]) -> None:
    """Nobody shall choose all letters by leaving something out."""
    filtered = any(value is not None for value in which.values())
    if bool(ids) == (every or filtered):
        raise click.UsageError(
            "name the letters by ID, or say which by --step, --topic, --error, --since, --until, or give --all"
        )


async def _chosen(dead: Dead, ids: tuple[int, ...], wanted: Wanted, *, again: bool = False) -> Sequence[DeadLetter]:
    return (await _letters(dead, ids, again=again))[::-1] if ids else await dead.find(wanted, None)


async def _letters(dead: Dead, ids: tuple[int, ...], *, again: bool = False) -> list[DeadLetter]:
    """`again`: those that were redriven before are left out, since the command may have been interrupted."""
    from motia_runtime.cli.errors import Failure

    found: list[DeadLetter] = []
    for number in ids:
        letter = await dead.get(number)
        if letter is not None:
            found.append(letter)
        elif not (again and await dead.is_redriven(number)):
            raise Failure(f"no dead letter {number}; `motia dlq ls` lists them")
    return found


def _run(ctx: click.Context, which: Mapping[str, str | None], work: Callable[[Dead, Wanted], Awaitable[T]]) -> T:
    from motia_runtime.cli.project import known
    from motia_runtime.cli.reach import ask, reach

    since, until = span(ctx, which.get("since"), which.get("until"))
    app = reach(ctx)
    step, topic, error = (which.get(name) for name in ("step", "topic", "error"))
    known("step", step, app.names.steps)
    known("topic", topic, app.names.topics)

    from motia_runtime.cli.reach.dead import dead_of
    from motia_runtime.deadletters import Wanted

    wanted = Wanted(step=step, topic=topic, error=error, since=since, until=until)
    return ask(app, lambda way: work(dead_of(way), wanted))
