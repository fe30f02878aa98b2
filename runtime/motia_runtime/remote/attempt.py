"""One try of a run at a worker: its requests done on the context of the attempt, its words taken, until it ends in some way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from motia_runtime.context import Context
from motia_runtime.handler import Problem
from motia_runtime.isolation import wire as shapes
from motia_runtime.isolation.failures import raised
from motia_runtime.isolation.requests import Requests
from motia_runtime.remote.pieces import Pieces, cut
from motia_runtime.remote.wire import (
    Ask,
    Claim,
    Done,
    Failed,
    Refusal,
    Refused,
    Reply,
    Say,
    Wrong,
    dump,
    load_from_worker,
)

VALUES = {
    "emit": (1,),
    "set": (2,),
    "stream_set": (3,),
    "stream_swap": (3, 4),
    "stream_send": (4,),
}  # which arguments of a request are values of the app's, kept as JSON texts
LONGEST_NAME = 100  # characters of the name of an error's class, of those that are kept

_plain = msgspec.json.Decoder().decode

Send = Callable[[str, bytes], None]  # subject, data


class Nonsense(ValueError):
    """A worker sent what is no message of the protocol. The message says what; mend the worker."""


class Try:
    """Lives from the moment the run is sent until it has ended, there or for us. `over` gives a `Done` or a `Refused`, or raises."""

    def __init__(self, ctx: Context, send: Send, limit: int, now: float) -> None:
        self._send = send
        self._limit = limit
        self._ctx = ctx
        self._asked_for: Requests | None = None
        self._pieces = Pieces()
        self._inboxes: dict[int, str] = {}  # of requests that are not answered yet
        self._claims: list[list[bytes]] = []
        self._tail: asyncio.Task[None] | None = None  # effects that wait for an answer of the broker
        self._broken: Exception | None = None  # what the first effect was refused with that could not be
        self.heard = now
        self.over: asyncio.Future[Done | Refused] = asyncio.get_running_loop().create_future()

    @property
    def _requests(self) -> Requests:
        """Made for the first of them: most handlers only return."""
        if self._asked_for is None:
            self._asked_for = Requests(self._ctx, self._reply)
        return self._asked_for

    def claim(self, data: bytes) -> Claim:
        """Keep a large message for who asks for its pieces."""
        self._claims.append(cut(data, self._limit))
        return Claim(claim=len(self._claims) - 1, pieces=len(self._claims[-1]), size=len(data))

    def hear(self, inbox: str, data: bytes, label: str | None) -> None:
        """A message from the worker; `label`: it is a piece of one."""
        try:
            if label is not None:
                whole = self._pieces.add(label, data)
                if whole is None:
                    return
                data = whole
            message = load_from_worker(data)
            if isinstance(message, Ask):
                self._ask(message, inbox)
            elif isinstance(message, Say):
                self._requests.say(shapes.Say(0, message.level, message.message, message.fields))
            elif isinstance(message, Failed):
                self.end(self._raised(message))
            elif isinstance(message, (Done, Refused)):
                self.end(message)
        except (ValueError, TypeError, LookupError, RecursionError) as problem:  # msgspec's errors are ValueErrors
            self.end(Nonsense(f"its worker sent what is no message ({type(problem).__name__}: {problem})"))

    def end(self, how: Done | Refused | Exception) -> None:
        if self.over.done():
            return
        if isinstance(how, Exception):
            self.over.set_exception(how)
        else:
            self.over.set_result(how)

    async def settle(self, done: Done) -> None:
        """Take the effects that came with the result. Raises what the first of all was refused with."""
        if self._tail is None and self._broken is None and self._now(done.effects):
            return
        if self._tail is not None:
            await self._tail
        if self._broken is None:
            await self._apply(done.effects)
        if self._broken is not None:
            raise self._broken

    def close(self) -> None:
        if self._asked_for is not None:
            self._asked_for.close()
        if self._tail is not None:
            self._tail.cancel()

    # -- requests

    def _ask(self, ask: Ask, inbox: str) -> None:
        if ask.what == "piece":
            claim, number = (_plain(arg) for arg in ask.args)
            self._send(inbox, self._claims[claim][number])
            return
        self._inboxes[ask.id] = inbox
        if self._tail is None and self._now(ask.effects):
            self._take(ask)
        elif self._broken is not None and self._tail is None:
            self._requests.refuse(ask.id, self._broken)
        else:
            self._tail = asyncio.get_running_loop().create_task(self._in_turn(self._tail, ask))

    async def _in_turn(self, before: asyncio.Task[None] | None, ask: Ask) -> None:
        if before is not None:
            await before
        if self._broken is None:
            await self._apply(ask.effects)
        if self._broken is not None:
            self._requests.refuse(ask.id, self._broken)
        else:
            self._take(ask)
        if self._tail is asyncio.current_task():
            self._tail = None

    def _take(self, ask: Ask) -> None:
        try:
            args = _values(ask.what, ask.args)
        except ValueError as problem:
            self._requests.refuse(ask.id, problem)
            return
        self._requests.take(shapes.Ask(0, ask.id, ask.what, args))

    def _reply(self, reply: shapes.Reply) -> None:
        inbox = self._inboxes.pop(reply.id, "")
        if not inbox:
            return
        if reply.refusal is not None:
            told = reply.refusal
            faults = [Wrong(pointer=f.pointer, keyword=f.keyword, detail=f.detail) for f in told.faults]
            answer = Reply(refusal=Refusal(kind=told.kind, message=told.message, what=told.what, faults=faults))
        else:
            answer = Reply(value=msgspec.Raw(dump(_as_json(reply.value))))
        data = dump(answer)
        self._send(inbox, data if len(data) <= self._limit else dump(self.claim(data)))

    # -- effects: in their order, the first that is refused stops them

    def _now(self, effects: list[list[msgspec.Raw]]) -> bool:
        """Take them if none has to wait for the broker. False: some have to, or one was refused."""
        if not effects:
            return self._broken is None
        read = [_read(effect) for effect in effects]
        if self._broken is not None or any(what == "delete" for what, _ in read):
            return False
        try:
            for what, args in read:
                self._requests.do(what, args)
        except Exception as problem:
            self._broken = problem
            return False
        return True

    async def _apply(self, effects: list[list[msgspec.Raw]]) -> None:
        try:
            for effect in effects:
                what, args = _read(effect)
                if what == "delete":
                    await self._ctx._run.unit.delete(*args)
                else:
                    self._requests.do(what, args)
        except Exception as problem:
            self._broken = problem

    def _raised(self, failed: Failed) -> Exception:
        if failed.problem is not None:
            told = failed.problem
            return Problem(told.status, told.title, told.detail, type=told.type, **told.extra)
        names = [name[:LONGEST_NAME] for name in failed.names] or ["Error"]
        message = shapes.Failed(
            0, names, failed.message, failed.stack, final=failed.final, delay=failed.delay, ask=failed.ask
        )
        return raised(message, self._requests.refused)


def _read(effect: list[msgspec.Raw]) -> tuple[str, list[Any]]:
    what = _plain(effect[0]) if effect else None
    if what not in ("emit", "cancel_emit", "set", "delete"):
        raise ValueError(f"{what!r} is no effect: there are emit, cancel_emit, set and delete")
    return what, _values(what, effect[1:])


def _values(what: str, args: list[msgspec.Raw]) -> list[Any]:
    """Arguments of a request: values of the app's as bytes, None for null where a request takes it, the rest decoded."""
    values = VALUES.get(what, ())
    return [_text(what, number, arg) if number in values else _plain(arg) for number, arg in enumerate(args)]


def _text(what: str, number: int, arg: msgspec.Raw) -> bytes | None:
    data = bytes(arg)
    return None if what == "stream_swap" and number == 3 and data == b"null" else data


def _as_json(value: Any) -> Any:
    """Bytes in a reply are JSON texts."""
    if isinstance(value, bytes):
        return msgspec.Raw(value)
    if isinstance(value, dict):
        return {key: _as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(one) for one in value]
    return value
