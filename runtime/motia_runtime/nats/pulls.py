"""A durable pull consumer whose records arrive by callback, never more of them than there is credit for.

Requests overlap: the next one goes out when half of the credit is free again, so the broker always has one to serve. Each may
wait a minute; heartbeats tell that it still stands, a reconnect or two missed ones have it asked anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from motia_runtime.cloudevents.outgoing import FIRST_LINE
from motia_runtime.nats.appends import MARKER, own_head, own_id
from motia_runtime.nats.durables import GROUP
from motia_runtime.nats.link import LOG, Link
from motia_runtime.nats.streams import Layout
from motia_runtime.nats.wire import ack_fields
from motia_runtime.ports import Delivery, LogUnavailable, Record

EXPIRES = 60.0  # seconds a request waits at the broker
HEARTBEAT = 5.0  # seconds between signs of life of a waiting request
PAUSE = 0.2  # seconds before asking again after a refusal
LONGEST_PAUSE = 2.0  # seconds between attempts when it goes on being refused
UNPINNED = 5.0  # seconds a request waits that the broker has chosen nobody for: an instance that stands still shall not be chosen
LARGEST = 4096  # records asked for at once


class NatsDelivery(msgspec.Struct, eq=False):
    """`ports.Delivery`. Its record is the engine's to keep; ending it only queues a few bytes."""

    _link: Link
    _reply: str
    record: Record
    delivered: int
    nth: int
    _ended: bool = False

    def _end(self, word: bytes) -> None:
        if not self._ended:
            self._ended = True
            self._link.publish(self._reply, word)

    def ack(self) -> None:
        self._end(b"+ACK")

    def nak(self, delay: float) -> None:
        self._end(b'-NAK {"delay":%d}' % int(delay * 1e9) if delay > 0 else b"-NAK")

    def term(self, reason: str) -> None:
        self._end(b"+TERM " + " ".join(reason.split())[:500].encode("utf-8", "replace"))

    def touch(self) -> None:
        if not self._ended:
            self._link.publish(self._reply, b"+WPI")


class NatsConsumer:
    """`ports.Consumer`. Lives until `stop`, over reconnects; `ensure` makes the durable consumer again should it be gone, and
    takes it away from whoever else has it when we are to have it alone."""

    def __init__(
        self,
        link: Link,
        layout: Layout,
        stream: str,
        name: str,
        deliver: Callable[[Delivery], None],
        credit: int,
        ensure: Callable[[], Awaitable[None]],
        *,
        alone: bool = False,
    ) -> None:
        self._link = link
        self._layout = layout
        self._name = name
        self._deliver = deliver
        self._credit = credit  # may be asked for
        self._asked = 0  # asked for and not here yet
        self._ensure = ensure
        self._loop = asyncio.get_running_loop()
        self._pull = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        self._alone = alone
        # what the broker adds for the one who has it alone stands behind the attributes of an event
        self._until = FIRST_LINE if stream == layout.stream("ev") and not alone else b""
        self._pin = ""  # what the broker knows the one by that gets the deliveries, when that is us
        self._scheduled = False
        self._stopped = False
        self._alive = self._loop.time()
        self._repair: asyncio.Task[None] | None = None
        self._sid = 0
        self._inbox = ""
        self._elected = f"$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{stream}.{name}"
        self._elections = 0

    def start(self, number: int) -> None:
        self._inbox = f"{self._link.inbox}c.{number}"
        self._sid = self._link.listen(self._inbox, self._receive, until=self._until)
        self._elections = self._link.listen(self._elected, self._on_elected)
        self._link.on_up.append(self._ask_anew)
        self._link.on_sweep.append(self._check)
        self._ask()

    def resume(self, credit: int) -> None:
        self._credit += credit
        if not self._scheduled and self._credit >= self._asked:
            self._scheduled = True
            self._loop.call_soon(self._ask)  # once for all that end in this turn of the loop

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._link.on_up.remove(self._ask_anew)
        self._link.on_sweep.remove(self._check)
        if self._repair is not None:
            self._repair.cancel()
        self._link.unlisten(self._elections)
        self._link.forget(self._elections)
        self._link.unlisten(self._sid)
        with contextlib.suppress(LogUnavailable):
            await self._link.barrier()  # what was on its way arrives, and is given back
            await self._link.barrier()  # the broker has what we gave back
        self._link.forget(self._sid)

    def _ask(self) -> None:
        self._scheduled = False
        if self._stopped or self._credit <= 0 or not self._link.up or self._repair is not None:
            return
        batch = min(self._credit, LARGEST)
        self._credit -= batch
        self._asked += batch
        self._alive = self._loop.time()
        self._link.publish_with_reply(self._pull, self._inbox, self._request(batch))

    def _request(self, batch: int) -> bytes:
        expires, beat = (UNPINNED, UNPINNED / 2) if self._alone and not self._pin else (EXPIRES, HEARTBEAT)
        body = b'{"batch":%d,"expires":%d,"idle_heartbeat":%d' % (batch, int(expires * 1e9), int(beat * 1e9))
        if self._alone:
            body += b',"group":"%s"' % GROUP.encode()
            if self._pin:
                body += b',"id":"%s"' % self._pin.encode()
        return body + b"}"

    def _ask_anew(self) -> None:
        self._credit += self._asked
        self._asked = 0
        self._ask()

    def _on_elected(self, _subject: str, _reply: str, _status: int, _head: dict[str, str], _data: bytes) -> None:
        """The consumer moved to another server of the cluster, which does not know what we have asked for."""
        if not self._stopped and self._repair is None:
            self._ask_anew()

    def _check(self, now: float) -> None:
        if self._asked and now - self._alive > 2.5 * HEARTBEAT and self._link.up and self._repair is None:
            LOG.warning("the consumer %s gives no sign of life, asking again", self._name)
            self._mend()

    def _receive(self, subject: str, reply: str, status: int, head: dict[str, str], data: bytes) -> None:
        self._alive = self._loop.time()
        if status:
            self._on_status(status, head)
            return
        fields = ack_fields(reply)
        if fields is None:
            return
        delivered, seq, nth, time = fields
        if self._asked:
            self._asked -= 1
        elif not self._stopped:  # from a request we took for lost
            if not self._credit:
                self._link.publish(reply, b"-NAK")
                return
            self._credit -= 1
        if self._stopped:
            self._link.publish(reply, b"-NAK")
            return
        marker = {MARKER: head[MARKER]} if head and MARKER in head else None
        if marker and not self._layout.back(subject).startswith(("st.", "rt.")):
            # the broker's own note that a record expired
            self._link.publish(reply, b"+ACK")
            self.resume(1)
            return
        given = None
        ours = self._layout.back(subject)
        if head:
            if self._alone:
                self._pin = head.get("Nats-Pin-Id", self._pin)
            given = own_id(head)
            head = marker or own_head(head, ours)
        record = Record(subject=ours, seq=seq, data=data, headers=head or {}, time=time, id=given)
        self._deliver(NatsDelivery(self._link, reply, record, delivered, nth))
        if self._credit and self._credit >= self._asked and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._ask)

    def _on_status(self, status: int, head: dict[str, str]) -> None:
        if status == 100:  # heartbeat
            return
        unserved = int(head.get("Nats-Pending-Messages", 0))
        if status in (404, 408) or (status == 409 and "Nats-Pending-Messages" in head):
            self._asked = max(0, self._asked - unserved)
            self._credit += unserved
            if status == 408:
                if self._alone and not self._pin and not self._stopped and self._repair is None:
                    self._mend()  # the record that told us our pin may be lost; nobody would be served for minutes
                else:
                    self.resume(0)
                return
        if (
            status == 423
        ):  # another instance has taken over, or the broker has forgotten us: no request of ours stands any more
            self._pin = ""
            self._credit += self._asked
            self._asked = 0
            self.resume(0)
            return
        # Any other: the consumer is gone, moves to another server, or nobody serves it (503).
        if not self._stopped and self._repair is None:
            self._mend()

    def _mend(self) -> None:
        self._repair = self._loop.create_task(self._mended())

    async def _mended(self) -> None:
        """See that the consumer is there, then ask for all that there is credit for."""
        wait, why = PAUSE, ""
        try:
            while True:
                await asyncio.sleep(wait)
                try:
                    await self._ensure()
                    break
                except LogUnavailable as error:
                    if why != (why := str(error)):  # said once, not at every attempt
                        LOG.warning("the consumer %s can't be reached: %s", self._name, why)
                    wait = min(wait * 2, LONGEST_PAUSE)
            if why:
                LOG.info("the consumer %s is back", self._name)
        finally:
            self._repair = None
        self._ask_anew()
