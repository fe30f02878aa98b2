"""`ports.Feed` on NATS: the bucket of items republishes each record as it was stored, and events are plain messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from motia_runtime.naming import check_pattern, check_subject
from motia_runtime.nats.appends import MARKER, PAUSE, own_head, own_id
from motia_runtime.nats.link import PATIENCE, Link, problem
from motia_runtime.nats.reads import NEWEST, patiently, seconds
from motia_runtime.nats.streams import Layout
from motia_runtime.ports import LogUnavailable, Position, Record, Snapshot


class _State(msgspec.Struct):
    last_seq: int = 0
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    ts: str = ""
    state: _State = msgspec.field(default_factory=_State)
    total: int = 0
    error: dict[str, Any] | None = None


class NatsFeed:
    """See the module. Lives as long as the link. It needs no consumer, so that it costs the broker one subscription for each process."""

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._stream = layout.stream("rt")
        self._back = layout.back
        self._wire = layout.wire
        self._stored = f"{layout.prefix}.rt."
        self._told = f"{layout.prefix}.live."

    async def position(self) -> Position:
        return _position(await patiently(lambda: self._info({})))

    async def snapshot(self, pattern: str) -> Snapshot:
        _, wire = self._wire(check_pattern(pattern))
        return await patiently(lambda: self._snapshot(wire))

    def follow(self, seen: Callable[[Record | None], None]) -> Callable[[], None]:
        newest = 0

        def receive(subject: str, _reply: str, status: int, head: dict[str, str], data: bytes) -> None:
            nonlocal newest
            if status or "Nats-Sequence" not in head:
                return  # published by somebody, not republished
            seq = int(head["Nats-Sequence"])
            if newest and seq != newest + 1:
                seen(None)  # a route of the cluster has lost some
            newest = seq
            rest = subject[len(self._stored) :]
            headers = own_head(head, f"rt.{rest}")
            if MARKER in head:
                headers[MARKER] = head[MARKER]
            seen(
                Record(
                    subject=f"rt.{rest}",
                    seq=seq,
                    data=data,
                    headers=headers,
                    time=seconds(head["Nats-Time-Stamp"]),
                    id=own_id(head),
                )
            )

        def missed() -> None:
            seen(None)

        stop = self._listen(f"{self._stored}>", receive)
        self._link.on_up.append(missed)

        def leave() -> None:
            stop()
            self._link.on_up.remove(missed)

        return leave

    def tell(self, subject: str, data: bytes) -> None:
        if not check_subject(subject).startswith("live."):
            raise ValueError(f"only events of streams are told and not stored: not {subject!r}")
        self._link.publish(self._told + subject[len("live.") :], data, droppable=True)

    def hear(self, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        def receive(subject: str, _reply: str, status: int, _head: dict[str, str], data: bytes) -> None:
            if not status:
                heard(f"live.{subject[len(self._told) :]}", data)

        return self._listen(f"{self._told}>", receive)

    def _listen(self, wire: str, receive: Callable[[str, str, int, dict[str, str], bytes], None]) -> Callable[[], None]:
        sid = self._link.listen(wire, receive)

        def stop() -> None:
            self._link.unlisten(sid)
            self._link.forget(sid)

        return stop

    # -- reading --

    async def _snapshot(self, wire: str) -> Snapshot:
        """The leader says what there is; any server may say it in full, once it has come as far as the leader had."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        info = await self._info({})
        at = _position(info)
        while True:
            found = await self._newest([wire], at.seq)
            if found is None and loop.time() < until:
                await asyncio.sleep(PAUSE)
                continue
            if found is None:
                raise LogUnavailable(f"{self._stream}: no server of the cluster has come as far as its leader")
            records, whole = found
            return Snapshot(records if whole else await self._in_pages(wire, at.seq), at)

    async def _in_pages(self, wire: str, seq: int) -> list[Record]:
        """More subjects than one answer holds."""
        subjects: list[str] = []
        while True:
            info = await self._info({"subjects_filter": wire, "offset": len(subjects)})
            page = list(info.state.subjects or ())
            subjects += page
            if not page or len(subjects) >= info.total:
                break
        subjects.sort()
        records: list[Record] = []
        for start in range(0, len(subjects), NEWEST):
            found = await self._newest(subjects[start : start + NEWEST], seq)
            if found is None:
                raise LogUnavailable(f"{self._stream}: a server of the cluster lags behind its leader")
            records += found[0]
        return records

    async def _newest(self, subjects: list[str], seq: int) -> tuple[list[Record], bool] | None:
        """(records, whether those are all). None: from a server that has not come as far as `seq`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, dict[str, str]]] = loop.create_future()
        records: list[Record] = []

        def answer(status: int, head: dict[str, str], data: bytes) -> bool:
            if status == 0:
                if MARKER not in head:
                    records.append(self._record(head, data))
                return False
            if not future.done():
                future.set_result((status, head))
            return True

        body = msgspec.json.encode({"multi_last": subjects})
        self._link.ask(f"$JS.API.DIRECT.GET.{self._stream}", body, answer, many=True)
        status, head = await future
        if status == 413:
            return [], False
        if status == 404:  # nothing fits; or not yet, on a server that lags behind, so the leader is asked
            info = await self._info({"subjects_filter": subjects[0]})
            return None if info.state.subjects else ([], True)
        if status != 204:
            raise problem(status, self._stream)
        return (records, True) if int(head.get("Nats-UpTo-Sequence", seq)) >= seq else None

    async def _info(self, body: dict[str, Any]) -> _Info:
        asked = msgspec.json.encode(body) if body else b""
        status, _, data = await self._link.request(f"$JS.API.STREAM.INFO.{self._stream}", asked)
        if status:
            raise problem(status)
        info = msgspec.json.decode(data, type=_Info)
        if info.error is not None:
            raise LogUnavailable(f"stream {self._stream}: {info.error.get('description')}")
        return info

    def _record(self, head: dict[str, str], data: bytes) -> Record:
        subject = self._back(head["Nats-Subject"])
        return Record(
            subject=subject,
            seq=int(head["Nats-Sequence"]),
            data=data,
            headers=own_head(head, subject),
            time=seconds(head["Nats-Time-Stamp"]),
            id=own_id(head),
        )


def _position(info: _Info) -> Position:
    return Position(info.state.last_seq, seconds(info.ts))
