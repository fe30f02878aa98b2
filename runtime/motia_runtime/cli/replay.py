"""`motia replay`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options
from motia_runtime.cli.when import since_option, span, until_option

if TYPE_CHECKING:
    from motia_runtime.ports import Log
    from motia_runtime.replay import Event, Replayed
    from motia_spec.model import Project

SHOWN = 5  # misfits named


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
@project_options
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
    from motia_runtime.cli.project import load
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
    project = load(ctx)
    _check_names(project, topic, step)

    async def go() -> tuple[list[Event], list[Replayed]]:
        from motia_runtime.cli.broker import open_log
        from motia_runtime.replay import of_topic, replay

        async with open_log(project) as log:
            if topic is not None:
                until = now if end is None else end
                chosen = await of_topic(log, topic, begin, until, replay_id=replay_id)
            elif event_id is not None:
                chosen = [await _one(log, project, event_id, step)]
            else:
                assert trace_id is not None
                chosen = await _of_trace(log, project, trace_id, step)
            if dry_run:
                return chosen, []
            if edit is not None:
                chosen = [_edited(chosen[0], edit)]
            _check_fit(project, chosen)
            if len(chosen) > 1:
                if not yes:
                    click.confirm(f"Replay {len(chosen)} events?", abort=True, err=True)
                say(f"should this be interrupted, give the same command again with --id {replay_id}")
            return chosen, await replay(log, chosen, replay_id, again=again, step=step)

    chosen, done = asyncio.run(go())
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


def _check_names(project: Project, topic: str | None, step: str | None) -> None:
    from motia_runtime.cli.project import known_step, meant
    from motia_spec.model import EventStep

    if topic is not None and topic not in project.topics:
        raise click.UsageError(f"no topic {topic!r}; {meant(topic, project.topics)}")
    if step is None:
        return
    known_step(project, step)
    found = project.steps[step]
    if not isinstance(found, EventStep) or not found.topics:
        raise click.UsageError(f"{step} subscribes to no topic")
    if topic is not None:
        _check_subscribed(project, topic, step)


def _check_subscribed(project: Project, topic: str, step: str) -> None:
    topics = _topics(project, step)
    if topic not in topics:
        raise click.UsageError(f"{step} does not subscribe to {topic!r}, but to {', '.join(topics)}")


def _topics(project: Project, step: str) -> list[str]:
    from motia_spec.model import EventStep

    found = project.steps[step]
    assert isinstance(found, EventStep)
    return sorted(found.topics)


async def _one(log: Log, project: Project, event_id: int, step: str | None) -> Event:
    from motia_runtime.cli.errors import Failure
    from motia_runtime.replay import event

    found = await event(log, event_id)
    if found is None:
        raise Failure(f"no event {event_id} is kept")
    if step is not None:
        _check_subscribed(project, found.topic, step)
    return found


async def _of_trace(log: Log, project: Project, start: str, step: str | None) -> list[Event]:
    from motia_runtime.cli.console import printable, say
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.filters import whole_id
    from motia_runtime.replay import of_trace

    trace_id = await whole_id(project, log, start)
    found = await of_trace(log, trace_id, None if step is None else _topics(project, step))
    by = found.begun_by
    if by is not None and step is None:
        what = f"the request {by.trigger.method} {by.trigger.path}" if by.trigger.type == "api" else "a tick"
        say(
            printable(
                f"it began with {what} to {by.step}, which is not stored: what is replayed are the events it emitted"
            )
        )
    if not found.events:
        raise Failure(f"no event of trace {trace_id} is kept that " + (f"{step} subscribes to" if step else "began it"))
    return found.events


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


def _check_fit(project: Project, events: list[Event]) -> None:
    """Failure when any does not fit its topic as it is now: then nothing is replayed."""
    from motia_runtime.cli.broker import types
    from motia_runtime.cli.errors import Failure
    from motia_runtime.handler import ValidationFailed
    from motia_runtime.runlog import in_words

    known = types(project)
    codecs = {name: known.codec(topic.schema) for name, topic in project.topics.items()}
    wrong: list[str] = []
    for each in events:
        if each.topic not in codecs:
            wrong.append(f"event {each.id}: the spec has no topic {each.topic!r} any more")
            continue
        try:
            codecs[each.topic].decode(each.data)
        except ValidationFailed as problem:
            wrong.append(f"event {each.id} ({each.topic}): {in_words(problem)}")
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Failure(f"nothing is replayed, {len(wrong)} of {len(events)} can't be: {'; '.join(wrong[:SHOWN])}{more}")
