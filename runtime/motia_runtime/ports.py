"""READ THIS FIRST: what the engine needs from the world. Two ports, two adapters each.

`Log` is JetStream in miniature: an append-only log of subjects with dedupe ids, compare-and-set, delayed appends and durable
consumers. State, dead letters, run records and cron are all built on it (`state`, `deadletters`, `records`, `cron`), so an adapter has one
small thing to get right, and one contract suite (`tests/contract`) holds both to it: `nats.log.NatsLog` and `memory.MemoryLog`.

Subjects here carry no app prefix and are already encoded (`naming`); the first token says which part of the log it is:

    ev.<topic>          events                       kept nats.max_age
    retry.<step>        an event, for one step only  kept nats.max_age (retries, redrives)
    in.<topic>          what other programs publish      kept nats.max_age
    cron.<step>         ticks                        the newest 1,000 of a step, no age limit
    st.<group>.<key>    state; last value counts     `history` of the group, no age limit
    dlq.<step>          dead letters                 30 days
    rt.<stream>.<group>.<id>   stream items; last value counts, no age limit
    run.records         records of runs, many an entry   bounded by size; appended with `note`
    tx.<step>.<run>     plans of commits (`commit`)       last value counts; until its input has surely ended (`purge`)

    live.<stream>.<group>[.<id>]   events of streams, told to who listens (`Feed.tell`); stored nowhere

What is due later stands in slots, `sched.<slot>`: `append` with `at` puts it there, and another one in the same slot replaces it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

ACK_WAIT = 12.0  # seconds until a delivery that is neither ended nor touched comes again

Headers = Mapping[str, str]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log, as stored."""

    subject: str
    seq: int  # unique and increasing within its part of the log; ev, retry and slots are one part
    data: bytes
    headers: dict[str, str] = {}
    time: float = 0.0  # seconds since the epoch, by the broker's clock
    id: str | None = None  # the dedupe id it was appended with; None for what waited in a slot


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One of several appends that become true together."""

    subject: str
    data: bytes
    headers: dict[str, str] = {}
    id: str | None = None
    expect: int | None = None
    ttl: float | None = None


class Backlog(msgspec.Struct, frozen=True):
    """What a durable consumer has before it, over all instances."""

    waiting: int  # not delivered yet
    in_flight: int  # delivered, not ended; includes those given back with a delay
    delivered: int = 0  # seq of the newest record that was delivered; before the first one, where it started
    ended: int = 0  # every delivery up to this seq has ended; `delivered` when nothing is in flight
    paused_until: float = 0.0  # seconds since the epoch; 0: not paused
    redelivered: int = 0  # of those in flight, delivered more than once


class Scheduled(msgspec.Struct, frozen=True):
    """A record that waits for its time."""

    slot: str
    subject: str  # where it will appear
    at: float  # seconds since the epoch
    data: bytes
    headers: dict[str, str]
    seq: int


class Delivery(Protocol):
    """A record handed to a consumer. Exactly one of ack, nak and term ends it; unended, it comes again after the ack wait.

    These three only queue a write: they neither block nor fail. A lost ack means a redelivery.
    """

    @property
    def record(self) -> Record: ...
    @property
    def delivered(self) -> int: ...  # 1 the first time
    @property
    def nth(self) -> int: ...  # of all its consumer's deliveries; after a gap, some were lost, or went elsewhere
    def ack(self) -> None: ...
    def nak(self, delay: float) -> None: ...  # seconds; 0 gives it back at once
    def term(self, reason: str) -> None: ...
    def touch(self) -> None: ...  # still working: the ack wait starts anew


class Consumer(Protocol):
    """A running subscription to a durable consumer."""

    def resume(self, credit: int) -> None:
        """`credit` more records may be delivered."""
        ...

    async def stop(self) -> None:
        """No delivery after this returns; what was not delivered goes back."""
        ...


class Log(Protocol):
    """See the module. Methods raise `LogUnavailable` when the broker can't be reached or refuses for want of room, and `TooLarge` when
    a record exceeds `max_size`; nothing else, but where said. Times are seconds since the epoch, durations seconds."""

    @property
    def max_size(self) -> int:
        """Bytes a record may have, headers included."""
        ...

    def append(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Headers | None = None,
        id: str | None = None,
        expect: int | None = None,
        at: float | None = None,
        slot: str | None = None,
        ttl: float | None = None,
    ) -> Awaitable[int]:
        """Store a record and give its seq. Durable once awaited; many appends may be under way at once, and are stored in call order.

        `headers`: a record has them when it is read, but those of an event that begin with `ce-`, which are for other programs and may be gone.
        `id`: an append with an id seen within the dedupe window changes nothing and gives the first one's seq (looked at before `expect`).
        `expect`: seq of the last record of this subject, 0 when there is none; raises `Conflict` when it is another.
        `at`: when the record shall appear (the past: at once); gives the schedule's seq. ev and retry only.
        `slot`: with `at`, where it waits: encoded tokens with dots ("emit.ab12"); what waited there is replaced, also by what is due at once.
        Without one, a slot of its own is made from `id`.
        `ttl`: at least 1; the record then vanishes. st, rt and tx only."""
        ...

    async def append_all(self, entries: Sequence[Entry]) -> None:
        """Store all of the entries or none: subjects distinct, all of them st or all of them tx. Raises `Conflict` when any `expect` does
        not hold. Entries whose ids were appended before change nothing."""
        ...

    def note(self, subject: str, data: bytes) -> None:
        """Append without waiting: may be lost in a crash or an outage, and never raises. run only."""
        ...

    async def last(self, subject: str) -> Record | None:
        """The newest record of a subject; sees every append that was awaited before, by anybody."""
        ...

    async def lasts(self, pattern: str) -> list[Record]:
        """The newest record of each subject that fits ("st.orders.*"), ordered by subject."""
        ...

    async def counts(self, pattern: str) -> dict[str, int]:
        """How many records are kept of each subject that fits ("dlq.>"), without reading them."""
        ...

    async def history(self, subject: str) -> list[Record]:
        """What is kept of one subject, oldest first."""
        ...

    async def scan(self, pattern: str, *, limit: int, before: int | None = None) -> list[Record]:
        """The newest `limit` records that fit ("dlq.>"), with a seq below `before`, newest first."""
        ...

    async def since(self, pattern: str, *, after: int, limit: int) -> list[Record]:
        """Records that fit ("run.records") with a seq above `after`, oldest first: at most `limit`, and fewer when they are large. None: there
        are no more yet."""
        ...

    async def get(self, part: str, seq: int) -> Record | None:
        """One record of a part ("dlq", "ev", ...) by its seq."""
        ...

    async def delete(self, part: str, seq: int) -> bool:
        """Remove one record for good. False: it was not there."""
        ...

    async def scheduled(self, pattern: str, *, limit: int) -> list[Scheduled]:
        """What waits in slots that fit ("emit.*"), the earliest `at` first."""
        ...

    async def cancel(self, slot: str) -> bool:
        """Take out what waits in a slot, for good. False: nothing did, or its time has come (or the connection broke and an earlier try of
        this call did it)."""
        ...

    async def purge(self, pattern: str, *, through: int) -> int:
        """Remove the records of tx that fit ("tx.charge.*") and have a seq up to `through`; gives how many. With "tx.>" it costs the same
        however many there are."""
        ...

    async def newest(self, part: str) -> int:
        """The highest seq of a part so far, 0 when nothing was ever stored there."""
        ...

    async def pause(self, name: str, until: float) -> None:
        """Deliver nothing more to the consumer of that name before `until` (seconds since the epoch; the past ends a pause). Over all
        instances and restarts. Raises `LookupError` when there is no such consumer."""
        ...

    async def consume(
        self,
        name: str,
        subjects: Sequence[str],
        deliver: Callable[[Delivery], None],
        *,
        credit: int,
        exclusive: bool = False,
        alone: Callable[[], bool] | None = None,
    ) -> Consumer:
        """Have records of these subjects (all of one part, retry belongs to ev) delivered, each until it is ended.

        Of st and rt the end of a record's ttl is delivered as well, to those who are there within a second: an empty record with the header
        Nats-Marker-Reason, which reads don't see. Durable by `name`: continues where that consumer left off; a new one starts with what is appended after its creation. At most `credit`
        deliveries, plus what `Consumer.resume` adds. `exclusive`: one un-ended delivery at a time over all instances, in order. `alone`: of all instances only the one that has begun
        last (with credit) gets deliveries; whether it is still meant to be that one is asked when the broker may have lost sight of it."""
        ...

    def watch(self, pattern: str, seen: Callable[[str | None], None]) -> Callable[[], None]:
        """Have `seen` called soon after each append to a subject that fits, whoever's, until the function is called that this gives. With the subject; it may
        be one that was refused after all. None: some may have been missed, so look yourself."""
        ...

    async def backlog(self, name: str) -> Backlog:
        """Of the consumer of that name; zeros when there is none."""
        ...

    async def backlogs(self, *, keep: bool = False) -> dict[str, Backlog]:
        """Of every durable consumer of the app, by name: one question a stream, however many there are. With `keep`, what has ended has been kept
        where the broker's own record of a consumer is not: should the broker lose one, it begins behind that again, not with what is new."""
        ...

    def connected(self) -> bool: ...

    @property
    def feed(self) -> Feed: ...

    @property
    def in_touch_since(self) -> float:
        """By `Clock.steady`: since when this process has been in touch with the broker without standing still or being cut off for long.
        A delivery that it took before then may be somebody else's by now. Infinite while that is so."""
        ...


class Position(msgspec.Struct, frozen=True):
    """Where the items of streams stand."""

    seq: int  # of the newest record of rt
    time: float  # by the broker's clock, seconds since the epoch


class Snapshot(msgspec.Struct, frozen=True):
    """Records that were true together: the newest of each subject, of all that was stored up to `at.seq`. Some may be newer."""

    records: list[Record]
    at: Position


class Feed(Protocol):
    """Changes of items as they happen, and what is told and not stored. One per `Log`. Raises `LogUnavailable`, nothing else."""

    async def position(self) -> Position: ...

    async def snapshot(self, pattern: str) -> Snapshot:
        """Of subjects of rt that fit ("rt.chat.g.*"). Sees every append that was awaited before, and all that `follow` has given."""
        ...

    def follow(self, seen: Callable[[Record | None], None]) -> Callable[[], None]:
        """Have `seen` called with each record of rt that is stored from now on, in order, whoever's, ends of a ttl as `Log.consume` has them, until the
        function is called that this gives. None: some may have been missed, so look yourself."""
        ...

    def tell(self, subject: str, data: bytes) -> None:
        """To all who `hear` at this moment, over all instances; stored nowhere, and lost where the broker can't be reached. live only."""
        ...

    def hear(self, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Have `heard` called with subject and data of all that is told, until the function is called that this gives."""
        ...


class Clock(Protocol):
    """Time as the engine sees it, so that tests can turn it."""

    def time(self) -> float: ...  # seconds since the epoch
    def steady(self) -> float: ...  # seconds that only go on, also while the process is stopped or the machine sleeps
    async def sleep_until(self, when: float) -> None: ...
    async def pause(self, seconds: float) -> None: ...  # for so long, also when the wall clock is set meanwhile


class LogUnavailable(Exception):  # reads as the fact it states
    """The broker can't be reached, or has no room. Nothing is known to be stored; try again later."""


class Conflict(Exception):  # reads as the fact it states
    """Somebody else wrote this subject first. Read it again and decide anew."""


class TooLarge(ValueError):
    """The record is larger than the broker takes. Store the data elsewhere and send a reference to it."""
