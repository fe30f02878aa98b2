"""The `steps:` section as steps of the model."""

from __future__ import annotations

from typing import Any, Literal, cast

from motia_spec import cron, routes
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.handlers import Handlers
from motia_spec.model import (
    AnyStep,
    ApiStep,
    Batch,
    Concurrency,
    CronStep,
    Debounce,
    Dedupe,
    Emit,
    EventStep,
    Handler,
    Idempotency,
    Join,
    Manual,
    NoopStep,
    RateLimit,
    Retry,
    Schema,
    Server,
    Subscription,
)
from motia_spec.names import pascal, snake
from motia_spec.node import MapNode
from motia_spec.place import Place
from motia_spec.policies import Values
from motia_spec.schemas import Schemas
from motia_spec.tree import Cursor, Word


class StepLowering:
    """Reads the steps of one spec. `found` receives what is wrong with them."""

    def __init__(
        self,
        spec: Cursor,
        values: Values,
        schemas: Schemas,
        handlers: Handlers,
        server: Server,
        found: list[Diagnostic],
    ) -> None:
        self._section = spec.map("steps")
        self._values = values
        self._schemas = schemas
        self._handlers = handlers
        self._found = found
        defaults = spec.map("defaults")
        self._timeout = values.timeout(defaults, "timeout", 30.0)
        self._retry = values.retry(defaults, Retry())
        self._middleware = self._functions(defaults.map("api"), "middleware")
        self._body_limit = values.size(defaults.map("api"), "bodyLimit", server.body_limit)

    def steps(self) -> dict[str, AnyStep]:
        kinds = {"api": self._api, "event": self._event, "cron": self._cron, "noop": self._noop}
        found: dict[str, AnyStep] = {}
        for name, place, at in self._section.maps():
            make = kinds.get(at.text("type"))
            if make is not None:  # the spec's schema has reported any other type
                found[name] = make(at, self._common(name, place, at))
        return found

    def _common(self, name: str, place: Place, at: Cursor) -> dict[str, Any]:
        uses = at.map("uses")
        return {
            "name": name,
            "place": place,
            "description": at.text("description"),
            "emits": self._emits(at, "emits"),
            "virtual_emits": self._emits(at, "virtualEmits"),
            "virtual_subscribes": tuple(dict.fromkeys(word.text for word in at.words("virtualSubscribes"))),
            "uses_state": tuple(dict.fromkeys(word.text for word in uses.words("state"))),
            "uses_streams": tuple(dict.fromkeys(word.text for word in uses.words("streams"))),
            "timeout": self._values.timeout(at, "timeout", self._timeout),
            "flows": tuple(dict.fromkeys(word.text for word in at.words("flows"))),
        }

    def _api(self, at: Cursor, common: dict[str, Any]) -> AnyStep:
        name = common["name"]
        return ApiStep(
            **common,
            handler=self._handler(name, common["place"], at),
            methods=tuple(dict.fromkeys(word.text.upper() for word in at.words("method"))) or ("GET",),
            path=self._path(at),
            body=self._schema(name, at, "body"),
            query=self._schema(name, at, "query"),
            responses=self._responses(name, at.map("responses")),
            middleware=(*self._middleware, *self._functions(at, "middleware")),
            body_limit=self._values.size(at, "bodyLimit", self._body_limit),
            idempotency=self._idempotency(at.map("idempotency")) if "idempotency" in at else None,
            rate_limit=self._rate_limit(at.map("rateLimit")) if "rateLimit" in at else None,
        )

    def _event(self, at: Cursor, common: dict[str, Any]) -> AnyStep:
        subscribes = self._subscribes(at)
        order = order_key(at)
        return EventStep(
            **common,
            handler=self._handler(common["name"], common["place"], at),
            subscribes=subscribes,
            retry=self._values.retry(at, self._retry),
            dead_letter=at.flag("deadLetter", True),
            delay=self._values.seconds(at, "delay", 0.0),
            order_by=order.text if order else None,
            order_blocks=at.map("orderBy").text("onFailure", "block") == "block",
            priority=at.text("priority") or None,
            batch=self._batch(at.map("batch")) if "batch" in at else None,
            join=self._join(at.map("join"), subscribes) if "join" in at else None,
            concurrency=self._concurrency(at.map("concurrency")) if "concurrency" in at else None,
            dedupe=self._dedupe(at.map("dedupe")) if "dedupe" in at else None,
            debounce=self._debounce(at.map("debounce")) if "debounce" in at else None,
            condition=self._function(at.word("condition")),
            isolation=cast(Literal["none", "process"], at.text("isolation", "none")),
        )

    def _batch(self, at: Cursor) -> Batch:
        return Batch(size=at.whole("size", 1), wait=self._values.seconds(at, "wait", 1.0))

    def _join(self, at: Cursor, subscribes: tuple[Subscription, ...]) -> Join:
        """Of all subscribed topics, whatever `topics` says: rules.unfit_join reports a difference."""
        zero = "no join would ever be complete"
        timeout = self._values.timeout(at, "timeout", 3600.0, zero=zero) if "timeout" in at else None
        topics = tuple(s.name for s in subscribes if s.kind == "topic")
        return Join(topics=topics, by=at.text("by"), timeout=timeout)

    def _concurrency(self, at: Cursor) -> Concurrency:
        return Concurrency(limit=at.whole("limit", 1), key=at.text("key") or None)

    def _dedupe(self, at: Cursor) -> Dedupe:
        window = self._values.timeout(at, "window", 3600.0, zero="no event would ever be a duplicate")
        return Dedupe(key=at.text("key"), window=window)

    def _debounce(self, at: Cursor) -> Debounce:
        return Debounce(wait=self._values.seconds(at, "wait", 1.0), max=self._values.seconds_or_none(at, "max"))

    def _cron(self, at: Cursor, common: dict[str, Any]) -> AnyStep:
        expression, zone = at.text("cron"), at.text("timezone", "UTC")
        try:
            cron.zone(zone)
        except cron.BadZone as fault:
            self._error("M413", at, "timezone", str(fault))
            zone = "UTC"
        try:
            expression = cron.parse(expression, zone).expression
        except cron.BadCron as fault:
            self._error("M411", at, "cron", str(fault), hint='write "0 2 * * *" for every night at two, or @hourly')
        return CronStep(
            **common,
            handler=self._handler(common["name"], common["place"], at),
            cron=expression,
            timezone=zone,
            overlap=cast(Literal["skip", "queue", "allow"], at.text("overlap", "skip")),
            catch_up=self._values.seconds(at, "catchUp", 0.0),
            retry=self._values.retry(at, self._retry),
        )

    def _noop(self, at: Cursor, common: dict[str, Any]) -> AnyStep:
        return NoopStep(
            **common,
            subscribes=self._subscribes(at),
            manual=self._manual(common["name"], at.map("manual")) if "manual" in at else None,
        )

    def _manual(self, name: str, at: Cursor) -> Manual:
        late = at.map("onTimeout")
        data = late.get("data")
        return Manual(
            input=self._site(f"step:{name}:manual", f"{name}Input", at, "input"),
            timeout=self._values.seconds_or_none(at, "timeout"),
            on_timeout_topic=late.text("topic") or None,
            on_timeout_data=None if data is None else data.plain(),
        )

    def _idempotency(self, at: Cursor) -> Idempotency:
        plain = Idempotency()
        window = self._values.timeout(at, "window", plain.window, zero="no answer would be kept")
        return Idempotency(header=at.text("header", plain.header), window=window)

    def _rate_limit(self, at: Cursor) -> RateLimit:
        per = self._values.timeout(at, "per", 1.0, zero="the limit would never hold")
        return RateLimit(limit=at.whole("limit", 1), per=per, key=at.text("key", "ip"))

    def _schema(self, name: str, at: Cursor, key: str) -> Schema | None:
        return self._site(f"step:{name}:{key}", f"{name}{pascal(key)}", at, key)

    def _responses(self, name: str, at: Cursor) -> dict[int, Schema]:
        found = {}
        for status, _, _ in at.maps():
            schema = self._site(f"step:{name}:response:{status}", f"{name}Response{status}", at, status)
            if schema is not None and status.isdecimal():
                found[int(status)] = schema
        return found

    def _site(self, id: str, label: str, at: Cursor, key: str) -> Schema | None:
        node = at.get(key)
        return None if node is None else self._schemas.site(id, label, node, at.at(key))

    def _path(self, at: Cursor) -> str:
        try:
            return routes.canonical(at.text("path", "/"))
        except routes.BadPath as fault:
            self._error("M402", at, "path", str(fault))
        except routes.ReservedPath as fault:
            self._error("M403", at, "path", str(fault), hint="choose another first segment, such as /api")
        return "/"

    def _handler(self, name: str, place: Place, at: Cursor) -> Handler:
        word = at.word("handler")
        handler = self._handlers.default(name, place, at.path) if word is None else self._handlers.named(word)
        if isinstance(handler, Handler):
            return handler
        self._found.append(handler)
        return Handler(path=f"steps/{snake(name)}.py", place=place)  # stands in: with an error there is no project

    def _functions(self, at: Cursor, key: str) -> tuple[Handler, ...]:
        found = (self._function(word) for word in at.words(key))
        return tuple(handler for handler in found if handler is not None)

    def _function(self, word: Word | None) -> Handler | None:
        if word is None:
            return None
        handler = self._handlers.named(word)
        if isinstance(handler, Handler):
            return handler
        self._found.append(handler)
        return None

    def _emits(self, at: Cursor, key: str) -> tuple[Emit, ...]:
        found: dict[str, Emit] = {}
        for node, path in at.items(key):
            if isinstance(node, MapNode):
                item = Cursor(node, path)
                topic, label, conditional = item.text("topic"), item.text("label"), item.flag("conditional", False)
                place = item.place("topic")
            else:
                topic, label, conditional, place = str(node.plain()), "", False, node.place
            found.setdefault(topic, Emit(topic=topic, label=label, conditional=conditional, place=place))
        return tuple(found.values())

    def _subscribes(self, at: Cursor) -> tuple[Subscription, ...]:
        found: dict[tuple[str, str], Subscription] = {}
        for node, path in at.items("subscribes"):
            kind: Literal["topic", "state", "stream"] = "topic"
            name, place = "", node.place
            if isinstance(node, MapNode):
                item = Cursor(node, path)
                for word in ("state", "stream"):
                    if word in item:
                        kind, name, place = word, item.text(word), item.place(word)
            else:
                name = str(node.plain())
            found.setdefault((kind, name), Subscription(kind=kind, name=name, place=place))
        return tuple(found.values())

    def _error(self, code: str, at: Cursor, key: str, message: str, hint: str = "") -> None:
        self._found.append(error(code, at.place(key), message, hint=hint, path=at.at(key)))


def order_key(at: Cursor) -> Word | None:
    """The key of an event step's `orderBy`, in its short form or its long one."""
    return at.word("orderBy") or at.map("orderBy").word("key")
