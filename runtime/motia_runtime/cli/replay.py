"""`motia replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import app_options
from motia_runtime.cli.when import since_option, span, until_option

if TYPE_CHECKING:
    from motia_runtime.cli.reach.app import Names
    from motia_runtime.cli.reach.events import Chosen
    from motia_runtime.cli.reach.way import Way
    from motia_runtime.replay import Event, Replayed


@click.command("replay")
@click.argument("trace_id", metavar="[TRACE_ID]", required=False)
@click.option("--event", "event_id", metavar="ID", type=click.IntRange(1), help="One event.")
@click.option("--topic", metavar="NAME", help="The events of this topic.")
@since_option
@until_option
@click.option("--step", metavar="NAME", help="For this step alone; of a trace, the events that it subscribes to.")
@click.option(
    "--edit",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Change its data: in your editor, or read it from FILE, - for stdin.",
)
@click.option("--dry-run", is_flag=True, help="Only list the events.")
@click.option("--yes", is_flag=True, help="Don't ask before several events.")
@click.option("--id", "replay_id", metavar="ID", help="Go on with a replay that was interrupted.")
@json_option
@app_options
@click.pass_context
def command(
    ctx: click.Context,
    trace_id: str | None,
    event_id: int | None,
    topic: str | None,
    since: str | None,
    until: str | None,
    step: str | None,
    edit: str | None,
    dry_run: bool,
    yes: bool,
    replay_id: str | None,
    as_json: bool,
) -> None:
    """Publish stored events anew.

    Of a trace the events that began it, one event, or those of a topic in a span of time. Each begins a new trace, whose id is printed; `motia trace show` says
    of which trace it is a replay. The first digits of TRACE_ID are enough.

    \b
    motia replay 4bf92f3577b34da6a3ce929d0e0e4736
    motia replay --event 8841 --step ChargeCard --edit
    motia replay --topic order.created --since 2h --until 1h --dry-run
    """
    from motia_runtime.cli.console import clock, emit_json, say, table
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.reach import ask, reach
    from motia_runtime.cli.trace import check_id
    from motia_runtime.context import new_id
    from motia_runtime.replay import begun

    if sum(one is not None for one in (trace_id, event_id, topic)) != 1:
        raise click.UsageError("name what to replay: a trace by its id, --event ID or --topic NAME")
    if topic is None and (since is not None or until is not None):
        raise click.UsageError("--since and --until go with --topic")
    if edit is not None and event_id is None:
        raise click.UsageError("--edit is for one event: name it with --event")
    if trace_id is not None:
        check_id(trace_id)
    again, replay_id = replay_id is not None, replay_id or new_id()
    try:
        now = begun(replay_id)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param_hint="--id") from error
    begin, end = span(ctx, since, until, now)
    app = reach(ctx)
    names = app.names
    _check_names(names, topic, step)

    from motia_runtime.cli.reach.events import events_of

    async def choose(way: Way) -> Chosen:
        if topic is not None:
            until = now if end is None else end
            return await events_of(way).of_topic(topic, begin, until, replay_id)
        if event_id is not None:
            return await _one(way, names, event_id, step)
        assert trace_id is not None
        return await _of_trace(way, trace_id, step)

    async def go(way: Way) -> tuple[list[Event], list[Replayed]]:
        found = await choose(way)
        chosen = found.events
        if dry_run:
            return chosen, []
        if edit is not None:
            chosen = [_edited(chosen[0], edit)]
        elif found.misfit:
            raise Failure(found.misfit)
        if len(chosen) > 1:
            if not yes:
                click.confirm(f"Replay {len(chosen)} events?", abort=True, err=True)
            say(f"should this be interrupted, give the same command again with --id {replay_id}")
        events = events_of(way)
        return chosen, await events.replay(chosen, replay_id, again=again, step=step, edited=edit is not None)

    chosen, done = ask(app, go)
    if dry_run:
        if as_json:
            emit_json([each.plain() for each in chosen])
            return
        rows = [(str(e.id), clock(e.time), e.topic, e.trace_id, e.data.decode(errors="replace")) for e in chosen]
        table(("EVENT", "STORED", "TOPIC", "TRACE", "DATA"), rows, empty="no events")
        return
    if as_json:
        emit_json({"id": replay_id, "replayed": done})
    else:
        for each in done:
            if each.trace_id is not None:
                click.echo(each.trace_id)
        before = sum(each.trace_id is None for each in done)
        say(f"replayed: {len(done) - before}" + (f", before: {before}" if before else ""))


def _check_names(names: Names, topic: str | None, step: str | None) -> None:
    from motia_runtime.cli.project import known

    known("topic", topic, names.topics)
    known("step", step, names.steps)
    if step is None:
        return
    if names.steps[step].kind != "event" or not names.steps[step].topics:
        raise click.UsageError(f"{step} subscribes to no topic")
    if topic is not None:
        _check_subscribed(names, topic, step)


def _check_subscribed(names: Names, topic: str, step: str) -> None:
    topics = names.steps[step].topics
    if topic not in topics:
        raise click.UsageError(f"{step} does not subscribe to {topic!r}, but to {', '.join(topics)}")


async def _one(way: Way, names: Names, event_id: int, step: str | None) -> Chosen:
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.reach.events import Chosen, events_of

    found = await events_of(way).event(event_id)
    if found is None:
        raise Failure(f"no event {event_id} is kept")
    if step is not None:
        _check_subscribed(names, found.topic, step)
    return Chosen([found], None, "")


async def _of_trace(way: Way, start: str, step: str | None) -> Chosen:
    from motia_runtime.cli.console import printable, say
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.reach.events import events_of
    from motia_runtime.cli.reach.history import history_of, whole_id

    trace_id = await whole_id(history_of(way), start)
    found = await events_of(way).of_trace(trace_id, step)
    by = found.begun_by
    if by is not None and step is None:
        what = f"the request {by.method} {by.path}" if by.type == "api" else "a tick"
        say(
            printable(
                f"it began with {what} to {by.step}, which is not stored: what is replayed are the events it emitted"
            )
        )
    if not found.events:
        raise Failure(f"no event of trace {trace_id} is kept that " + (f"{step} subscribes to" if step else "began it"))
    return found


def _edited(old: Event, edit: str) -> Event:
    import msgspec

    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.jsonarg import read_json

    if edit == "":
        try:
            shown = msgspec.json.format(old.data, indent=2).decode()
        except msgspec.DecodeError:
            shown = old.data.decode(errors="replace")
        text = click.edit(shown, extension=".json")
        if text is None:
            raise Failure("nothing was saved, so nothing is replayed")
    else:
        text = "-" if edit == "-" else Path(edit).read_text()
    return msgspec.structs.replace(old, data=msgspec.json.encode(read_json(text)))
