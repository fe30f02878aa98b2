"""`motia doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options

if TYPE_CHECKING:
    from motia_runtime.broker import Broker
    from motia_runtime.nats.damage import Examined
    from motia_spec.model import Project

SHOWN = 5  # stretches of unreadable records that are named

Says = Literal["ok", "look", "bad"]


class Finding(msgspec.Struct, frozen=True):
    """One line. `look`: nothing is broken, and somebody should know."""

    says: Says
    about: str
    text: str


@click.command("doctor")
@json_option
@project_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Examine the broker and all that it stores, from end to end.

    Reads each record of each stream of the app and changes nothing; beside a running app it takes its share of the broker. Exits with 1 when
    something is bad. Damage that gives a consumer another position can't be seen: NATS keeps no checksum of them.
    """
    from motia_runtime.cli.console import emit_json, paint
    from motia_runtime.cli.project import load

    project = load(ctx)
    colors = {"ok": "32", "look": "33", "bad": "31"}

    async def examine() -> list[Finding]:
        found = []
        async for finding in _findings(project):
            found.append(finding)
            if not as_json:
                says = paint(f"{finding.says:<5}", colors[finding.says])
                click.echo(f"{says} {finding.about:<24} {finding.text}", color=True)
        return found

    found = asyncio.run(examine())
    if as_json:
        emit_json(found)
    ctx.exit(1 if any(finding.says == "bad" for finding in found) else 0)


async def _findings(project: Project) -> AsyncIterator[Finding]:
    from motia_runtime.broker import join_broker
    from motia_runtime.nats.binary import NoServer
    from motia_runtime.nats.connect import Unsupported, version_of
    from motia_runtime.nats.damage import examine
    from motia_runtime.nats.embedded import StartFailed, StoreBusy
    from motia_runtime.nats.reconcile import plan
    from motia_runtime.nats.streams import BUCKETS, PARTS, Layout
    from motia_runtime.ports import LogUnavailable

    try:
        async with join_broker(project) as broker:
            shown = broker.shown + (" (embedded)" if broker.embedded else "")
            yield Finding("ok", "broker", f"{shown}, nats-server {version_of(broker.link)}")
            for finding in _room(broker):
                yield finding
            differences = await plan(broker.link, project, embedded=broker.embedded)
            missing = {each.what.removeprefix("stream ") for each in differences if each.action == "create"}
            for difference in differences:
                yield Finding("bad" if difference.action == "blocked" else "look", "spec and broker", str(difference))
            if not differences:
                yield Finding("ok", "spec and broker", "the broker has what the spec needs")
            layout = Layout(project.nats.prefix)
            for stream, part in {layout.stream(part): part for part in [*PARTS, *BUCKETS]}.items():
                if stream not in missing:
                    yield _seen(await examine(broker.link, layout, part))
            if layout.stream("dlq") not in missing and (letters := await broker.log.counts("dlq.>")):
                waiting = sum(letters.values())
                yield Finding("look", "dead letters", f"{waiting} wait for somebody: `motia dlq ls`")
    except (LogUnavailable, NoServer, StartFailed, StoreBusy, Unsupported) as error:
        yield Finding("bad", "broker", str(error))


def _room(broker: Broker) -> Iterator[Finding]:
    import shutil

    from motia_runtime.nats.embedded import SPARE

    if broker.store is not None:
        free = shutil.disk_usage(broker.store).free
        says: Says = "bad" if free < SPARE else "ok"
        yield Finding(says, "disk", f"{free >> 20} MiB free at {broker.store}; {SPARE >> 20} MiB are left to others")


def _seen(stream: Examined) -> Finding:
    if stream.whole:
        return Finding("ok", f"stream {stream.stream}", f"{stream.records} records, each can be read")
    faults = []
    if stream.unreadable:
        count = sum(last - first + 1 for first, last in stream.unreadable)
        where = ", ".join(_stretch(*each) for each in stream.unreadable[:SHOWN])
        more = f" and {len(stream.unreadable) - SHOWN} more stretches" if len(stream.unreadable) > SHOWN else ""
        faults.append(f"{count} of {stream.records} records can't be read: {where}{more}")
    if stream.lost_bytes:
        faults.append(f"{stream.lost_bytes} bytes of records were damaged when nats-server started, and are left out")
    return Finding("bad", f"stream {stream.stream}", "; ".join(faults) + ". Restore a backup of the store")


def _stretch(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
