"""READ THIS FIRST: what a spec means, as frozen values. `lower` makes them; everything downstream reads only these.

Durations are seconds (float). Sizes are bytes. Names are the user's own words; encoding them for NATS, Python, DOT or a path
is the business of whoever needs that (one module each). A `Place` on a value is where to point when a rule objects to it.

Schemas: `Project.defs` holds every named or shared JSON Schema once, under a unique key. A `Schema` is self-contained against it:
its `$ref`s are only of the form "#/$defs/KEY" (KEY escaped as in RFC 6901), so `{"$defs": project.defs, **schema.value}` is a
complete JSON Schema 2020-12 document without `$id`, `$anchor` or `$dynamicRef`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from motia_spec.node import JSON
from motia_spec.place import NOWHERE, Place


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all values here."""


class Schema(Value, frozen=True, kw_only=True):
    """A JSON Schema at one site of the spec. `id` is stable and names the generated type's entry in the registry:
    "topic:T", "state:G", "stream:S", "step:N:body", "step:N:query", "step:N:response:201", "step:N:manual", "def:KEY"."""

    id: str
    value: JSON  # a mapping or a boolean
    place: Place = NOWHERE


class Handler(Value, frozen=True, kw_only=True):
    """Where the user's function is. `path` is relative to the project root, forward slashes, never outside it."""

    path: str
    function: str = "handler"
    explicit: bool = False  # written in the spec, rather than derived from the step's name
    place: Place = NOWHERE

    @property
    def language(self) -> Literal["python", "node"]:
        return "python" if self.path.endswith(".py") else "node"


class Retry(Value, frozen=True, kw_only=True):
    """How often and when a failed run is tried again. Attempt n+1 waits delay * 2^(n-1) (exponential), delay * n (linear)
    or delay (fixed), at most `max`; with jitter, between half of that and that."""

    name: str = "default"
    attempts: int = 3  # runs in all, the first included; 1 means never again
    backoff: Literal["exponential", "linear", "fixed"] = "exponential"
    delay: float = 1.0
    max: float = 60.0
    jitter: bool = True
    skip: tuple[str, ...] = ()  # names of exception classes that are not retried


class Emit(Value, frozen=True, kw_only=True):
    topic: str
    label: str = ""
    conditional: bool = False
    place: Place = NOWHERE


class Subscription(Value, frozen=True, kw_only=True):
    kind: Literal["topic", "state", "stream"]
    name: str
    place: Place = NOWHERE


class Topic(Value, frozen=True, kw_only=True):
    name: str
    schema: Schema | None = None  # None: any JSON
    description: str = ""
    external: Literal["in", "out"] | None = None  # in: produced outside this app; out: consumed outside
    place: Place = NOWHERE


class StateGroup(Value, frozen=True, kw_only=True):
    name: str
    schema: Schema | None = None
    description: str = ""
    history: int = 1  # revisions kept, 1 to 64
    ttl: float | None = None
    place: Place = NOWHERE


class Stream(Value, frozen=True, kw_only=True):
    name: str
    schema: Schema | None = None
    description: str = ""
    ttl: float | None = None
    access: Handler | None = None
    place: Place = NOWHERE


class Idempotency(Value, frozen=True, kw_only=True):
    header: str = "Idempotency-Key"
    window: float = 86400.0  # seconds that an answer is kept


class RateLimit(Value, frozen=True, kw_only=True):
    limit: int
    per: float
    key: str = "ip"  # or "global", "header:NAME", "query:NAME", "path:NAME"


class Manual(Value, frozen=True, kw_only=True):
    input: Schema | None = None
    timeout: float | None = None
    on_timeout_topic: str | None = None
    on_timeout_data: JSON = None


class Concurrency(Value, frozen=True, kw_only=True):
    limit: int
    key: str | None = None


class Debounce(Value, frozen=True, kw_only=True):
    wait: float
    max: float | None = None


class Dedupe(Value, frozen=True, kw_only=True):
    key: str
    window: float


class Batch(Value, frozen=True, kw_only=True):
    """The handler gets a list: up to `size` events, or as many as have come `wait` seconds after the first."""

    size: int
    wait: float = 1.0


class Join(Value, frozen=True, kw_only=True):
    """One run when an event of each topic has come for the same value at `by`. The handler gets a mapping from topic to event."""

    topics: tuple[str, ...]
    by: str  # a key path that every topic's schema has
    timeout: float | None = None  # seconds after the first; then the incomplete set becomes a dead letter


class Step(Value, frozen=True, kw_only=True):
    """What all four kinds share."""

    name: str
    description: str = ""
    emits: tuple[Emit, ...] = ()
    virtual_emits: tuple[Emit, ...] = ()  # drawn only
    virtual_subscribes: tuple[str, ...] = ()  # drawn only
    uses_state: tuple[str, ...] = ()
    uses_streams: tuple[str, ...] = ()
    timeout: float = 30.0
    flows: tuple[str, ...] = ()  # as written at the step; `Project.flows` has the result
    place: Place = NOWHERE  # of the step's name


class ApiStep(Step, frozen=True, tag="api", kw_only=True):
    handler: Handler
    methods: tuple[str, ...]  # upper case, without HEAD and OPTIONS unless written
    path: str  # "/orders/{id}"; a parameter is a whole segment; "{rest:path}" as the last segment takes the rest
    body: Schema | None = None
    query: Schema | None = None
    responses: dict[int, Schema] = {}
    middleware: tuple[Handler, ...] = ()  # outermost first, defaults.api before the step's own
    body_limit: int = 1 << 20
    idempotency: Idempotency | None = None
    rate_limit: RateLimit | None = None

    @property
    def path_params(self) -> tuple[str, ...]:
        return tuple(s[1:-1].partition(":")[0] for s in self.path.split("/") if s.startswith("{"))


class EventStep(Step, frozen=True, tag="event", kw_only=True):
    handler: Handler
    subscribes: tuple[Subscription, ...]
    retry: Retry = Retry()
    dead_letter: bool = True
    delay: float = 0.0
    order_by: str | None = None
    order_blocks: bool = True  # a failing event holds up those of its key through its retries; False: it is a dead letter at once, and they go on
    priority: str | None = None  # key path to a number; of the events that wait, the higher goes first
    batch: Batch | None = None
    join: Join | None = None
    concurrency: Concurrency | None = None
    dedupe: Dedupe | None = None
    debounce: Debounce | None = None
    condition: Handler | None = None
    isolation: Literal["none", "process"] = "none"

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.subscribes if s.kind == "topic")

    @property
    def limit(self) -> int | None:
        """Runs at once, over all keys. None: the spec sets no bound."""
        return None if self.concurrency is None or self.concurrency.key else self.concurrency.limit


class CronStep(Step, frozen=True, tag="cron", kw_only=True):
    handler: Handler
    cron: str  # five fields, or six with seconds first; "@daily" and its like are expanded
    timezone: str = "UTC"
    overlap: Literal["skip", "queue", "allow"] = "skip"
    catch_up: float = 0.0
    retry: Retry = Retry()


class NoopStep(Step, frozen=True, tag="noop", kw_only=True):
    """A person or an outside system: drawn, never run. With `manual` each event of its topics is a task that waits for an answer."""

    subscribes: tuple[Subscription, ...] = ()
    manual: Manual | None = None

    @property
    def opens_tasks(self) -> bool:
        return self.manual is not None and any(s.kind == "topic" for s in self.subscribes)


AnyStep = ApiStep | EventStep | CronStep | NoopStep


class Flow(Value, frozen=True, kw_only=True):
    name: str
    description: str = ""
    steps: tuple[str, ...]
    explicit: bool = True  # False: a connected part of the graph that nobody named


class Cors(Value, frozen=True, kw_only=True):
    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()  # empty: those of the route
    headers: tuple[str, ...] = ("content-type", "authorization", "idempotency-key", "traceparent")
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 600


class Server(Value, frozen=True, kw_only=True):
    port: int = 3000
    host: str = "127.0.0.1"
    cors: Cors | None = None
    body_limit: int = 1 << 20
    hosts: tuple[str, ...] = ()  # further Host names that are answered, besides loopback names and `host`
    stream_auth: Handler | None = None


class Nats(Value, frozen=True, kw_only=True):
    url: str = "embedded"
    prefix: str = "motia"  # subjects, streams and buckets of this app; [A-Za-z0-9_-]{1,32}
    port: int = 0  # of the embedded server, on loopback; 0 is any
    durability: Literal["strict", "balanced", "fast"] = "balanced"
    replicas: int = 1
    max_age: float = 7 * 86400.0  # how long events are kept


class Project(Value, frozen=True, kw_only=True):
    """A whole spec, checked. The same spec gives an equal Project, whatever the machine."""

    root: Path
    files: tuple[str, ...]  # every file read, relative to root: watch these
    name: str
    description: str = ""
    fingerprint: str = ""  # hex; changes when anything changes that generated code depends on
    defs: dict[str, JSON] = {}
    schemas: dict[str, Schema] = {}  # the `schemas:` section by name; each value is a $ref into defs
    topics: dict[str, Topic] = {}
    state: dict[str, StateGroup] = {}
    streams: dict[str, Stream] = {}
    steps: dict[str, AnyStep] = {}
    flows: dict[str, Flow] = {}
    secrets: tuple[str, ...] = ()
    server: Server = Server()
    nats: Nats = Nats()

    def all_schemas(self) -> list[Schema]:
        """Every schema site, in a fixed order: schemas, topics, state, streams, then step by step."""
        found = list(self.schemas.values())
        found += [x.schema for group in (self.topics, self.state, self.streams) for x in group.values() if x.schema]
        for step in self.steps.values():
            if isinstance(step, ApiStep):
                found += [s for s in (step.body, step.query, *step.responses.values()) if s]
            elif isinstance(step, NoopStep) and step.manual and step.manual.input:
                found.append(step.manual.input)
        return found
