"""How effects become true, once each: the commit protocol. docs/guarantees.md tells its story, tests/engine/test_commit_model.py attacks each step.

    plan      all of it in one record, `tx.<step>.<run>`, appended with expect=0: a run has one plan, whoever comes second completes that of the first
    state     compare-and-set with the revisions that the plan names; several keys: one atomic batch
    marks     records of our own that belong to the run (an answer kept for its key)
    emits     each with an id made from the plan's
    (the ack) by whoever called

The commit point is the state when there are writes, else the plan. Everything after it can be repeated: by the same process, or by whoever
gets the input again, who looks for the plan before running anything. A plan whose state could not be written is void, and its place is taken by that of the
next try. Plans stay until all inputs delivered before them have surely ended (`sweep`).

Whether a plan's state was written is seen from the dedupe ids while the broker knows them; else from the record that the key still
holds, or from the plan of whoever wrote over it, which names the id it found there (`seen`). So nothing writes over a record without a plan.
Whether its emits were made, the events tell. No clock is compared with another machine's for that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import msgspec

from motia_runtime.cloudevents.attributes import encode_value
from motia_runtime.cloudevents.outgoing import SUBJECT
from motia_runtime.delayed import ID, is_past, key_of, note, own_slot
from motia_runtime.orphans import Orphans
from motia_runtime.plans import CLAIM, KEPT, Mark, Planned, Write, encode_plan, read_plan
from motia_runtime.ports import Clock, Conflict, Entry, Log, LogUnavailable, Record, TooLarge
from motia_runtime.seen import SKEW, Seen, ids_of
from motia_runtime.state import DELETED, Value
from motia_runtime.trace import headers_of
from motia_runtime.turns import Gate, Turns

LEASE = 30.0  # seconds that a claim of our own holds; an input is lost after as long without touch (`ports.Log.in_touch_since`)
KNOWN = 20_000  # state keys whose revision is remembered, so that a write without a read needs no read either


class Claim(msgspec.Struct, eq=False):
    """Where a run stands with its commits, over all tries in this process."""

    run_id: str
    subject: str | None  # of its plan; None: a run without an input, whose plans are found by `sweep`
    since: float | None  # when its input came (`Clock.steady`), None without one
    flushed: int = 0  # early commits that are true, whatever this try does
    last: int = 0  # seq of its newest plan, which came to nothing
    flushing: int = 0  # early commits of this try
    until: float | None = None  # end of a lease of its own (`Clock.steady`)
    mark: Callable[[], Mark] | None = None  # to become true with the effects
    overtaken: bool = False  # the plan of another try is the one that counts
    members: list[Claim] | None = None  # of a run of many inputs: all of their claims, its own the first
    stored: bool = False  # its plan may be where the members' are looked for, though nothing came of it
    committing: bool = False  # too late to be cancelled, for the moment
    cancelled: bool = False  # nothing more is committed (`cancels`)
    turn: tuple[str, ...] = ()  # state keys that it was beaten to and that are its own to write next (`turns`)
    writing: Sequence[Write] = ()  # what it is about to write, and others of this process wait for


class Commits:
    """Lives as long as the engine."""

    def __init__(self, log: Log, clock: Clock, orphans: Orphans) -> None:
        self._log = log
        self._clock = clock
        self._orphans = orphans
        # state subject -> revision and id of its record, in the order in which they came, of which a dict would lose sight while it shrinks at its front
        self._known: OrderedDict[str, tuple[int, str | None]] = OrderedDict()
        # keys that a commit of this process is about to write, with an event for those who wait for that, if any does
        self._writing: dict[str, asyncio.Event | None] = {}
        self._turns = Turns()
        self._gate = Gate(self._turns)
        self._handed: dict[str, Value] = {}  # state subject -> what whoever has its turn finds there
        self._overwritten = Seen(log, clock, "tx.>", _overwritten_ids)
        self._emitted: dict[str, Seen] = {}  # by subject
        self.planned = asyncio.Event()  # set with each plan, for who sweeps

    def emitted(self, subject: str) -> Seen:
        """The ids of what was stored there of late."""
        seen = self._emitted.get(subject)
        if seen is None:
            seen = self._emitted[subject] = Seen(self._log, self._clock, subject, ids_of)
        return seen

    # -- the lease on inputs

    def check_touch(self, since: float) -> None:
        """Raise `LeaseLost` when an input that came then may be somebody else's by now."""
        if since < self._log.in_touch_since:
            raise LeaseLost("the process stood still or was cut off, so the event belongs to whoever got it next")

    def _check_lease(self, claim: Claim) -> None:
        if claim.since is not None:
            self.check_touch(claim.since)
        if claim.until is not None and self._clock.steady() > claim.until:
            raise LeaseLost("the claim of this run could not be renewed, so its key belongs to whoever takes it next")

    # -- what is known of state keys without asking

    def known(self, subject: str) -> tuple[int, str | None]:
        """Revision and id of a key as last seen here; the first write's when never seen. May be old: then the write conflicts."""
        return self._known.get(subject, (0, None))

    def saw(self, subject: str, revision: int, id: str | None) -> None:
        known = self._known
        known[subject] = (revision, id)
        if len(known) > KNOWN:
            known.popitem(last=False)

    # -- after a conflict

    async def wait_turn(self, claim: Claim, keys: Collection[str]) -> None:
        """Until no other run of this process that was beaten to one of these state keys is to begin again before this one. It has its turn until `end_turn`."""
        if not set(keys) <= set(claim.turn):
            self.end_turn(claim)
            claim.turn = await self._turns.take(keys)

    def is_beaten(self, claim: Claim, subject: str) -> bool:
        """Whether what this run would write to the key, were it to read it now, would come too late: others have their turn before it."""
        return not claim.turn and self._turns.taken(subject)

    def handed(self, claim: Claim, subject: str) -> Value | None:
        """What a key holds, known without asking: the run before this one in line has just written it. Somebody elsewhere may have written it since:
        then a write conflicts, and who does not write has to look again (`Unit.look_again`)."""
        value = self._handed.pop(subject, None) if subject in claim.turn and claim.members is None else None
        return None if value is None or self.known(subject)[0] != value.revision else value

    def end_turn(self, claim: Claim) -> None:
        turn, claim.turn = claim.turn, ()
        for subject in turn:
            self._handed.pop(subject, None)
        self._turns.give(turn)

    # -- committing

    async def commit(self, claim: Claim, part: str, effects: Planned, blind: Collection[int]) -> bool:
        """Make effects true. `part` names an early commit, `effects.id` is set here. `blind`: numbers of the writes whose revision nobody has read,
        which take whatever is there. False: another try of the run was first, its plan has been completed, and nothing of this one counts.
        Raises `Conflict` when a key that was read has been written since: nothing has happened then. `LogUnavailable` when it is not known
        whether they are true, `LeaseLost` among them."""
        if claim.since is None or claim.turn:  # a client waits for it, or the next in line does
            return await self._commit(claim, part, effects, blind)
        await self._gate.enter()
        try:
            return await self._commit(claim, part, effects, blind)
        finally:
            self._gate.leave()

    async def _commit(self, claim: Claim, part: str, effects: Planned, blind: Collection[int]) -> bool:
        writes, writing = effects.writes, self._writing
        while (other := self._other(writes)) is not None:
            await other.wait()  # it would only conflict
        for number, write in enumerate(writes):
            revision, over = self.known(write.subject)
            if self._turns.taken(write.subject) and number not in blind and write.subject not in claim.turn:
                raise Conflict(f"others that were beaten to {write.subject} come first")
            if revision > write.expect:
                if number not in blind:
                    self._known.pop(write.subject, None)  # it may have expired since it was seen here
                    raise Conflict(f"{write.subject} has been written since it was read")
                write.expect, write.over = revision, over
        for write in writes:
            writing[write.subject] = None
        claim.writing = writes
        try:
            if claim.members is not None and len(claim.members) > 1 and not part:
                return await self._make_true_together(claim, claim.members, effects, blind)
            own = f"{claim.subject}.{part}" if part and claim.subject else claim.subject
            if own is not None and claim.since is not None:
                return await self._make_true(claim, own, part, effects, blind, None)
            async with self._orphans.place(own) as (subject, seen):  # no input will ask for this plan
                return await self._make_true(claim, subject, part, effects, blind, seen)
        finally:
            self._let_go(claim)

    def _let_go(self, claim: Claim) -> None:
        """Of what it was about to write, for those who wait for that."""
        writes, claim.writing = claim.writing, ()
        for write in writes:
            if (waited := self._writing.pop(write.subject)) is not None:
                waited.set()

    def _written(self, claim: Claim, part: str) -> None:
        """The state is, so others may begin with it, while the emits are still under way. Not after an early commit: the run may write the keys again."""
        writes = claim.writing
        self._let_go(claim)
        if not claim.turn or part:
            return
        self.end_turn(claim)
        if len(writes) == 1 and self._turns.taken(subject := writes[0].subject):
            self._handed[subject] = Value(writes[0].data, *self.known(subject))

    def _other(self, writes: list[Write]) -> asyncio.Event | None:
        """Set when another commit is done with one of these keys; None when none has to do with them."""
        writing = self._writing
        for write in writes:
            if write.subject in writing:
                event = writing[write.subject]
                if event is None:
                    event = writing[write.subject] = asyncio.Event()
                return event
        return None

    async def _make_true(
        self,
        claim: Claim,
        subject: str,
        part: str,
        effects: Planned,
        blind: Collection[int],
        seen: Callable[[int], None] | None,
    ) -> bool:
        last = claim.last if subject is claim.subject else 0
        while True:
            effects.id = f"{claim.run_id}{part}~{last}" if last else f"{claim.run_id}{part}"
            self._check_lease(claim)
            try:
                last = await self._log.append(subject, encode_plan(effects), expect=last)
            except TooLarge as problem:
                raise TooLarge(
                    f"the effects of one run are too large together: {problem}. Commit in between with `ctx.flush()`"
                ) from None
            except Conflict:
                record = await self._log.last(subject)
                if record is None:
                    raise LeaseLost("the plan of this run has come and gone: its input has ended") from None
                if await self.finish(record):
                    claim.overtaken = not part
                    return False
                last = record.seq
                continue
            self.planned.set()
            if subject is claim.subject:
                claim.last = last
            if seen is not None:
                seen(last)
            self._check_lease(claim)
            try:
                if effects.writes:
                    await self._write(effects)
            except Conflict:
                if not blind or not await self._look_again(effects, blind):
                    raise
                continue
            self._written(claim, part)
            if effects.marks:
                await self._mark(effects)
            if effects.emits or effects.cancels:
                self._check_lease(claim)
                await self._emit(effects, range(len(effects.emits)), effects.cancels)
            return True

    async def _make_true_together(
        self, claim: Claim, members: Sequence[Claim], effects: Planned, blind: Collection[int]
    ) -> bool:
        """As `_make_true`, for a run of many inputs. The plan stands at the place of the first; at those of the others stands where it is. They are
        stored together or not at all, so it holds for all of them or for none. Raises `Conflict` also when one of them has another plan: then, or
        when the state has changed (`Claim.stored`), look at all of them again (`redo_together`) before the next try."""
        assert claim.subject is not None
        if claim.stored:
            await self._look_again(effects, blind)
        effects.id = f"{claim.run_id}~{secrets.token_hex(8)}"
        there = encode_plan(Planned(effects.id, "", at=claim.subject))
        entries = [Entry(subject=claim.subject, data=encode_plan(effects), expect=claim.last)]
        for member in members[1:]:
            assert member.subject is not None
            entries.append(Entry(subject=member.subject, data=there, expect=member.last))
        for member in members:
            self._check_lease(member)
        claim.stored = True
        await self._log.append_all(entries)
        self.planned.set()
        for member in members:
            self._check_lease(member)
        if effects.writes:
            await self._write(effects)
        self._written(claim, "")
        if effects.marks:
            await self._mark(effects)
        if effects.emits or effects.cancels:
            self._check_lease(claim)
            await self._emit(effects, range(len(effects.emits)), effects.cancels)
        return True

    async def _look_again(self, effects: Planned, blind: Collection[int]) -> bool:
        """Have the blind writes expect what is there now. False: it is what they expected, so they were not what conflicted."""
        changed = False
        for number in blind:
            write = effects.writes[number]
            record = await self._log.last(write.subject)
            revision = record.seq if record else 0
            changed |= revision != write.expect
            write.expect, write.over = revision, record.id if record else None
        return changed

    async def redo(self, claim: Claim, *parts: str) -> bool:
        """Before a run that may have come this far before: complete its plan, if there is one, or one of these parts, which end a run too.
        False: there is none that counts, so run."""
        assert claim.subject is not None
        record = await self._log.last(claim.subject)
        if record is not None:
            if await self.finish(record):
                return True
            claim.last = record.seq
        for part in parts:
            record = await self._log.last(f"{claim.subject}.{part}")
            if record is not None and await self.finish(record):
                return True
        return False

    async def redo_together(self, claims: Sequence[Claim], parts: Sequence[str]) -> list[bool]:
        """As `redo` for each of them with its part, but a plan that several share is looked at once."""
        done = [False] * len(claims)
        found: dict[str, bool] = {}
        records = await asyncio.gather(*[self._log.last(claim.subject) for claim in claims if claim.subject])
        for number, (claim, record) in enumerate(zip(claims, records, strict=True)):
            if record is not None:
                plan = read_plan(record).id
                if plan not in found:
                    found[plan] = await self.finish(record)
                done[number] = found[plan]
                claim.last = record.seq
        left = [number for number, is_done in enumerate(done) if not is_done]
        records = await asyncio.gather(*[self._log.last(f"{claims[n].subject}.{parts[n]}") for n in left])
        for number, record in zip(left, records, strict=True):
            done[number] = record is not None and await self.finish(record)
        return done

    async def finish(self, record: Record) -> bool:
        """Complete the plan that somebody has stored. False: it is void, since its state was never written and can't be any more."""
        planned = read_plan(record)
        if planned.at:
            shared = await self._log.last(planned.at)
            if shared is None:
                raise LeaseLost("the plan of this run has come and gone: its input has ended")
            pointer, planned, record = planned, read_plan(shared), shared
            if planned.id != pointer.id:
                return False  # it came to nothing, or nobody would have written over it
        if planned.marks and await self._is_late(planned, record):
            return False
        if planned.writes:
            try:
                await self._write(planned)
            except Conflict:
                if not self._has_expired(planned, record) and not await self._was_written(planned, record):
                    return False
        await self._mark(planned)
        await self._emit(planned, *await self._left(planned, record))
        return True

    async def _write(self, planned: Planned) -> None:
        writes = planned.writes
        trace = (
            headers_of(planned.trace, planned.tracestate) if planned.trace else None
        )  # of the runs that the change sets off
        deletes = DELETED if trace is None else {**DELETED, **trace}
        if len(writes) == 1:
            one = writes[0]
            write_id = f"{planned.id}:w0"
            data, headers = (b"", deletes) if one.data is None else (one.data, trace)
            try:
                seq = await self._log.append(
                    one.subject, data, headers=headers, id=write_id, expect=one.expect, ttl=one.ttl
                )
            except BaseException:
                self._known.pop(one.subject, None)
                raise
            self.saw(one.subject, seq, write_id)
            return
        for one in writes:
            self._known.pop(one.subject, None)
        await self._log.append_all(
            [
                Entry(
                    subject=one.subject,
                    data=one.data or b"",
                    headers=deletes if one.data is None else (trace or {}),
                    id=f"{planned.id}:w{number}",
                    expect=one.expect,
                    ttl=one.ttl,
                )
                for number, one in enumerate(writes)
            ]
        )

    async def _mark(self, planned: Planned) -> None:
        for mark in planned.marks:
            expect = mark.expect
            headers = {KEPT: mark.claim} if mark.claim else None
            while True:
                try:
                    await self._log.append(mark.subject, mark.data, headers=headers, expect=expect, ttl=mark.ttl)
                    break
                except Conflict:
                    record = await self._log.last(mark.subject) if mark.claim else None
                    if record is None or record.headers.get(CLAIM) != mark.claim:
                        break
                    expect = record.seq  # renewed, or taken over by another engine

    async def _emit(self, planned: Planned, numbers: Sequence[int], cancels: Sequence[str]) -> None:
        append, headers = self._log.append, headers_of(planned.trace, planned.tracestate)
        if len(planned.emits) == len(numbers) == 1 and not cancels:  # as below, for what most runs emit
            emit = planned.emits[0]
            if emit.at is None and emit.slot is None and not emit.headers:
                await append(emit.subject, emit.data, headers=headers, id=f"{planned.id}:e0")
                return
        keyed = [(slot, f"{planned.id}:c") for slot in cancels]
        keyed += [(slot, f"{planned.id}:e{n}") for n in numbers if (slot := planned.emits[n].slot) is not None]
        if keyed:
            await asyncio.gather(*[note(self._log, slot, whose) for slot, whose in keyed])
        under_way: list[Awaitable[object]] = [self._log.cancel(slot) for slot in cancels]
        for number in numbers:
            emit = planned.emits[number]
            emit_id = f"{planned.id}:e{number}"
            head, slot = headers, None
            if emit.at is not None:
                head, slot = {**headers, ID: emit_id}, emit.slot or own_slot(emit.subject, emit_id)
                if emit.slot is not None:
                    head[SUBJECT] = encode_value(key_of(emit.slot))
            if emit.headers:
                head = {**head, **emit.headers}
            under_way.append(append(emit.subject, emit.data, headers=head, id=emit_id, at=emit.at, slot=slot))
        if len(under_way) == 1:
            await under_way[0]
        elif under_way:
            await asyncio.gather(*under_way)

    # -- evidence, for when the broker has forgotten the ids

    async def _is_late(self, planned: Planned, record: Record) -> bool:
        """A plan with a mark for a claim, stored by an engine that stood still after it had looked at its lease, when another one had long done
        the same and its plan was swept: nothing of it has been written, or ever may be."""
        for mark in planned.marks:
            if not mark.claim:
                continue
            there = await self._log.last(mark.subject)
            if there is not None and there.headers.get(CLAIM) == mark.claim:
                continue  # it waits for an answer
            if there is not None and there.headers.get(KEPT) == mark.claim:
                if there.data != mark.data:
                    return True
            elif record.time > mark.until + SKEW:
                return True
        return False

    def _has_expired(self, planned: Planned, record: Record) -> bool:
        """Had its state been written, it would be gone by now, with all evidence: then the rest of the run is what counts."""
        age = self._clock.time() - record.time
        return any(write.ttl is not None and age >= write.ttl for write in planned.writes)

    async def _was_written(self, planned: Planned, record: Record) -> bool:
        """After a conflict: is it our own record that is in the way, or was?"""
        ids = {f"{planned.id}:w{number}" for number in range(len(planned.writes))}
        for write in planned.writes:
            last = await self._log.last(write.subject)
            if last is not None and last.id in ids:
                return True
        for one in ids:
            if await self._overwritten.has(one, record.time):
                return True
        return False

    async def _left(self, planned: Planned, record: Record) -> tuple[list[int], list[str]]:
        """Numbers of its emits and slots of its cancels that have to be done still: what the broker knows of ids is good for a while only, and a
        slot may be somebody else's by now."""
        now = self._clock.time()
        numbers = []
        for number, emit in enumerate(planned.emits):
            emit_id = f"{planned.id}:e{number}"
            if emit.at is None:
                done = await self.emitted(emit.subject).has(emit_id, record.time)
            else:
                slot = emit.slot or own_slot(emit.subject, emit_id)
                done = await is_past(self._log, slot, emit_id, record.time)
                if not done and emit.at <= now:  # else it waits, and is replaced by itself
                    done = await self.emitted(emit.subject).has(emit_id, max(record.time, emit.at))
            if not done:
                numbers.append(number)
        whose = f"{planned.id}:c"
        cancels = [slot for slot in planned.cancels if not await is_past(self._log, slot, whose, record.time)]
        return numbers, cancels


def _overwritten_ids(record: Record) -> Iterable[str]:
    try:
        return [write.over for write in read_plan(record).writes if write.over is not None]
    except msgspec.DecodeError:  # no plan
        return ()


class LeaseLost(LogUnavailable):
    """The input is no longer this process's to end. Whatever it would have committed is not, and whoever has it now does."""
