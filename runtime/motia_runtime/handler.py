"""READ THIS FIRST: all that a handler touches. Generated types refine these; handlers written without types use them as they are.

    async def handler(request: Request, ctx: Context) -> Response | dict | None     # api
    async def handler(data, ctx: Context) -> None                                   # event
    async def handler(ctx: Context) -> None                                         # cron
    async def handler(request: Request, ctx: Context) -> AsyncIterator[Piece]       # api, with `yield`: a streamed answer

Plain functions work as well: they run in a thread and get a context whose methods block instead of being awaited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, TypeAlias

import msgspec
from typing_extensions import TypeVar

B = TypeVar("B", default=Any)
P = TypeVar("P", default=dict[str, str])
Q = TypeVar("Q", default=dict[str, Any])
R = TypeVar("R", default=Any)
V = TypeVar("V", default=Any)


class Model(msgspec.Struct, kw_only=True):
    """Base of generated types: attributes by Python name, and access by wire name as a mapping has it: `order["customerId"]`."""

    def __getitem__(self, key: str) -> Any:
        name = _attributes(type(self)).get(key)
        value = msgspec.UNSET if name is None else getattr(self, name)
        if value is msgspec.UNSET:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        name = _attributes(type(self)).get(key)
        if name is None or name not in self.__struct_fields__:
            named = ", ".join(sorted(self.__struct_encode_fields__))
            raise KeyError(
                f"{type(self).__name__} has no property {key!r} to set (its schema names: {named or 'none'})"
            )
        setattr(self, name, value)

    def __contains__(self, key: object) -> bool:
        name = _attributes(type(self)).get(key) if isinstance(key, str) else None
        return name is not None and getattr(self, name) is not msgspec.UNSET

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> Iterator[str]:
        return (key for key in _attributes(type(self)) if key in self)


_NAMES = "__wire_names__"  # kept on the class itself, so that it goes with the class when a reload drops it


def _attributes(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Wire name to attribute, in the order in which they are encoded: the tag of a tagged union's member first."""
    found: dict[str, str] | None = kind.__dict__.get(_NAMES)
    if found is None:
        tag = kind.__struct_config__.tag_field
        found = {tag: tag} if tag is not None and hasattr(kind, tag) else {}
        found |= zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        setattr(kind, _NAMES, found)
    return found


class StateChange(Model, Generic[V]):
    """What a step that subscribes to a state group gets: one change of one key."""

    group: str
    key: str
    value: V | None  # None: deleted, or its ttl is over
    previous: V | None  # of the revision before; None: there was none, or it isn't kept (a group with `ttl`)


class StreamChange(Model, Generic[V]):
    """What a step that subscribes to a stream gets: one change of one item."""

    stream: str
    group: str
    id: str
    value: V | None  # None: deleted, or its ttl is over
    previous: V | None  # of the revision before; None: there was none, or it isn't kept (a stream with `ttl`)


class Request(Generic[B, P, Q]):
    """One HTTP request, decoded and validated. Lives as long as its run."""

    __slots__ = ("body", "headers", "method", "path", "path_params", "query_params", "raw_body")

    _raw_headers: list[tuple[bytes, bytes]] | None = None  # as they came, of a request over HTTP

    body: B  # validated when the step has `body`; else parsed JSON, text, or None when empty or binary
    path_params: P
    query_params: Q  # with `query`: validated, typed, defaults filled in; else str, or list[str] for a repeated name
    headers: dict[str, str]  # lower-case names; repeated ones joined by ", "
    raw_body: bytes
    method: str
    path: str

    def __init__(
        self, body: B, path_params: P, query_params: Q, headers: dict[str, str], raw_body: bytes, method: str, path: str
    ) -> None:
        self.body = body
        self.path_params = path_params
        self.query_params = query_params
        self.headers = headers
        self.raw_body = raw_body
        self.method = method
        self.path = path

    def _sent_headers(self) -> dict[str, str]:
        """A new dict of the headers, whatever the handler has done to its own."""
        return dict(self.headers)


class Response(Generic[R]):
    """An answer. `{"status": 201, "headers": {...}, "body": ...}` means the same. bytes are sent as they are, str as text, else JSON."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: R = None, status: int = 200, headers: Mapping[str, str] | None = None) -> None:  # type: ignore[assignment]  # R may be None
        self.body = body
        self.status = status
        self.headers = headers


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event of an answer of `text/event-stream`, as https://html.spec.whatwg.org/#server-sent-events has it. Raises ValueError for what its
    lines can't hold."""

    data: Any = None  # str as it is, anything else as JSON; None: the event has none, and browsers skip it
    event: str = ""  # its type; browsers take an event without one for "message"
    id: str = ""  # what a client that comes back says it saw last, in the header Last-Event-ID
    retry: float | None = None  # seconds that a client waits before it comes back
    comment: str = ""  # for nobody: keeps a silent connection open

    def __post_init__(self) -> None:
        for name, value in (("event", self.event), ("id", self.id)):
            if not isinstance(value, str) or any(c in value for c in "\r\n\0"):
                raise ValueError(f"the {name} of a ServerSentEvent is a str without line breaks and NUL, not {value!r}")
        if self.retry is not None and not 0 <= self.retry < 1e9:
            raise ValueError(f"the retry of a ServerSentEvent is a number of seconds, not {self.retry!r}")


Piece: TypeAlias = (
    bytes | str | ServerSentEvent | Response[None]
)  # what a handler that streams yields; a Response only as the first


class Trigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What started this run."""

    type: Literal["api", "event", "cron", "manual"]
    topic: str | None = None  # event
    event_id: str | None = None  # event: the same in every attempt and for every subscriber
    due: float | None = None  # cron: when it was due, seconds since the epoch
    method: str | None = None  # api
    path: str | None = None  # api


class Problem(Exception):  # the word of RFC 9457
    """Answer an api request with RFC 9457 problem details: `raise Problem(404, "no such order")`. Nothing is committed."""

    def __init__(self, status: int, title: str, detail: str = "", *, type: str = "about:blank", **extra: Any) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.extra = extra


class NonRetryable(Exception):  # states what to do with it
    """Trying again would not help: the event becomes a dead letter at once. Raise it, or derive your own from it."""


class RetryLater(Exception):  # states what to do with it
    """Not now: try this event again after `delay` seconds, instead of when the policy says. Counts as a failed attempt."""

    def __init__(self, delay: float, message: str = "") -> None:
        if not delay >= 0:
            raise ValueError(f"RetryLater: the delay is at least 0 seconds, not {delay!r}")
        super().__init__(message or f"to be tried again in {delay:g} s")
        self.delay = delay


class InvalidTopic(ValueError):
    """A step may emit only the topics its spec declares. Add the topic to the step's `emits`."""


class InvalidKey(ValueError):
    """A state key is a string of 1 to 512 bytes of UTF-8, and a group one of 1 to 128."""


class InvalidHeader(ValueError):
    """A header name is a token of RFC 9110 and its value holds no control characters; names starting with "Nats-" and "Motia-" are ours."""


class TooManyEffects(RuntimeError):
    """A run may have 1,000 effects. Emit fewer, larger events, or commit in between with `ctx.flush()`."""


class ReadOnly(RuntimeError):
    """A condition says yes or no and changes nothing: emits and writes belong in the handler."""

    def __init__(self, what: str) -> None:
        super().__init__(f"a condition changes nothing, and {what}; do that in the handler")


class ValidationFailed(ValueError):
    """A value does not fit its schema. `faults` lists every fault with its JSON Pointer."""

    def __init__(self, what: str, faults: list[Fault]) -> None:
        super().__init__(f"{what}: " + "; ".join(f"{f.pointer or '/'} {f.detail}" for f in faults))
        self.what = what
        self.faults = faults


class Fault(msgspec.Struct, frozen=True):
    """One fault of a value: where (JSON Pointer, RFC 6901), which keyword of the schema, and what is wrong."""

    pointer: str
    keyword: str
    detail: str
