"""`orderBy`: the events of one key are handled in the order of their emits, one at a time; those of other keys beside them.

One engine at a time handles the step (`leading`), gets all of its deliveries (`alone` of `ports.Log.consume`), and lines events up by key. It first waits until everything that another engine had in hand has come to it, and goes on in
the order of the log; so it does when deliveries were lost on their way to it (`Delivery.nth`). A failed event keeps its place in its line until its next attempt: it is held in hand, so only its own key waits. Who comes late after having been
stopped finds the plans of those runs in its way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import msgspec

from motia_runtime.commit import LeaseLost
from motia_runtime.context import new_id
from motia_runtime.controls.control import Arrival, Unreadable
from motia_runtime.controls.keys import key_of, path_of
from motia_runtime.events import EventWorker, read_input
from motia_runtime.leading import Leadership, settled
from motia_runtime.naming import durable
from motia_runtime.ports import ACK_WAIT, Delivery, LogUnavailable
from motia_runtime.runs import Plan, Runs
from motia_runtime.suspects import Suspects
from motia_runtime.worker import OUTAGE_PAUSE
from motia_spec.model import EventStep

IN_HAND = 8_192  # events lined up in an engine; when as many wait behind failing keys, the step waits
LOOK = 0.25  # seconds between looks whether all has come that others had in hand
STRANGER = (
    2 * ACK_WAIT
)  # seconds after which it is held by somebody who keeps no order, such as an older version of the app

_log = logging.getLogger("motia.engine")


class OrderedWorker(EventWorker):
    def __init__(self, plan: Plan, step: EventStep, runs: Runs, suspects: Suspects) -> None:
        super().__init__(plan, step, runs, suspects)
        assert step.order_by is not None
        self._path = path_of(step.order_by)
        self._leadership = Leadership(runs.services.log, runs.services.clock, step.name, new_id())
        self._leading: asyncio.Task[None] | None = None
        self._taking = False  # deliveries are for us
        self._gathered: dict[int, Delivery] | None = {}  # by seq, until all is here; None: it is
        self._lines: dict[
            str, deque[Arrival]
        ] = {}  # the first of each is at work, ready, or waits for its next attempt
        self._ready: deque[str] = deque()  # keys whose first may run
        self._keys: dict[Delivery, str] = {}
        self._held: set[int] = set()  # their seqs
        self._nth = 0  # of the newest delivery; 0: none is known
        self._again: dict[Delivery, float] = {}  # at work and to be tried again then (`Clock.steady`)
        self._sleeping: dict[str, asyncio.Task[None]] = {}  # by key
        runs.cancels.on_cancel.append(self._wake_cancelled)

    @property
    def _alone(self) -> Callable[[], bool]:
        return lambda: self._leadership.valid

    # -- taking over and giving up

    async def start(self) -> None:
        for control in self._controls:
            await control.start()
        await self.declare()
        if await self._leadership.take():
            await self._take_over()
        self._leading = asyncio.create_task(self._lead_for_ever())

    async def _lead_for_ever(self) -> None:
        while True:
            if not self._leadership.valid:
                await self._leadership.wait()
                try:
                    await self._take_over()
                except LogUnavailable as problem:
                    _log.warning("%s: could not take over (%s); trying again", self.step.name, problem)
                    await self._leadership.release()
                    continue
            await self._leadership.keep()
            _log.warning("%s: another engine may handle it from now on", self.step.name)
            await self._let_go()

    async def _take_over(self) -> None:
        self._gathered = {}
        self._nth = 0
        self._taking = True
        self._consumer = await self._consume(IN_HAND)
        if (await self.runs.services.log.backlog(durable(self.step.name))).in_flight:
            self._sleeping[""] = asyncio.create_task(self._gather())
        else:
            self._open()

    async def _gather(self) -> None:
        """Until everything that is not ended is in our hands."""
        clock, log = self.runs.services.clock, self.runs.services.log
        began = clock.steady()
        while True:
            await clock.pause(LOOK)
            here = len(self._held) + len(
                self._gathered or ()
            )  # before asking: what comes meanwhile is in flight as well
            try:
                backlog = await log.backlog(durable(self.step.name))
            except LogUnavailable:
                began = clock.steady()  # nor could anything come
                continue
            if backlog.in_flight <= here:
                break
            if clock.steady() - max(began, log.in_touch_since) > STRANGER:
                _log.warning("%s: others hold events of it and keep no order", self.step.name)
                break
        del self._sleeping[""]
        self._open()

    def _open(self) -> None:
        gathered, self._gathered = self._gathered or {}, None
        for _, delivery in sorted(gathered.items()):
            self._line_up(delivery)

    async def _let_go(self) -> None:
        """Take nothing more and give back what does not run."""
        self._taking = False
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
        for task in [*self._sleeping.values(), *self._aside]:
            await settled(task)
        self._sleeping.clear()
        self._ready.clear()
        waiting = list((self._gathered or {}).values())
        at_work = set(self._running.values())
        waiting += [a.delivery for line in self._lines.values() for a in line if a.delivery not in at_work]
        for delivery in sorted(waiting, key=lambda d: d.record.seq):
            delivery.nak(0)
            self._forget(delivery)
        self._gathered = {}
        self._lines = {self._keys[d]: deque([a]) for d in at_work for a in [self._lines[self._keys[d]][0]]}

    async def stop(self, grace: float) -> None:
        self._stopping = True
        if self._leading is not None:
            await settled(self._leading)
        await self._let_go()
        await super().stop(grace)
        await self._leadership.release()

    # -- lines

    @property
    def busy(self) -> int:
        """Runs under way or about to be; not those that wait for their time."""
        return len(self._running) - len(self._aside) + len(self._ready)

    @property
    def holds(self) -> int:
        return len(self._gathered or ()) + len(self._keys)

    def touch(self) -> None:
        if self._leadership.valid:
            for delivery in (self._gathered or {}).values():
                delivery.touch()
            for delivery in self._keys:
                delivery.touch()

    def _deliver(self, delivery: Delivery) -> None:
        self.runs.work.set()
        if not self._taking:
            delivery.nak(0)
            return
        seq = delivery.record.seq
        lost, self._nth = self._nth and delivery.nth != self._nth + 1, delivery.nth
        if lost and self._gathered is None:
            # such as what was on its way when the connection broke: it comes again after the ack wait, and what is behind it waits for it
            _log.info("%s: deliveries were lost on their way; what comes now waits for them", self.step.name)
            self._gathered = {}
            self._sleeping[""] = asyncio.create_task(self._gather())
        if seq in self._held:
            if self._consumer is not None:
                self._consumer.resume(1)  # it has its place already, which the broker could not know
        elif self._gathered is not None:
            if self._gathered.pop(seq, None) is not None and self._consumer is not None:
                self._consumer.resume(1)
            self._gathered[seq] = delivery
        else:
            self._line_up(delivery)

    def _line_up(self, delivery: Delivery) -> None:
        arrival = Arrival(delivery, read_input(delivery.record, self._topics), self, self._decode)
        try:
            found = key_of(arrival.value, self._path)
        except Unreadable:
            found = None
        key = f"event {delivery.record.seq}" if found is None else f"key {found}"  # without a key, nothing is before it
        self._keys[delivery] = key
        self._held.add(delivery.record.seq)
        line = self._lines.get(key)
        if line is not None:
            line.append(arrival)
            return
        self._lines[key] = deque([arrival])
        self._ready.append(key)
        self._fill()

    def _fill(self) -> None:
        while (self._returning or self._ready) and self._has_room() and self._leadership.valid and not self._stopping:
            if self._returning:
                self._call_back()
            else:
                self._spawn(self._lines[self._ready.popleft()][0].delivery)

    async def _handle(self, delivery: Delivery) -> None:
        """As any worker, but what could not be ended keeps its place."""
        try:
            await self._work(delivery)
        except asyncio.CancelledError:
            delivery.nak(0)
            if not self._stopping:
                raise
        except LeaseLost as problem:
            _log.warning("%s: %s", self.step.name, problem)
            self._leadership.lose()  # so is all that is lined up: it shall come again, and be put in order anew
            delivery.nak(0)
        except LogUnavailable as problem:
            _log.warning("%s: the broker did not take the outcome of a run (%s); trying again", self.step.name, problem)
            self._again[delivery] = self.runs.services.clock.steady() + OUTAGE_PAUSE
        except Exception:
            _log.exception("%s: the engine failed on record %s; trying again", self.step.name, delivery.record.seq)
            self._again[delivery] = self.runs.services.clock.steady() + OUTAGE_PAUSE

    async def _work(self, delivery: Delivery) -> None:
        await self._process(self._lines[self._keys[delivery]][0])

    def _done(self, task: asyncio.Task[None]) -> None:
        delivery = self._running.pop(task)
        again = self._again.pop(delivery, None)
        key = self._keys[delivery]
        line = self._lines[key]
        if again is not None and not self._stopping and self._leadership.valid:
            self._sleeping[key] = asyncio.get_running_loop().create_task(self._wake(key, again))
        else:
            if again is not None:
                delivery.nak(0)
            self._forget(delivery)
            line.popleft()
            if line:
                self._ready.append(key)
            else:
                del self._lines[key]
            if self._consumer is not None:
                self._consumer.resume(1)
        self._fill()

    def _forget(self, delivery: Delivery) -> None:
        if self._keys.pop(delivery, None) is not None:
            self._held.discard(delivery.record.seq)

    async def _wake(self, key: str, at: float) -> None:
        clock = self.runs.services.clock
        await clock.pause(at - clock.steady())
        del self._sleeping[key]
        self._ready.append(key)
        self._fill()

    def _wake_cancelled(self) -> None:
        """One that waits for its next attempt and was cancelled shall not hold up its line until then."""
        for key, task in list(self._sleeping.items()):
            line = self._lines.get(key)
            if line and self.runs.cancels.hits(line[0].asked.trace.trace_id, self.step.name, line[0].asked.event_id):
                task.cancel()
                del self._sleeping[key]
                self._ready.append(key)
        self._fill()

    # -- attempts

    async def _hand_on(
        self,
        arrival: Arrival,
        attempt: int,
        at: float,
        why: str,
        *,
        slot: str | None = None,
        flushed: int | None = None,
    ) -> None:
        """Not by a record of its own, which would stand at the end of the line."""
        asked = arrival.asked
        flushed = asked.flushed if flushed is None else flushed
        arrival.asked = msgspec.structs.replace(asked, attempt=attempt, flushed=flushed)
        clock = self.runs.services.clock
        self._again[arrival.delivery] = clock.steady() + at - clock.time()

    @property
    def _attempts(self) -> int:
        return self.step.retry.attempts if self.step.order_blocks else 1
