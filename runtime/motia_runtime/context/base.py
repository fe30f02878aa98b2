"""What every context has, whichever kind of function it is for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict

from motia_runtime.handler import Trigger
from motia_runtime.runlog import RunLogger
from motia_runtime.trace import format_parent

if TYPE_CHECKING:
    from motia_runtime.effects import Unit


class Emission(TypedDict):
    """The original's form of an emit: `await ctx.emit({"topic": "order.created", "data": order})`."""

    topic: str
    data: Any


class StreamEvent(TypedDict):
    """The original's form of what `send` sends."""

    type: str
    data: Any


class Channel(TypedDict):
    """The original's form of where it goes: a group, or one item of it."""

    groupId: str
    id: NotRequired[str]


class Secrets(Mapping[str, str]):
    """The environment variables that the spec declares under `secrets`. Values are read when asked for, and never printed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            declared = ", ".join(self._names) or "none"
            raise KeyError(
                f"{name} is not a secret of this app (declared: {declared}); add it under `secrets` in the spec"
            )
        try:
            return os.environ[name]
        except KeyError:
            raise KeyError(f"the secret {name} is not set; set the environment variable {name}") from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in os.environ)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._names)})"


class Running(Protocol):
    """The attempt behind a context (`runs.Attempt`)."""

    @property
    def step(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...
    @property
    def tracestate(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def trigger(self) -> Trigger: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def logger(self) -> RunLogger: ...
    @property
    def run_id(self) -> str: ...
    @property
    def unit(self) -> Unit: ...


class BaseContext:
    """What every context has."""

    __slots__ = ("_run",)

    def __init__(self, run: Running) -> None:
        self._run = run

    @property
    def trace_id(self) -> str:
        """32 hex digits, the same for all runs that descend from one trigger."""
        return self._run.trace_id

    @property
    def traceparent(self) -> str:
        """The header of that name (W3C Trace Context) for calls to other services: what they record hangs below this run."""
        return format_parent(self._run.trace_id, self._run.span_id)

    @property
    def tracestate(self) -> str:
        """The header that goes with `traceparent`, as the request or the event brought it. Empty: send none."""
        return self._run.tracestate

    @property
    def step(self) -> str:
        return self._run.step

    @property
    def attempt(self) -> int:
        """1 the first time."""
        return self._run.number

    @property
    def trigger(self) -> Trigger:
        return self._run.trigger

    @property
    def secrets(self) -> Secrets:
        return self._run.secrets

    @property
    def logger(self) -> RunLogger:
        """Lines that belong to this run: `ctx.logger.info("charged", amount=12)`."""
        return self._run.logger

    @property
    def topic(self) -> str | None:
        """The topic of the event that is handled; None when it was not an event."""
        return self.trigger.topic

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt and redelivery of this run: pass it to outside services, so that they can ignore repeats."""
        return self._run.run_id

    def new_id(self) -> str:
        """A new id, unique and ordered by time (UUID version 7 as text)."""
        return new_id()


def new_id() -> str:
    """A UUID version 7 (RFC 9562) as text: 48 bits of milliseconds, then 74 random bits."""
    import time
    import uuid

    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64  # version 7
    value = value & ~(0xC000 << 48) | 0x8000 << 48  # variant of RFC 9562
    return str(uuid.UUID(int=value))
