"""What the app and a worker process say to each other: msgpack, each message after four bytes of length (big-endian).

The app writes to the process's stdin and reads its stdout; what the handler prints goes to stderr (`child`). State, stream items and events cross as
JSON texts, so that both sides decode them into the types of the spec. The app takes nothing on trust: what can't be decoded ends the process. Only
what the app sends is pickled in part: the project, and what the handler is called with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from motia_runtime.handler import Fault, Trigger

HEAD = 4  # bytes of length before each message
LARGEST = 64 << 20  # bytes of a message from a worker process


class Hello(msgspec.Struct, tag="hello", array_like=True):
    """App to process, first: who you are."""

    project: bytes  # pickled `Project`
    step: str
    path: list[str]  # sys.path of the app
    parent: int  # pid of the app; 0 when the kernel can't watch it, since it was not its main thread that started this process


class Run(msgspec.Struct, tag="run", array_like=True):
    """App to process: run the handler. The next one comes after `Done` or `Failed`."""

    number: int
    args: bytes  # packed by `inputs`
    run_id: str
    trace_id: str
    attempt: int
    trigger: Trigger
    span_id: str
    tracestate: str


class Refusal(msgspec.Struct, array_like=True):
    """An error that the handler shall see where it asked."""

    kind: str  # one of `failures.KNOWN`
    message: str
    what: str = ""  # of ValidationFailed
    faults: list[Fault] = []


class Reply(msgspec.Struct, tag="reply", array_like=True):
    """App to process: the answer to an `Ask`."""

    id: int
    value: Any = None
    refusal: Refusal | None = None


class Ready(msgspec.Struct, tag="ready", array_like=True):
    """Process to app: the handler is imported."""


class Broken(msgspec.Struct, tag="broken", array_like=True):
    """Process to app: the handler can't be loaded, for this reason."""

    message: str


class Begun(msgspec.Struct, tag="begun", array_like=True):
    """Process to app: from now on, the handler may have done something."""

    run: int


class Ask(msgspec.Struct, tag="ask", array_like=True):
    """Process to app: what the handler wants of `ctx`. Each gets a `Reply`."""

    run: int
    id: int
    what: str  # one of those in `requests`
    args: list[Any]


class Say(msgspec.Struct, tag="say", array_like=True):
    """Process to app: a line of `ctx.logger`."""

    run: int
    level: str
    message: str
    fields: dict[str, Any]


class Done(msgspec.Struct, tag="done", array_like=True):
    """Process to app: the handler has returned."""

    run: int


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """Process to app: the handler has raised."""

    run: int
    names: list[str]  # of the error's class and its bases
    message: str
    stack: str
    final: bool = False  # it is a `NonRetryable`
    delay: float | None = None  # of `RetryLater`
    ask: int | None = None  # it is the error that this `Ask` was refused with


FromApp = Hello | Run | Reply
FromProcess = Ready | Broken | Begun | Ask | Say | Done | Failed

_encode = msgspec.msgpack.Encoder().encode
decode_from_app: Callable[[bytes], FromApp] = msgspec.msgpack.Decoder(FromApp).decode
decode_from_process: Callable[[bytes], FromProcess] = msgspec.msgpack.Decoder(FromProcess).decode


def framed(message: FromApp | FromProcess) -> bytes:
    """A message as it is sent. Raises TypeError for values that msgpack can't say."""
    data = _encode(message)
    return len(data).to_bytes(HEAD, "big") + data
