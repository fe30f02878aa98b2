"""One connection to NATS as `NatsLog` uses it: callbacks instead of tasks, and a defined outcome for every request.

A `Link` lives as long as its app, over any number of reconnects. What is asked while there is no connection waits for one, so a broker
that restarts in a second costs a second; what was on the wire when the connection broke is answered with `LOST`, and whoever asked
knows whether asking again is safe. `fast.FastLink` and `plain.PlainLink` only differ in how bytes come and go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.client import Client

from motia_runtime.clock import steady
from motia_runtime.nats.rights import Rights
from motia_runtime.nats.wire import NO_HEAD, Head, encode_head
from motia_runtime.ports import LogUnavailable

LOG = logging.getLogger("motia.nats")

TIMEOUT = 5.0  # seconds a request waits for its answer
PATIENCE = 6.0  # seconds that reads and writes are tried, over lost connections and elections (which take about 5)
ELECTION = 15.0  # seconds that an app's start waits for leaders, which a cluster elects within 9
MUTE_PATIENCE = 1.0  # seconds that writes to a stream are tried which did not answer the one before
STILL = (
    30.0  # seconds without a sweep (the process stopped) or a connection after which deliveries may be somebody else's
)
SWEEP = 0.25  # seconds between looks at what is overdue
MAX_UNANSWERED = 64 << 20  # bytes sent, or waiting to be sent, and not answered
OVERHEAD = 128  # bytes that a request counts for beside its data
MAX_WRITES = 16 << 20  # bytes the socket has not taken; more of what nobody waits for is dropped
REVIVE = (0.2, 5.0)  # seconds between attempts after the broker has turned us away, first and longest

# Statuses of our own beside those of NATS (0: an ordinary message, 503: nobody listens, ...)
LOST = -1  # the connection broke after sending: whether it took effect is unknown
LATE = -2  # no answer in time: as unknown
BUSY = -3  # never sent: too much is unanswered
CLOSED = -4  # never sent: we have left

Answer = Callable[[int, dict[str, str], bytes], object]  # status, headers, data; a true result ends a request for many
Receive = Callable[[str, str, int, dict[str, str], bytes], None]  # subject, reply, status, headers, data


class Ask(msgspec.Struct, eq=False):
    """A request under way. Its `answer` is called as an `Answer` is. Each kind is made for each request, so it holds what it needs and nothing else."""

    subject: str
    data: bytes
    head: Head | None
    tail: str  # lines that stand last in the headers, where there is a head
    deadline: float  # by the loop's time
    size: int  # bytes that count as unanswered
    many: bool  # whether it is answered more than once

    def answer(self, status: int, head: dict[str, str], data: bytes) -> object:
        raise NotImplementedError


class Question(Ask, eq=False):
    """A request whose answer is a function's to take."""

    call: Answer

    def answer(self, status: int, head: dict[str, str], data: bytes) -> object:
        return self.call(status, head, data)


class Link(ABC):
    """See the module."""

    def __init__(self) -> None:
        self.inbox = f"_INBOX.{secrets.token_hex(11)}"
        self.up = False
        self.max_payload = 1 << 20  # bytes, as the broker says
        self.on_up: list[Callable[[], None]] = []  # called after every reconnect, subscriptions in place
        self.rights = Rights()  # who tells of what the server does not let us do
        self.on_sweep: list[Callable[[float], None]] = []  # called now and then with the loop's time
        self._client: Client | None = None
        self._dial: Callable[[], Awaitable[Client]] | None = None
        self._closing = False
        self._reviving: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._asks: dict[str, Ask] = {}
        self._waiting: list[Ask] = []
        self._unanswered = 0
        self._token = 0
        self._sid = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._listening: dict[int, tuple[str, str, Receive]] = {}  # subject, queue group, who hears it
        self._replies = self.inbox + "."
        self._mute: set[str] = set()
        self._swept = steady()
        self._in_touch = self._swept
        self._asking_back: asyncio.Task[None] | None = None
        self.listen(f"{self.inbox}.*", self._on_reply)

    # -- what the two kinds differ in --

    @abstractmethod
    def prepare(self, client: Client) -> None:
        """Called with a client that is about to connect."""

    @abstractmethod
    def _send(self, subject: str, reply: str, head: Head | None, data: bytes, tail: str = "") -> None: ...

    @abstractmethod
    def _listen(self, sid: int, subject: str, queue: str = "") -> None: ...

    @abstractmethod
    def _unlisten(self, sid: int) -> None: ...

    @abstractmethod
    def _relisten(self, *, new_client: bool) -> None:
        """Subscribe again after a reconnect."""

    @abstractmethod
    def _unsent(self) -> int:
        """Bytes the socket has not taken yet."""

    # -- the life of the connection --

    async def open(self, dial: Callable[[], Awaitable[Client]]) -> None:
        """Connect by `dial`, which calls `prepare`; keep it so that a client that gave up can be replaced."""
        self._dial = dial
        self._client = await dial()
        self._came_up(new_client=True)

    async def close(self) -> None:
        """Send what is pending and leave. Requests under way are answered `LOST`."""
        if self._closing:
            return
        if self.up:
            with contextlib.suppress(LogUnavailable):
                await self.barrier(timeout=1.0)
        self._closing = True
        if self._reviving is not None:
            self._reviving.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._asking_back is not None:
            self._asking_back.cancel()
        if self._client is not None:
            await self._client.close()
        self._went_down()
        waiting, self._waiting = self._waiting, []
        for ask in waiting:
            ask.answer(CLOSED, NO_HEAD, b"")

    def refused(self, text: str) -> None:
        """The server does not let us do something, in its words; the connection stays."""
        self.rights.refused(text)

    async def on_disconnected(self) -> None:
        self._went_down()
        if not self._closing:
            LOG.warning("lost the connection to NATS, reconnecting")

    async def on_reconnected(self) -> None:
        if self._client is not None:
            LOG.info("connected to NATS again")
            self._came_up(new_client=False)

    async def on_closed(self) -> None:
        """nats-py gives up for good when the server refuses our credentials; they may be renewed, so keep trying."""
        self._went_down()
        if not self._closing and self._client is not None and (self._reviving is None or self._reviving.done()):
            self._reviving = self._loop.create_task(self._revive())

    async def _revive(self) -> None:
        assert self._dial is not None
        wait, longest = REVIVE
        while not self._closing:
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)
            try:
                self._client = await self._dial()
            except LogUnavailable as error:
                LOG.warning("%s", error)
            else:
                self._came_up(new_client=True)
                return

    def _came_up(self, *, new_client: bool) -> None:
        self.up = True
        self.max_payload = self.client.max_payload
        self._mute.clear()
        self._relisten(new_client=new_client)
        waiting, self._waiting = self._waiting, []
        for ask in waiting:
            self._start(ask)
        for call in list(self.on_up):
            call()
        self._arm()

    def _went_down(self) -> None:
        self.up = False
        lost, self._asks = self._asks, {}
        for ask in lost.values():
            self._unanswered -= ask.size
        for ask in lost.values():  # answers may ask again: that waits for the next connection
            ask.answer(LOST, NO_HEAD, b"")

    @property
    def client(self) -> Client:
        assert self._client is not None, "open() comes first"
        return self._client

    # -- sending and receiving --

    def publish(
        self, subject: str, data: bytes, head: Head | None = None, *, reply: str = "", droppable: bool = False
    ) -> None:
        """Queue a message nobody answers, unless to a subject of the caller's. Dropped while there is no connection; `droppable` ones also when the
        socket is choked."""
        if self.up and not (droppable and self._unsent() > MAX_WRITES):
            self._send(subject, reply, head, data)

    def publish_with_reply(self, subject: str, reply: str, data: bytes) -> None:
        """Queue a message whose answers go to a subject of the caller's. Dropped while there is no connection."""
        if self.up:
            self._send(subject, reply, None, data)

    def ask(
        self,
        subject: str,
        data: bytes,
        answer: Answer,
        *,
        head: Head | None = None,
        timeout: float = TIMEOUT,
        many: bool = False,
    ) -> None:
        """Request; `answer` is called once, or with `many` until it returns true or gets a negative status. Raises
        nothing but `InvalidHeader`."""
        self.put(Question(subject, data, head, "", self._loop.time() + timeout, len(data) + OVERHEAD, many, answer))

    def put(self, ask: Ask) -> None:
        """As `ask`."""
        if self._closing:
            self._loop.call_soon(ask.answer, CLOSED, NO_HEAD, b"")
        elif self._unanswered > MAX_UNANSWERED:
            self._loop.call_soon(ask.answer, BUSY, NO_HEAD, b"")
        elif self.up:
            self._start(ask)
            self._unanswered += ask.size
        else:
            if ask.head:
                encode_head(ask.head)  # a bad one is refused now, not when the connection is back
            self._unanswered += ask.size
            self._waiting.append(ask)
            self._arm()

    def _start(self, ask: Ask) -> None:
        self._token += 1
        token = str(self._token)
        self._send(ask.subject, self._replies + token, ask.head, ask.data, ask.tail)
        self._asks[token] = ask
        if self._sweeper is None:
            self._arm()

    # -- streams that take nothing: their cluster has lost its majority, or elects a leader --

    def patience(self, stream: str) -> float:
        """Seconds that it is worth trying to write to a stream. Little while it is mute: who asks then shall hear so soon."""
        return MUTE_PATIENCE if stream in self._mute else PATIENCE

    def fell_mute(self, stream: str) -> None:
        """A write to it was not answered in time."""
        if stream not in self._mute:
            self._mute.add(stream)
            LOG.warning("the stream %s takes nothing at the moment", stream)

    def spoke(self, stream: str) -> None:
        """A write to it was answered."""
        if self._mute and stream in self._mute:
            self._mute.discard(stream)
            LOG.info("the stream %s takes records again", stream)

    async def request(
        self, subject: str, data: bytes = b"", *, head: Head | None = None, timeout: float = TIMEOUT
    ) -> tuple[int, dict[str, str], bytes]:
        """`ask`, awaited. Raises `LogUnavailable` instead of giving a negative status."""
        future: asyncio.Future[tuple[int, dict[str, str], bytes]] = self._loop.create_future()

        def answer(status: int, head: dict[str, str], data: bytes) -> None:
            if not future.done():
                future.set_result((status, head, data))

        self.ask(subject, data, answer, head=head, timeout=timeout)
        reply = await future
        if reply[0] < 0:
            raise problem(reply[0])
        return reply

    async def barrier(self, timeout: float = TIMEOUT) -> None:
        """Return when the broker has taken all that was sent before. An echo to ourselves: nats-py's `flush` overtakes what it has queued."""
        future: asyncio.Future[int] = self._loop.create_future()

        def answer(status: int, _head: dict[str, str], _data: bytes) -> None:
            if not future.done():
                future.set_result(status)

        self._token += 1
        token = str(self._token)
        ask = Question("", b"", None, "", self._loop.time() + timeout, 0, False, answer)
        if not self.up:
            raise problem(CLOSED if self._closing else LOST)
        self._asks[token] = ask
        self._send(self._replies + token, "", None, b"")
        self._arm()
        status = await future
        if status < 0:
            raise problem(status)

    def listen(self, subject: str, receive: Receive, *, queue: str = "", until: bytes = b"") -> int:
        """Subscribe, over reconnects, until `unlisten` with the number given back. With a `queue` each message goes to one of its subscribers. Headers from
        `until` on need not be read."""
        self._sid += 1
        self._listening[self._sid] = (subject, queue, receive)
        if self.up:
            self._listen(self._sid, subject, queue)
        return self._sid

    def unlisten(self, sid: int) -> None:
        """Tell the broker; what is on its way still arrives. `forget` ends that."""
        if self.up and sid in self._listening:
            self._unlisten(sid)

    def forget(self, sid: int) -> None:
        self._listening.pop(sid, None)

    def _on_reply(self, subject: str, _reply: str, status: int, head: dict[str, str], data: bytes) -> None:
        token = subject[len(self._replies) :]
        ask = self._asks.get(token)
        if ask is None:
            return  # answered LATE before
        if not ask.many:
            del self._asks[token]
            self._unanswered -= ask.size
            ask.answer(status, head, data)
        elif ask.answer(status, head, data):
            del self._asks[token]
            self._unanswered -= ask.size
        else:
            ask.deadline = self._loop.time() + TIMEOUT

    # -- have we stood still? --

    @property
    def in_touch_since(self) -> float:
        """As `ports.Log.in_touch_since`."""
        return self._in_touch if steady() - self._swept <= STILL else math.inf

    def _keep_in_touch(self) -> None:
        now = steady()
        if now - self._swept <= STILL:
            if self.up:
                self._swept = now
        elif self.up and self._asking_back is None:
            self._asking_back = self._loop.create_task(self._ask_back())

    async def _ask_back(self) -> None:
        """After a standstill, what came from the broker before it answers us again may have been sent long ago."""
        try:
            asked = steady()
            await self.barrier()
            now = steady()
            if now - asked <= STILL:
                self._swept = self._in_touch = now
        except LogUnavailable:
            pass  # the next sweep asks again
        finally:
            self._asking_back = None

    # -- what is overdue: one timer for all --

    def _arm(self) -> None:
        if self._sweeper is None and not self._closing:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._loop.time()
        late = [token for token, ask in self._asks.items() if ask.deadline <= now]
        overdue = [self._asks.pop(token) for token in late]
        overdue += [ask for ask in self._waiting if ask.deadline <= now]
        self._waiting = [ask for ask in self._waiting if ask.deadline > now]
        for ask in overdue:
            self._unanswered -= ask.size
        for ask in overdue:
            ask.answer(LATE, NO_HEAD, b"")
        for call in list(self.on_sweep):
            call(now)
        self._keep_in_touch()
        if self._asks or self._waiting or self.on_sweep:
            self._arm()


class Closed(LogUnavailable):
    """The connection to NATS has been closed by ourselves: no use in trying again."""


def explain(status: int) -> str:
    """Why there is no answer, for people."""
    return {
        LOST: "the connection to NATS broke; whether the request took effect is not known",
        LATE: f"NATS did not answer within {TIMEOUT:g} s",
        BUSY: f"NATS does not keep up: more than {MAX_UNANSWERED >> 20} MiB wait for its answer",
        CLOSED: "the connection to NATS has been closed",
        503: "NATS has nobody to answer: JetStream is starting, or the stream is missing",
    }.get(status, f"NATS answered with status {status}")


def problem(status: int, where: str = "") -> LogUnavailable:
    """The exception for a status that is no answer."""
    text = f"{where}: {explain(status)}" if where else explain(status)
    return Closed(text) if status == CLOSED else LogUnavailable(text)
