"""Makes the broker have what the spec needs: `plan` says what differs, `reconcile` changes it. Both give the same list."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from motia_runtime.naming import INGRESS, change_durable, durable
from motia_runtime.nats.appends import NOT_LEADER, Fault
from motia_runtime.nats.damage import lost_bytes
from motia_runtime.nats.durables import NOT_FOUND, listed
from motia_runtime.nats.embedded import SPARE
from motia_runtime.nats.link import ELECTION, LOG, Link, problem
from motia_runtime.nats.positions import kept_positions, place
from motia_runtime.nats.reads import Reader, patiently
from motia_runtime.nats.streams import RUN_BYTES, Config, Layout, desired
from motia_runtime.ports import LogUnavailable
from motia_runtime.revisions import revisions
from motia_spec.model import CronStep, EventStep, NoopStep, Project

FIXED = ("storage", "retention", "persist_mode")  # the server can't change these in place
NO_ROOM = (10023, 10047)  # insufficient resources; insufficient storage
DURATIONS = ("max_age", "duplicate_window", "subject_delete_marker_ttl")


class Difference(msgspec.Struct, frozen=True):
    """One thing that the broker has otherwise than the spec wants it. Reads as a line of `motia plan`."""

    action: Literal["create", "update", "remove", "blocked"]
    what: str  # "stream shop_events", "consumer ScreenOrder"
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.what}" + (f": {self.detail}" if self.detail else "")


class ReconcileFailed(RuntimeError):
    """The broker could not be made to fit the spec. What was found, and what to do, is in the message."""


class _Reply(msgspec.Struct):
    error: Fault | None = None
    config: dict[str, Any] = {}


def durables(project: Project) -> set[str]:
    """The consumers this spec needs, as STREAM.NAME: one of each event and cron step and of each noop step with tasks, one for each kind of changes that a step runs on, and
    one for what comes from outside. A step that changes its
    kind changes its stream."""
    layout = Layout(project.nats.prefix)
    outside = (
        {f"{layout.stream('in')}.{INGRESS}"} if any(t.external == "in" for t in project.topics.values()) else set()
    )
    changes = {
        f"{layout.stream(part)}.{change_durable(step.name, part)}"
        for step in project.steps.values()
        if isinstance(step, EventStep)
        for part, kind in (("st", "state"), ("rt", "stream"))
        if any(s.kind == kind for s in step.subscribes)
    }
    return (
        outside
        | changes
        | {
            f"{layout.stream('cron' if isinstance(step, CronStep) else 'ev')}.{durable(step.name)}"
            for step in project.steps.values()
            if isinstance(step, EventStep | CronStep) or (isinstance(step, NoopStep) and step.opens_tasks)
        }
    )


async def plan(
    link: Link, project: Project, *, embedded: bool = False, keep: Collection[str] | None = None
) -> list[Difference]:
    """What `reconcile` would do. Changes nothing. Raises `LogUnavailable`."""
    return [difference for difference, _ in await _compare(link, project, embedded, keep)]


async def reconcile(
    link: Link, project: Project, *, store: Path | None = None, keep: Collection[str] | None = None
) -> list[Difference]:
    """Create, update and remove until the broker fits the spec, and give what was done.

    `store`: the embedded server's folder, synced to disk when something was created there, so that a new stream survives a crash of the
    machine; there is only one replica then. `keep`: the consumers that stay, `durables(project)` when not given.
    Raises `ReconcileFailed` when something can't be changed in place or the server refuses, `LogUnavailable`."""
    todo = await _compare(link, project, store is not None, keep)
    blocked = [str(difference) for difference, _ in todo if difference.action == "blocked"]
    if blocked:
        raise ReconcileFailed(
            "; ".join(blocked) + ". Set another nats.prefix, or remove the stream with its data: `nats stream rm`"
        )
    for difference, requests in todo:
        if difference.action == "create" and difference.detail:
            LOG.error("%s", difference)
        for path, body in requests:
            reply = await _api(link, path, body)
            if reply.error and reply.error.err_code in NO_ROOM:
                raise ReconcileFailed(f"{difference}: {_no_room(body, store)}")
            if reply.error and reply.error.err_code not in NOT_FOUND:
                raise ReconcileFailed(f"{difference}: the server refuses: {reply.error.description}")
    if store is not None and any(difference.action == "create" for difference, _ in todo):
        await asyncio.to_thread(sync_tree, store)
    if store is not None:
        for want in desired(project.nats, history=1, items=1, replicas=1):
            if lost := await lost_bytes(link, want["name"]):
                LOG.error(
                    "stream %s: %d bytes of its records were damaged when nats-server started, and are left out: see `motia doctor`",
                    want["name"],
                    lost,
                )
    return [difference for difference, _ in todo]


Request = tuple[str, Config]  # path of the JetStream API


async def _compare(
    link: Link, project: Project, embedded: bool, keep: Collection[str] | None
) -> list[tuple[Difference, tuple[Request, ...]]]:
    kept = revisions(project)
    replicas = 1 if embedded else project.nats.replicas
    layout = Layout(project.nats.prefix)
    found: list[tuple[Difference, tuple[Request, ...]]] = []
    lost: list[tuple[str, Config]] = []
    existing: set[str] = set()
    for want in desired(project.nats, history=kept.state, items=kept.items, replicas=replicas):
        name = want["name"]
        reply = await _api(link, f"STREAM.INFO.{name}", {})
        if reply.error:
            if reply.error.err_code not in NOT_FOUND:
                raise ReconcileFailed(f"stream {name}: {reply.error.description}")
            lost.append((name, want))
            continue
        existing.add(name)
        changes = _changes(reply.config, want)
        if changes:
            fixed = [change for field, change in changes if field in FIXED]
            action: Literal["blocked", "update"] = "blocked" if fixed else "update"
            detail = ", ".join(fixed or [change for _, change in changes])
            config = {**reply.config, **want}
            found.append((Difference(action, f"stream {name}", detail), ((f"STREAM.UPDATE.{name}", config),)))
    rt = layout.stream("rt")
    positions = await kept_positions(Reader(link, layout, leader=False)) if rt in existing else {}
    for name, want in lost:
        come = max((position.ended for (stream, _), position in positions.items() if stream == name), default=0)
        detail = f"it was there before, with {come} records or more, and the broker has lost it" if come else ""
        found.append((Difference("create", f"stream {name}", detail), ((f"STREAM.CREATE.{name}", want),)))
    wanted = durables(project) if keep is None else keep
    for stream in layout.consumed:
        if stream in existing:
            infos, unreachable = await listed(link, stream, project.nats.prefix)
            for info in infos:
                # one that somebody consumes from belongs to another version of the app, which runs beside this one
                if f"{stream}.{info.name}" not in wanted and not info.num_waiting:
                    # first where it has come: as a new one, should a step need it again, it begins with what is new
                    forget: Request = (f"STREAM.PURGE.{rt}", {"filter": layout.wire(place(stream, info.name))[1]})
                    remove: Request = (f"CONSUMER.DELETE.{stream}.{info.name}", {})
                    why = f"no step of stream {stream} needs it"
                    found.append((Difference("remove", f"consumer {info.name}", why), (forget, remove)))
            there = {*(info.name for info in infos), *unreachable}
            for of, name in positions:
                if of == stream and name not in there and f"{stream}.{name}" not in wanted:
                    forget = (f"STREAM.PURGE.{rt}", {"filter": layout.wire(place(stream, name))[1]})
                    why = f"the broker has lost it, and no step of stream {stream} needs it"
                    found.append((Difference("remove", f"consumer {name}", why), (forget,)))
    return found


def _changes(have: Config, want: Config) -> list[tuple[str, str]]:
    changes = []
    for field, value in want.items():
        now = have.get(field)
        if field == "metadata":
            now = {key: text for key, text in (now or {}).items() if key in value}
        if (now or None) != (value or None):
            changes.append((field, f"{field} {_shown(field, now)} -> {_shown(field, value)}"))
    return changes


def _shown(field: str, value: Any) -> str:
    if field in DURATIONS:
        return f"{(value or 0) / 1e9:g}s"
    return "none" if value is None else str(value)


async def _api(link: Link, subject: str, body: Config) -> _Reply:
    return await patiently(partial(_ask, link, subject, body), ELECTION)


async def _ask(link: Link, subject: str, body: Config) -> _Reply:
    status, _, data = await link.request(f"$JS.API.{subject}", msgspec.json.encode(body) if body else b"")
    if status:
        raise problem(status)
    reply = msgspec.json.decode(data, type=_Reply)
    if reply.error is not None and reply.error.err_code in NOT_LEADER:
        raise LogUnavailable(f"the NATS cluster has no leader: {reply.error.description}")
    return reply


def _no_room(config: Config, store: Path | None) -> str:
    needs = f"it reserves {max(0, config.get('max_bytes', 0)) >> 20} MiB, and nats-server has less than that"
    if store is None:
        return (
            f"{needs}: raise max_file_store of jetstream in the configuration of nats-server, or make room on its disk"
        )
    free = shutil.disk_usage(store).free >> 20
    return (
        f"{needs}: the disk of {store} has {free} MiB free, and {SPARE >> 20} MiB of a disk are left to others. "
        f"Have {(SPARE + RUN_BYTES) >> 20} MiB free there, or set nats.url or NATS_URL to a nats-server elsewhere"
    )


def sync_tree(folder: Path) -> None:
    """Have every file and folder below on disk. The server itself syncs new streams within two minutes at best."""
    for path, _, files in os.walk(folder):
        for name in (*files, "."):
            try:
                fd = os.open(os.path.join(path, name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # renamed meanwhile
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
