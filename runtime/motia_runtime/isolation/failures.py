"""Errors that cross between the app and its worker processes.

Exception
└── Elsewhere                what went wrong in a worker process
    ├── WorkerDied           the process itself ended
    └── HandlerFailed        the handler raised
        ├── FailedForGood    a NonRetryable, too
        └── FailedForNow     a RetryLater, too
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from motia_runtime.handler import (
    InvalidHeader,
    InvalidKey,
    InvalidTopic,
    NonRetryable,
    RetryLater,
    TooManyEffects,
    ValidationFailed,
)
from motia_runtime.isolation.wire import Failed, Refusal
from motia_runtime.ports import Conflict, LogUnavailable, TooLarge
from motia_runtime.runlog import in_words
from motia_runtime.stacks import MESSAGE_LENGTH, user_stack


class Elsewhere(Exception):
    """Something went wrong in a worker process. `names`: the error's class and its bases; `stack`: the user's frames, innermost last."""

    def __init__(self, message: str, names: tuple[str, ...], stack: str = "") -> None:
        Exception.__init__(self, message)  # not the next in line: a `RetryLater` begins with its delay
        self.names = names
        self.stack = stack


class WorkerDied(Elsewhere):
    """The process of the handler ended while it ran. Find out what ended it (the message names the signal or the exit code): a crash in native
    code, too little memory, a kill from outside."""

    def __init__(self, message: str, stack: str = "") -> None:
        super().__init__(message, ("WorkerDied", "Exception"), stack)


class NotBegun(WorkerDied):
    """The process had died before, while it waited: the run can go to another one."""


class HandlerFailed(Elsewhere):
    """The handler raised, in its process."""


class FailedForGood(HandlerFailed, NonRetryable):
    """Trying again would not help."""


class FailedForNow(HandlerFailed, RetryLater):
    """To be tried again after `delay` seconds."""


def raised(failed: Failed, refused: Mapping[int, Exception]) -> Exception:
    """The error to raise here for one over there. `refused`: the errors that its requests met with; what the engine itself must see of these (a
    conflict, a broker that is away) is given as it was."""
    first = refused.get(failed.ask) if failed.ask is not None else None
    if isinstance(first, (Conflict, LogUnavailable)):
        return first
    kind = FailedForGood if failed.final else HandlerFailed
    if failed.delay is None:
        return kind(failed.message, tuple(failed.names), failed.stack)
    later = FailedForNow(failed.message, tuple(failed.names), failed.stack)
    later.delay = max(0.0, failed.delay)
    return later


KNOWN: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        Conflict,
        InvalidHeader,
        InvalidKey,
        InvalidTopic,
        KeyError,
        LogUnavailable,
        TooLarge,
        TooManyEffects,
        TypeError,
        ValidationFailed,
        ValueError,
    )
}  # what a handler may want to catch


def refusal(problem: Exception) -> Refusal:
    """An error of the app's as the handler shall see it: of the nearest class that both sides know."""
    if isinstance(problem, ValidationFailed):
        return Refusal("ValidationFailed", "", problem.what, problem.faults)
    words = str(problem.args[0]) if isinstance(problem, KeyError) and problem.args else str(problem)
    for kind in type(problem).__mro__:
        if KNOWN.get(kind.__name__) is kind:
            return Refusal(kind.__name__, words)
    return Refusal("RuntimeError", f"{type(problem).__name__}: {words}")


def refused(refusal: Refusal, ask: int) -> Exception:
    """The other way round, where the handler runs. `ask`: the request that was refused."""
    if refusal.kind == "ValidationFailed":
        problem: Exception = ValidationFailed(refusal.what, refusal.faults)
    else:
        problem = KNOWN.get(refusal.kind, RuntimeError)(refusal.message)
    vars(problem)["motia_ask"] = ask
    return problem


def failed(run: int, problem: BaseException, root: Path) -> Failed:
    """What is said of an error that a handler has raised, where it runs. `root`: of the project, whose frames are named."""
    return Failed(
        run,
        [kind.__name__ for kind in type(problem).__mro__],
        in_words(problem)[:MESSAGE_LENGTH],
        user_stack(problem, root),
        final=isinstance(problem, NonRetryable),
        delay=float(problem.delay) if isinstance(problem, RetryLater) else None,
        ask=vars(problem).get("motia_ask"),
    )


def ending(code: int | None) -> str:
    """How a process ended, in words: "was killed by SIGSEGV", "ended with exit code 3"."""
    if code is None:
        return "broke its connection to the app"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
