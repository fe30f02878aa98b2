"""Durable consumers at the broker: made, read and paused. They are ours when their metadata says so; others are none of our business."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.nats.appends import Fault
from motia_runtime.nats.damage import set_aside
from motia_runtime.nats.link import LOG, Link, problem
from motia_runtime.nats.positions import Position, Positions
from motia_runtime.nats.reads import Reader, patiently, seconds
from motia_runtime.nats.streams import Layout
from motia_runtime.ports import Backlog, Conflict, LogUnavailable

UNREADABLE = "error creating store for consumer"  # what the server says when a folder of its name is there and can't be read: the code is that of any refusal
NOT_FOUND = frozenset({10059, 10014})  # stream, consumer
IN_FLIGHT = 65_536  # un-ended deliveries of a consumer over all instances; those given back with a delay count
BLINK = 0.03  # seconds of pause by which one is ended
GROUP = "one"  # of the requests of a consumer that one instance has alone
PINNED: dict[str, Any] = {
    "priority_groups": [GROUP],
    "priority_policy": "pinned_client",
    "priority_timeout": int(120e9),  # ns without a request; `pulls.EXPIRES` is below
}
CHANGING = ("filter_subjects", "ack_wait", "max_deliver", "max_ack_pending", *PINNED)


class _Place(msgspec.Struct):
    stream_seq: int = 0


class ConsumerInfo(msgspec.Struct):
    """As in the JetStream API."""

    name: str = ""
    error: Fault | None = None
    config: dict[str, Any] = {}
    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0
    num_waiting: int = 0  # requests for records
    pause_remaining: int = 0  # nanoseconds
    delivered: _Place = msgspec.field(default_factory=_Place)
    ack_floor: _Place = msgspec.field(default_factory=_Place)

    @property
    def backlog(self) -> Backlog:
        delivered = self.delivered.stream_seq
        until = self.config.get("pause_until")
        paused = seconds(until) if until else 0.0
        return Backlog(
            self.num_pending,
            self.num_ack_pending,
            delivered,
            # the floor only moves when something is ended, and what a filter leaves out never is
            self.ack_floor.stream_seq if self.num_ack_pending else delivered,
            paused if paused > time.time() else 0.0,
            self.num_redelivered,
        )


class _Page(msgspec.Struct):
    error: Fault | None = None
    consumers: list[ConsumerInfo] | None = None
    missing: list[str] | None = None
    total: int = 0


class _Unreadable(LogUnavailable):
    pass


class Durables:
    """The durable consumers of one app. Lives as long as the link."""

    def __init__(self, link: Link, layout: Layout, reader: Reader, positions: Positions, store: Path | None) -> None:
        self._link = link
        self._layout = layout
        self._reader = reader
        self._positions = positions
        self._store = store
        self._streams: dict[str, str] = {}  # of those made here: name -> stream

    async def make(
        self, stream: str, name: str, filters: list[str], *, ack_wait: float, exclusive: bool, alone: bool
    ) -> None:
        """See that it is there and as wanted; a pause and whatever a person set stay. One that the broker has lost begins where it is known to have come,
        any other with what is new. Raises `LogUnavailable`."""
        config: dict[str, Any] = {
            "durable_name": name,
            "filter_subjects": filters,
            "deliver_policy": "new",
            "ack_policy": "explicit",
            "ack_wait": int(ack_wait * 1e9),
            "max_deliver": -1,
            "max_ack_pending": 1 if exclusive else IN_FLIGHT,
            "metadata": {"motia": self._layout.prefix},
            **(PINNED if alone else dict.fromkeys(PINNED)),
        }
        info, position = await asyncio.gather(self._info(stream, name), self._positions.of(stream, name))
        lost = info is None and position is not None
        if info is None and position is not None:
            position = await self._within(stream, name, position)
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": position.ended + 1}
        elif info is not None:
            have = info.config
            now = {**have, "filter_subjects": sorted(have.get("filter_subjects") or [have.get("filter_subject", "")])}
            if all(now.get(field) == config[field] for field in CHANGING):
                await self._made(stream, info, known=position is not None)
                return
            config = {**now, **{field: config[field] for field in CHANGING}}
            config.pop("filter_subject", None)
        given = {
            field: value for field, value in config.items() if value is not None
        }  # null is no priority policy to NATS
        body = msgspec.json.encode({"stream_name": stream, "config": given})
        made = await self._create(stream, name, body, None if position is None else position.ended)
        await self._made(stream, made, known=position is not None)
        if lost:
            LOG.warning(
                "the broker has lost the consumer %s of stream %s: it begins again behind %d, the last record that is known to have ended. "
                "Handlers may be given later ones again; the effects that they had stay as they are. A pause of the step is gone",
                name,
                stream,
                made.ack_floor.stream_seq,
            )

    async def _within(self, stream: str, name: str, position: Position) -> Position:
        """That of a lost consumer; the end of the stream when that has lost its own; the beginning of one that has been made since."""
        made, newest = await self._reader.since_when(stream)
        ended = 0 if made > position.time else min(position.ended, newest)
        if ended < position.ended:
            try:
                await self._positions.put(stream, name, ended, position.revision)
            except Conflict:
                raise LogUnavailable(
                    f"consumer {name}: the broker has lost it, and another instance makes it again"
                ) from None
        return position._replace(ended=ended)

    async def _create(self, stream: str, name: str, body: bytes, ended: int | None) -> ConsumerInfo:
        path = f"CONSUMER.CREATE.{stream}.{name}"
        try:
            made = await self._call(path, body, name)
        except _Unreadable as problem:
            if ended is None or self._store is None:
                then = "" if ended is None else f": then it begins again behind {ended}"
                raise LogUnavailable(
                    f"{problem}: nats-server can't read what it has of it. Remove the folder obs/{name} of the stream {stream} from its store{then}"
                ) from None
            await asyncio.to_thread(set_aside, self._store, stream, name)
            made = await self._call(path, body, name)
        assert made is not None  # or it would have raised
        return made

    async def _made(self, stream: str, info: ConsumerInfo, *, known: bool) -> None:
        if not known:
            with contextlib.suppress(Conflict):  # another instance was first
                await self._positions.put(stream, info.name, info.backlog.ended)
        self._streams[info.name] = stream

    async def unpin(self, stream: str, name: str) -> None:
        """Take the consumer away from whoever is the one that gets its deliveries. Raises `LogUnavailable`."""
        await self._call(f"CONSUMER.UNPIN.{stream}.{name}", msgspec.json.encode({"group": GROUP}), name)

    async def backlog(self, name: str) -> Backlog | None:
        """None: there is no such consumer."""
        for stream in self._where(name):
            info = await patiently(partial(self._info, stream, name))
            if info is not None:
                return info.backlog
        return None

    async def backlogs(self, *, keep: bool = False) -> dict[str, Backlog]:
        """Of all of them. `keep` what has ended, should the broker lose one. Raises `LogUnavailable` also when the broker can't tell of each: half an answer
        would read as none."""
        positions = (
            await self._positions.all() if keep else {}
        )  # before, so that none is put back that is removed meanwhile
        found: dict[tuple[str, str], Backlog] = {}
        for stream in self._layout.consumed:
            infos, missing = await patiently(partial(listed, self._link, stream, self._layout.prefix))
            if missing:
                raise LogUnavailable(f"stream {stream}: the broker can't reach the consumers {', '.join(missing)}")
            found |= {(stream, info.name): info.backlog for info in infos}
        for (stream, name), position in positions.items():
            backlog = found.get((stream, name))
            if backlog is None:
                raise LogUnavailable(
                    f"stream {stream}: the broker has lost the consumer {name}, and no instance has made it again yet"
                )
            await self._positions.advance(stream, name, backlog.ended, position)
        return {name: backlog for (_, name), backlog in found.items()}

    async def pause(self, name: str, until: float) -> bool:
        """Until then, in seconds since the epoch, nothing more is delivered. False: there is no such consumer."""
        for stream in self._where(name):
            now = time.time()
            path = f"CONSUMER.PAUSE.{stream}.{name}"
            if until > now:
                done = await self._pause(path, until, name)
            else:
                # one whose pause is taken away wakes with its next heartbeat, seconds later; one whose pause runs out, at once
                done = await self._pause(path, now + BLINK, name)
                if done is not None and done.pause_remaining > 1e9:  # the broker's clock is behind
                    done = await self._pause(path, 0.0, name)
                else:
                    await asyncio.sleep(BLINK)
            if done is not None:
                return True
        return False

    async def _pause(self, path: str, until: float, name: str) -> ConsumerInfo | None:
        body = msgspec.json.encode({"pause_until": datetime.fromtimestamp(until, UTC).isoformat()})
        return await patiently(partial(self._call, path, body, name))

    def _where(self, name: str) -> list[str]:
        known = self._streams.get(name)
        return [known] if known else self._layout.consumed

    async def _info(self, stream: str, name: str) -> ConsumerInfo | None:
        return await self._call(f"CONSUMER.INFO.{stream}.{name}", b"", name)

    async def _call(self, path: str, body: bytes, name: str) -> ConsumerInfo | None:
        """None: the consumer is not there, nor perhaps its stream."""
        status, _, data = await self._link.request(f"$JS.API.{path}", body)
        if status:
            raise problem(status, f"consumer {name}")
        info = msgspec.json.decode(data, type=ConsumerInfo)
        if info.error is None:
            return info
        if info.error.err_code in NOT_FOUND and not path.startswith("CONSUMER.CREATE."):
            return None
        kind = _Unreadable if info.error.description.startswith(UNREADABLE) else LogUnavailable
        raise kind(f"consumer {name}: {info.error.description}")


async def listed(link: Link, stream: str, prefix: str) -> tuple[list[ConsumerInfo], list[str]]:
    """The consumers of a stream that we made for this prefix, and the names of those whose state the broker can't tell."""
    found: list[ConsumerInfo] = []
    missing: list[str] = []
    offset = 0
    while True:
        status, _, data = await link.request(f"$JS.API.CONSUMER.LIST.{stream}", b'{"offset":%d}' % offset)
        if status:
            raise problem(status, f"stream {stream}")
        page = msgspec.json.decode(data, type=_Page)
        if page.error is not None and page.error.err_code not in NOT_FOUND:
            raise LogUnavailable(f"stream {stream}: {page.error.description}")
        infos = page.consumers or []
        found += [info for info in infos if (info.config.get("metadata") or {}).get("motia") == prefix]
        missing += page.missing or []
        offset += len(infos)
        if not infos or offset >= page.total:
            return found, missing
