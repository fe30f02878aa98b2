"""READ THIS FIRST: what a control of an event step is, and what it gets.

An `Arrival` is one delivery on its way to its run. Each control either lets it pass (`admit` gives True) or has ended its delivery: dropped
it with a record, or handed it on to come again. Controls are asked in the order of `order.controls_of`, and left in the reverse one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from motia_runtime.bind import Bound
from motia_runtime.ports import Delivery, Record
from motia_runtime.runner import TraceContext
from motia_runtime.runs import Attempt, Runs
from motia_spec.model import EventStep


class Input(msgspec.Struct, frozen=True):
    """What a delivery says about the run it asks for."""

    topic: str
    event_id: str  # the same for all attempts, redrives and subscribers
    attempt: int
    redrives: int
    trace: TraceContext
    first_seen: float  # when the event was first stored, seconds since the epoch
    flushed: int = 0  # early commits that an attempt before has made
    history: str = ""  # of a redriven event: its rounds (`deadletters.rounds_of`)


class Unreadable(Exception):
    """The event itself can't be handed to the handler, so trying again would not help."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Hands(Protocol):
    """What a control may do with an arrival, done by the step's worker. Each of these ends the delivery, but where said."""

    @property
    def step(self) -> EventStep: ...
    @property
    def runs(self) -> Runs: ...

    async def hand_on(self, arrival: Arrival, at: float, *, why: str, slot: str | None = None) -> None:
        """Have this step get the event again at that time, with the same attempt. `why` names the control: an event is handed on
        once for each reason, so that a crash between storing and ending gives one; it then comes with `Arrival.came_by` set to it. With
        a `slot`, it takes the place of what waits there, and comes as often as it is handed on."""

    def drop(self, arrival: Arrival, outcome: str, attempt: Attempt | None = None) -> None:
        """End it without a run. `outcome` is what its record says: "duplicate", "skipped", "cancelled". `attempt`: what was tried."""

    def note(self, arrival: Arrival, outcome: str) -> None:
        """A record of one that was handed on, and does not come again."""

    async def bury(self, arrival: Arrival, kind: str, message: str) -> None:
        """End it as a dead letter. `kind` reads as an error's class: "Expired"."""

    async def fail(self, arrival: Arrival, attempt: Attempt, problem: Exception) -> None:
        """End it as the handler's failure would: a retry by the step's policy, or a dead letter."""

    async def recovered(self, arrival: Arrival) -> bool:
        """True: its effects were true before, or had been planned and are now, and it has ended. False: it goes on."""
        ...

    def alone(self, arrival: Arrival) -> AbstractAsyncContextManager[bool]:
        """To call a function of the user's in. An event that may have killed the process has nothing of its like beside it there. False: it has
        done so often enough, and is buried."""
        ...

    def aside(self) -> AbstractAsyncContextManager[None]:
        """To wait in for another run to end: meanwhile other events take this one's place in the engine. It ends when there is a place again."""
        ...

    def attempt(self, arrival: Arrival) -> Attempt:
        """One at its run, for a control that calls a function of the user's. Ends nothing."""
        ...


class Arrival(msgspec.Struct, eq=False):
    """See the module."""

    delivery: Delivery
    asked: Input
    hands: Hands
    _read: Callable[[str, bytes], Any] | None
    since: float = 0.0  # by `Clock.steady`
    _value: Any = None
    apart: Bound | None = None  # the handler in a process of its own, for an event that may have killed one

    def __post_init__(self) -> None:
        self.since = self.hands.runs.services.clock.steady()

    @property
    def came_by(self) -> str:
        """Why it was handed on (`Hands.hand_on`); empty for what was not."""
        return self.delivery.record.headers.get("Motia-Why", "")

    @property
    def fresh(self) -> bool:
        """False: it may have run before, so its effects may be true."""
        return self.delivery.delivered == 1 and self.asked.attempt == 1 and not self.asked.redrives

    @property
    def record(self) -> Record:
        return self.delivery.record

    @property
    def value(self) -> Any:
        """The event's data, decoded and validated. Raises `Unreadable`; the step's worker buries it then, so let it through."""
        if self._read is not None:
            self._value = self._read(self.asked.topic, self.delivery.record.data)
            self._read = None
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        """What the handler gets instead: a joined set, a list."""
        self._read = None
        self._value = value


class Control(ABC):
    """One control of one step in one engine. Lives as long as the engine; what must outlive it, it keeps in the log."""

    async def start(self) -> None:  # noqa: B027  # most have nothing to start
        """Before the first arrival. Raises `LogUnavailable`."""

    @abstractmethod
    async def admit(self, arrival: Arrival) -> bool:
        """True: it may go on. False: its delivery has been ended, through `arrival.hands`. Raises `LogUnavailable`: the delivery comes again."""

    def leave(self, arrival: Arrival) -> None:  # noqa: B027  # most hold nothing
        """An arrival that was let pass is done with: it ran, failed, or a later control ended it. Called once for each."""

    async def stop(self) -> None:  # noqa: B027  # most have nothing to stop
        """No arrival after this."""
