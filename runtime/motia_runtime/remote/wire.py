"""What engine and workers say to each other: JSON, one object a message. docs/worker-protocol.md explains it, motia_spec/worker.schema.json judges it.

    <prefix>.work.run.<step>     engine to one worker of the step (queue group "work"): `Run`, or a `Claim` for a large one. Reply subject: the run's
    <prefix>.work.to.<id>        worker to engine, the run's: `Ask` (a request), `Say`, `Alive`, then one of `Done`, `Failed`, `Refused`
    <prefix>.work.cancel.<step>  engine to all workers of the step: `Cancel`

Shapes and words are those of `isolation.wire` as far as they go. Effects are lists: what to do, then its arguments, as in an `Ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from motia_runtime.naming import encode

PROTOCOL = 1
QUEUE = "work"  # of the subscriptions to runs
HEARTBEAT = 1.0  # seconds within which a worker says something of each run
LARGEST = 64 << 20  # bytes of a message in pieces
VERSION = "Motia-Protocol"  # metadata of a worker's service
PIECE = "Motia-Piece"  # header of a piece of a message from a worker: "2/5"

Effect: TypeAlias = list[msgspec.Raw]


def run_subject(prefix: str, step: str) -> str:
    return f"{prefix}.work.run.{encode(step)}"


def cancel_subject(prefix: str, step: str) -> str:
    return f"{prefix}.work.cancel.{encode(step)}"


def to_subject(prefix: str, engine: str) -> str:
    """What the subjects of an engine's runs begin with; a number follows."""
    return f"{prefix}.work.to.{engine}."


class Message(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, tag_field="type"):
    """Base of all of them. Fields that a receiver does not know are ignored."""


class Config(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What the spec says of the step."""

    kind: Literal["api", "event", "cron"]
    emits: list[str]
    streams: list[str]  # all of the app
    flows: list[str]


class Started(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True, kw_only=True):
    """What started the run; `handler.Trigger` by its names in JSON."""

    type: str
    topic: str | None = None
    event_id: str | None = None
    due: float | None = None
    method: str | None = None
    path: str | None = None


class Run(Message, tag="run", kw_only=True):
    """Call a function of the step. `input` is what it is called with; a cron handler has none."""

    protocol: int
    run: str  # the same however often it is repeated: ctx.idempotencyKey
    step: str
    function: Literal["handler", "condition"]
    attempt: int
    traceparent: str  # of the run itself: ctx.traceparent
    tracestate: str = ""
    deadline: float  # seconds since the epoch, by the engine's clock
    timeout: float  # seconds that it may take from now on
    heartbeat: float
    trigger: Started
    config: msgspec.Raw  # Config
    input: msgspec.Raw = msgspec.Raw(b"null")


class Claim(Message, tag="claim", kw_only=True):
    """In place of a message that is too large: ask for its pieces with `["piece", claim, i]` and put them together."""

    claim: int
    pieces: int
    size: int
    protocol: int = 0  # of the `Run` that it stands for
    step: str = ""


class Cancel(Message, tag="cancel", kw_only=True):
    """The run of this subject shall end; what it says is heard no more."""

    run: str  # the run's subject
    why: Literal["timeout", "cancelled"]


class Wrong(msgspec.Struct, rename="camel", kw_only=True):
    """One fault of a value; `handler.Fault`."""

    pointer: str
    keyword: str
    detail: str


class Refusal(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An error that the handler shall see where it asked."""

    kind: str  # one of `isolation.failures.KNOWN`
    message: str
    what: str = ""  # of ValidationFailed
    faults: list[Wrong] = []


class Reply(Message, tag="reply", kw_only=True):
    """The answer to an `Ask`."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Refusal | None = None


class Ask(Message, tag="ask", kw_only=True):
    """A request of the handler's. `effects` are those since the last message; they count before it."""

    id: int = 0  # counts up in a run; `Failed.ask` names it
    what: str
    args: list[msgspec.Raw] = []
    effects: list[Effect] = []


class Say(Message, tag="say", kw_only=True):
    """A line of the handler's logger."""

    level: str  # debug, info, warning, error
    message: str
    fields: dict[str, Any] = {}


class Alive(Message, tag="alive", kw_only=True):
    """The run goes on."""


class Result(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What the handler has returned: an answer if it has a status, otherwise its body alone."""

    status: int | None = None
    headers: dict[str, Any] | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")
    base64: bool = False  # the body is a string that holds bytes


class Done(Message, tag="done", kw_only=True):
    """The handler has returned."""

    result: Result | None = None
    effects: list[Effect] = []


class Told(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A `handler.Problem`."""

    status: int
    title: str
    detail: str = ""
    type: str = "about:blank"
    extra: dict[str, Any] = {}


class Failed(Message, tag="failed", kw_only=True):
    """The handler has raised."""

    names: list[str]  # of the error's class and its bases
    message: str
    stack: str = ""  # of the user's frames, innermost last: "steps/pay.ts:7 in handler: throw new Declined(card)"
    final: bool = False  # trying again would not help
    delay: float | None = None  # try again after so many seconds
    ask: int | None = None  # it is the error that this request was refused with
    problem: Told | None = None  # the answer to an api run


class Refused(Message, tag="refused", kw_only=True):
    """The run goes to another worker; nothing of it counts. Also when it was taken before, and the worker has to leave."""

    why: Literal["busy", "draining", "protocol", "unknown"]
    message: str = ""


FromEngine = Run | Claim | Cancel | Reply
FromWorker = Ask | Say | Alive | Done | Failed | Refused

dump: Callable[[Any], bytes] = msgspec.json.Encoder().encode
load_from_worker: Callable[[bytes], FromWorker] = msgspec.json.Decoder(FromWorker).decode
load_from_engine: Callable[[bytes], FromEngine] = msgspec.json.Decoder(FromEngine).decode
