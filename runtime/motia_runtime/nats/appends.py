"""One append from call to acknowledgement, over lost connections: a callback and a future, no task.

An append whose outcome is unknown is sent again when that can be seen through: with an id the server drops the second one, with
`expect` the stored record tells whether it was ours. Without either it fails with `LogUnavailable`, and the caller decides.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec

from motia_runtime.cloudevents.attributes import ATTRIBUTE
from motia_runtime.nats.link import BUSY, CLOSED, LATE, LOST, OVERHEAD, TIMEOUT, Answer, Ask, Link, explain, problem
from motia_runtime.nats.wire import decode_head
from motia_runtime.ports import Conflict, LogUnavailable, TooLarge

PAUSE = 0.1  # seconds before trying again what the server could not take

MSG_ID = "Nats-Msg-Id"
EXPECT = "Nats-Expected-Last-Subject-Sequence"
FOR_OTHERS = ("Nats-", ATTRIBUTE)  # of an event
WRITE = "Motia-Write"  # marks a record written with `expect` and without an id, so that we know it again
MARKER = "Nats-Marker-Reason"
GIVEN = "="  # starts an id that a batch gave a message which had none

WRONG_SEQUENCE = frozenset({10071, 10164})
OVERSIZE = frozenset({10054, 10097})
DUPLICATE_IN_BATCH = 10201
IN_PROCESS = 10158  # a record with this id is on its way through the cluster, and may yet fail to get stored
NOT_LEADER = frozenset({10008, 10009})  # the cluster has none, or this server is none any more
TRY_AGAIN = NOT_LEADER | {IN_PROCESS, 10176, 10210}  # and: a batch torn by a lost connection; too many batches
NO_MESSAGE = 10037


class Fault(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: Fault | None = None


class Stored(msgspec.Struct):
    seq: int = 0
    subject: str = ""
    data: str = ""
    hdrs: str = ""
    time: str = ""

    @property
    def head(self) -> dict[str, str]:
        return decode_head(base64.b64decode(self.hdrs))[1] if self.hdrs else {}


class GetReply(msgspec.Struct):
    message: Stored | None = None
    error: Fault | None = None


decode_ack = msgspec.json.Decoder(PubAck).decode
decode_get = msgspec.json.Decoder(GetReply).decode


def own_id(head: dict[str, str]) -> str | None:
    """The dedupe id an append gave."""
    given = head.get(MSG_ID)
    return None if given is None or given.startswith(GIVEN) else given


def own_head(head: dict[str, str], subject: str) -> dict[str, str]:
    """The headers an append to this subject of the log gave, without those of NATS and of the append itself, and without what an event says of itself."""
    if not head:
        return {}
    others = FOR_OTHERS if subject.startswith("ev.") else "Nats-"
    return {name: value for name, value in head.items() if not name.startswith(others) and name != WRITE}


def refused(fault: Fault) -> Exception | None:
    """The exception for a refusal; None when trying again later may help."""
    if fault.err_code in WRONG_SEQUENCE:
        return Conflict(fault.description)
    if fault.err_code in OVERSIZE:
        return TooLarge(fault.description)
    if fault.code == 429 or fault.err_code in TRY_AGAIN:
        return None
    return LogUnavailable(f"NATS refuses to store: {fault.description}")


def append(
    link: Link,
    future: asyncio.Future[int],
    stream: str,
    subject: str,
    data: bytes,
    head: dict[str, str] | None,
    tail: str = "",
) -> None:
    """Begin one; `future` gets the seq, or the problem. `tail`: as of an `Ask`. Raises `InvalidHeader`."""
    now = future.get_loop().time()
    until = now + link.patience(stream)
    first = min(now + TIMEOUT, until)
    link.put(Append(subject, data, head, tail, first, len(data) + OVERHEAD, False, link, future, stream, until))


class Append(Ask, eq=False):
    """See the module. Called back by the link."""

    link: Link
    future: asyncio.Future[int]
    stream: str
    until: float  # as `deadline`: how long it is tried
    sent: int = 1

    @property
    def _own(self) -> bool:
        """Whether we would know it again."""
        return self.head is not None and (MSG_ID in self.head or WRITE in self.head)

    def send(self) -> None:
        """Send it again."""
        if not self.future.done():
            self.sent += 1
            now = self.future.get_loop().time()
            self.deadline = min(now + TIMEOUT, max(self.until, now + PAUSE))
            self.link.put(self)

    def answer(self, status: int, head: dict[str, str], data: bytes) -> None:
        future = self.future
        if future.done():
            return
        if status == 0:
            try:
                ack = decode_ack(data)
            except msgspec.DecodeError as error:
                future.set_exception(LogUnavailable(f"NATS gave an answer that can't be read: {error}"))
                return
            if ack.error is None:
                self.link.spoke(self.stream)
                future.set_result(ack.seq)
                return
            refusal = refused(ack.error)
            if isinstance(refusal, Conflict) and self.head is not None:
                self._whose(refusal)
            elif refusal is not None:
                future.set_exception(refusal)
            else:
                self._again(ack.error.description)
        elif status in (BUSY, CLOSED) or (status in (LOST, LATE) and not self._own):
            if status == LATE:
                self.link.fell_mute(self.stream)
            future.set_exception(problem(status))
        elif status in (LOST, LATE):
            self._again(explain(status), 0.0)
        else:  # 503: nobody took it
            self._again(explain(status))

    def _again(self, why: str, pause: float = PAUSE) -> None:
        loop = self.future.get_loop()
        if loop.time() + max(pause, PAUSE) > self.until:
            if self.link.up:
                self.link.fell_mute(self.stream)
            self.future.set_exception(LogUnavailable(why))
        else:
            loop.call_later(pause, self.send)

    def _whose(self, conflict: Conflict) -> None:
        """Somebody wrote this subject first. It may have been ourselves, which the server looks at later than at `expect`."""
        head = self.head or {}
        if MSG_ID in head:

            def seen(status: int, _head: dict[str, str], data: bytes) -> None:
                if self.future.done():
                    return
                ack = decode_ack(data) if status == 0 else None
                if ack is None:
                    self._again(explain(status))
                elif ack.error is None:
                    self.future.set_result(ack.seq)
                elif ack.error.err_code in TRY_AGAIN:
                    self._again(ack.error.description)
                else:
                    self._in_the_way(conflict)

            ask_seen(self.link, self.subject, head[MSG_ID], seen)
        else:
            self._in_the_way(conflict)

    def _in_the_way(self, conflict: Conflict) -> None:
        """Look at the record that is there: our own, sent twice, or the mark of an expired one, which counts as none."""
        head = self.head or {}

        def answer(status: int, _head: dict[str, str], data: bytes) -> None:
            if self.future.done():
                return
            if status != 0:
                self._again(explain(status))
                return
            reply = decode_get(data)
            if reply.message is not None:
                stored = reply.message.head
                if WRITE in head and stored.get(WRITE) == head[WRITE]:
                    self.future.set_result(reply.message.seq)
                    return
                if head.get(EXPECT) == "0" and MARKER in stored:
                    self.head = {**head, EXPECT: str(reply.message.seq)}
                    self.send()
                    return
            self.future.set_exception(conflict)

        if head.get(EXPECT) == "0" or (WRITE in head and self.sent > 1):
            ask_last(self.link, self.stream, self.subject, answer)
        else:
            self.future.set_exception(conflict)


def ask_last(link: Link, stream: str, subject: str, answer: Answer) -> None:
    """Ask the leader for the newest record of a subject; the answer is a `GetReply`."""
    ask_stored(link, stream, {"last_by_subj": subject}, answer)


def ask_stored(link: Link, stream: str, which: dict[str, Any], answer: Answer) -> None:
    """Ask the leader for one record; the answer is a `GetReply`."""
    link.ask(f"$JS.API.STREAM.MSG.GET.{stream}", msgspec.json.encode(which), answer)


def ask_seen(link: Link, subject: str, id: str, answer: Answer) -> None:
    """Ask whether an id is known: the answer is a `PubAck` with the seq it has, or with an error. Stores nothing, since the last
    condition, which the server checks after the ids, never holds."""
    link.ask(subject, b"", answer, head={MSG_ID: id, "Nats-Expected-Last-Msg-Id": "motia-never"})
