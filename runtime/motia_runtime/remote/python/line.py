"""What stands between a handler's `ctx` (`isolation.remote`) and the engine: requests over NATS, effects kept for the next one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from motia_runtime.handler import Fault, InvalidKey
from motia_runtime.isolation import wire as shapes
from motia_runtime.isolation.failures import refused
from motia_runtime.naming import check_group, check_key
from motia_runtime.ports import LogUnavailable
from motia_runtime.remote.attempt import VALUES
from motia_runtime.remote.messenger import Messenger
from motia_runtime.remote.pieces import cut, limit
from motia_runtime.remote.wire import (
    PIECE,
    Alive,
    Ask,
    Claim,
    Done,
    Effect,
    Failed,
    Refusal,
    Refused,
    Reply,
    Say,
    dump,
    load_from_engine,
)

SMALL = 64 * 1024  # bytes of an effect that surely fits
FEW = 500  # effects of a run that are surely not too many

_plain = msgspec.json.Decoder().decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_named_raws = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Head = Mapping[str, str] | None


class Line:
    """Of one run. `isolation.remote.Line`: any thread may ask. The messenger lives on `loop`."""

    def __init__(
        self,
        messenger: Messenger,
        loop: asyncio.AbstractEventLoop,
        to: str,
        *,
        emits: frozenset[str] = frozenset(),
        timeout: float,
    ) -> None:
        self._messenger = messenger
        self._loop = loop
        self._to = to
        self._emits = emits
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._effects: list[Effect] = []
        self._count = 0  # of effects that were kept for the next message
        self._reading: set[asyncio.Task[None]] = set()

    def ask(self, run: int, what: str, *args: Any) -> Future[Any]:
        answer = Future[Any]()
        effect = _effect(what, args)
        if self._count < FEW and self._is_fine(what, args):
            self._count += 1
            self._effects.append(effect)
            answer.set_result(None)
        else:
            ask = Ask(id=next(self._ids), what=what, args=effect[1:], effects=self.effects())
            self._loop.call_soon_threadsafe(self._ask, ask, answer)
        return answer

    def _is_fine(self, what: str, args: tuple[Any, ...]) -> bool:
        """Whether it is an effect that the engine will not refuse: it needs no answer, and goes with the next message. Its value has been validated."""
        if what == "set":
            group, key, data, ttl = args
            return len(data) <= SMALL and (ttl is None or ttl >= 1) and _is_key(group, key)
        if what == "emit":
            topic, data, delay, at, key = args
            return topic in self._emits and len(data) <= SMALL and delay is None and at is None and key is None
        return False

    def say(self, line: shapes.Say) -> None:
        self._loop.call_soon_threadsafe(self.send, Say(level=line.level, message=line.message, fields=line.fields))

    def effects(self) -> list[Effect]:
        """Those that no message has carried yet."""
        effects, self._effects = self._effects, []
        return effects

    # -- on the messenger's loop

    def send(self, message: Say | Alive | Done | Failed | Refused) -> None:
        def last(data: bytes, head: Head) -> None:
            self._messenger.send(self._to, data, head=head)

        self._post(dump(message), last)

    async def fetch(self, claim: Claim) -> bytes:
        """The message that a claim stands for. Raises `LogUnavailable`."""
        pieces = []
        for number in range(claim.pieces):
            args = [msgspec.Raw(dump(claim.claim)), msgspec.Raw(dump(number))]
            pieces.append(await self._asked(dump(Ask(what="piece", args=args))))
        return b"".join(pieces)

    def _post(self, data: bytes, last: Callable[[bytes, Head], None]) -> None:
        """Send in pieces what is too large; `last` sends the last one, or the whole."""
        room = limit(self._messenger.max_payload)
        if len(data) <= room:
            last(data, None)
            return
        pieces = cut(data, room)
        for number, piece in enumerate(pieces[:-1], 1):
            self._messenger.send(self._to, piece, head={PIECE: f"{number}/{len(pieces)}"})
        last(pieces[-1], {PIECE: f"{len(pieces)}/{len(pieces)}"})

    async def _asked(self, data: bytes) -> bytes:
        answer: asyncio.Future[bytes] = self._loop.create_future()

        def answered(status: int, data: bytes) -> None:
            if answer.done():
                return
            if status:
                answer.set_exception(LogUnavailable("the engine of this run did not answer"))
            else:
                answer.set_result(data)

        def last(data: bytes, head: Head) -> None:
            self._messenger.ask(self._to, data, answered, timeout=self._timeout, head=head)

        self._post(data, last)
        return await answer

    def _ask(self, ask: Ask, answer: Future[Any]) -> None:
        task = self._loop.create_task(self._answer(ask, answer))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _answer(self, ask: Ask, answer: Future[Any]) -> None:
        try:
            reply = load_from_engine(await self._asked(dump(ask)))
            if isinstance(reply, Claim):
                reply = load_from_engine(await self.fetch(reply))
            assert isinstance(reply, Reply)
            if reply.refusal is not None:
                raise _refused(reply.refusal, ask.id)
            value = _value(ask.what, reply.value)
        except Exception as problem:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(problem)
        else:
            if answer.set_running_or_notify_cancel():
                answer.set_result(value)


def _is_key(group: Any, key: Any) -> bool:
    try:
        check_group(group)
        check_key(key)
    except InvalidKey:
        return False
    return True


def _effect(what: str, args: tuple[Any, ...]) -> Effect:
    """As it is sent: values of the app's are JSON texts already."""
    values = VALUES.get(what, ())
    sent = [
        msgspec.Raw(arg) if number in values and arg is not None else msgspec.Raw(dump(arg))
        for number, arg in enumerate(args)
    ]
    return [msgspec.Raw(dump(what)), *sent]


def _value(what: str, raw: msgspec.Raw) -> Any:
    """The answer as `isolation.remote` has it: values of the app's are JSON texts."""
    if what in ("get", "stream_get"):
        return _some(raw)
    if what == "items":
        return {key: bytes(one) for key, one in _named_raws(raw).items()}
    if what in ("history", "stream_group"):
        return [bytes(one) for one in _raws(raw)]
    if what == "stream_swap":
        done, now = _raws(raw)
        return _plain(done), _some(now)
    return _plain(raw)


def _some(raw: msgspec.Raw) -> bytes | None:
    data = bytes(raw)
    return None if data == b"null" else data


def _refused(refusal: Refusal, ask: int) -> Exception:
    faults = [Fault(fault.pointer, fault.keyword, fault.detail) for fault in refusal.faults]
    return refused(shapes.Refusal(refusal.kind, refusal.message, refusal.what, faults), ask)
