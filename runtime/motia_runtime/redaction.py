"""What records of runs never hold: values of `secrets`, properties with `x-sensitive: true`, headers and query parameters that carry credentials.

What is left out reads "***". A schema without `x-sensitive` costs nothing; one with it costs a decoding and an encoding of the value, when its
run has ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from motia_runtime.handler import Request
from motia_runtime.logs import Mask
from motia_runtime.runner import is_json, text_of
from motia_spec.keywords import SENSITIVE
from motia_spec.model import ApiStep, Project, Schema
from motia_spec.node import JSON

HIDDEN = "***"
BACKSLASH, NEWLINE, RETURN = b"\\\n\r"
PAYLOAD = 4 * 1024  # bytes kept of a payload
LARGEST = (
    256 * 1024
)  # bytes of a payload that is looked through for sensitive properties; of a larger one nothing is kept
LONGEST_VALUE = 1024  # characters kept of a header
KNOWN_HEADS, KNOWN_HEADERS = 128, 2_000  # that are remembered as they are kept
DEEPEST = 64  # levels of a value that are looked through; below, all is hidden

NOTHING = msgspec.Raw()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_CREDENTIAL = re.compile(
    r"auth(?!ors?$)|cookie|token|secret|passw|pwd|session|signature|credential|private|jwt|(api|access|subscription|function)[-_]?key|^key$",
    re.IGNORECASE,
)
_IN_PLACE = ("allOf", "anyOf", "oneOf")
_BRANCHES = ("then", "else")
_POINTER = "#/$defs/"
_IN_URL = re.compile(rb"://[^\s/@'\"<>]+@")
_THEIRS = ("input", "data", "before", "fields")  # members of a record that are users' values
_OWN = frozenset(("trace_id", "span_id", "parent_id", "replay_of", "step", "trigger", "outcome", "events", "batch"))


def is_credential(name: str) -> bool:
    """Whether a header or a query parameter of this name carries what nobody else shall see: authorization, cookie, set-cookie, x-api-key, ..."""
    return _CREDENTIAL.search(name) is not None


class Rule:
    """What to hide in values of one schema."""

    def __init__(self, schema: JSON, defs: Mapping[str, JSON]) -> None:
        self.schema = schema
        self._defs = defs
        self._patterns: dict[str, re.Pattern[str]] = {}

    def hide(self, value: Any) -> Any:
        """A copy of a plain JSON value with what is sensitive replaced. In doubt (a branch that may apply) it is."""
        return self._hide(value, [self.schema], 0)

    def _hide(self, value: Any, schemas: list[JSON], depth: int) -> Any:
        every = self._applied(schemas)
        if any(schema.get(SENSITIVE) is True for schema in every) or (
            depth > DEEPEST and isinstance(value, dict | list)
        ):
            return HIDDEN
        if not every:
            return value
        if isinstance(value, dict):
            return {key: self._hide(item, self._of_property(key, every), depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._hide(item, _of_item(place, every), depth + 1) for place, item in enumerate(value)]
        return value

    def _applied(self, schemas: Iterable[JSON]) -> list[dict[str, Any]]:
        """All schemas that say something of the value itself."""
        found: list[dict[str, Any]] = []
        waiting: list[Any] = list(schemas)
        seen = set()
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            found.append(schema)
            for keyword in _IN_PLACE:
                waiting += schema.get(keyword, ())
            waiting += [schema[keyword] for keyword in _BRANCHES if keyword in schema]
            waiting += schema.get("dependentSchemas", {}).values()
            reference = schema.get("$ref")
            if isinstance(reference, str) and reference.startswith(_POINTER):
                key = reference.removeprefix(_POINTER).replace("~1", "/").replace("~0", "~")
                waiting.append(self._defs.get(key))
        return found

    def _of_property(self, name: str, schemas: list[dict[str, Any]]) -> list[JSON]:
        found: list[JSON] = []
        for schema in schemas:
            named = schema.get("properties", {})
            fitting = [named[name]] if name in named else []
            fitting += [of for pattern, of in schema.get("patternProperties", {}).items() if self._fits(pattern, name)]
            if not fitting:
                fitting = [schema.get(keyword) for keyword in ("additionalProperties", "unevaluatedProperties")]
            found += fitting
        return found

    def _fits(self, pattern: str, name: str) -> bool:
        if pattern not in self._patterns:
            self._patterns[pattern] = re.compile(pattern)
        return self._patterns[pattern].search(name) is not None


def _of_item(place: int, schemas: list[dict[str, Any]]) -> list[JSON]:
    found: list[JSON] = []
    for schema in schemas:
        first = schema.get("prefixItems", ())
        found.append(first[place] if place < len(first) else schema.get("items"))
        found += [schema.get(keyword) for keyword in ("contains", "unevaluatedItems")]
    return found


def _is_sensitive(schema: JSON, defs: Mapping[str, JSON], seen: set[str]) -> bool:
    """Whether `x-sensitive` is anywhere in a schema or in what it refers to."""
    if isinstance(schema, list):
        return any(_is_sensitive(each, defs, seen) for each in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get(SENSITIVE) is True:
        return True
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        key = reference.removeprefix(_POINTER).replace("~1", "/").replace("~0", "~")
        if _is_sensitive(defs.get(key), defs, seen):
            return True
    return any(_is_sensitive(each, defs, seen) for each in schema.values())


class Redaction:
    """What to hide of one version of an app."""

    def __init__(self, project: Project, environ: Mapping[str, str] | None = None) -> None:
        self._defs = project.defs
        self.topics = self._rules({t.name: t.schema for t in project.topics.values()})
        self.state = self._rules({g.name: g.schema for g in project.state.values()})
        self.streams = self._rules({s.name: s.schema for s in project.streams.values()})
        self.queries = self._rules({s.name: s.query for s in project.steps.values() if isinstance(s, ApiStep)})
        self.bodies = self._rules({s.name: s.body for s in project.steps.values() if isinstance(s, ApiStep)})
        environ = os.environ if environ is None else environ
        self._mask = Mask.of(project, environ)
        self._known: frozenset[str] = frozenset()
        self._secrets: tuple[bytes, ...] = ()  # of `_known`, as JSON has them
        self._names: dict[str, bool] = {}  # of headers and parameters that were seen: does it carry a credential
        self._heads: dict[tuple[tuple[bytes, bytes], ...], msgspec.Raw] = {}  # those of the last requests
        self._last: list[tuple[bytes, bytes]] | None = None  # headers of the very last one,
        self._last_head = NOTHING  # and how they are kept
        self._lines: dict[tuple[bytes, bytes], bytes] = {}  # their headers as they are kept, JSON without braces
        self._sources: dict[str, Rule | None] = {}

    def _rules(self, schemas: Mapping[str, Schema | None]) -> dict[str, Rule]:
        return {
            name: Rule(schema.value, self._defs)
            for name, schema in schemas.items()
            if schema is not None and _is_sensitive(schema.value, self._defs, set())
        }

    def input_of(self, source: str | None) -> Rule | None:
        """For what a step is given (`inputs`): an event of a topic, a change of state or of a stream, a set of a join."""
        if source is None or ":" not in source:
            return self.topics.get(source or "")
        if source not in self._sources:
            kind, _, names = source.partition(":")
            rules = {"state": self.state, "stream": self.streams, "join": self.topics}.get(kind, {})
            parts = {name: rules[name].schema for name in names.split(",") if name in rules}
            if kind != "join":
                parts = {place: schema for schema in parts.values() for place in ("value", "previous")}
            self._sources[source] = Rule({"properties": parts}, self._defs) if parts else None
        return self._sources[source]

    def payload(self, data: bytes, rule: Rule | None = None, size: int = 0, *, known: bool = True) -> msgspec.Raw:
        """A JSON text as it is kept: whole, or, when it is long or no JSON, {"$cut": "how it begins", "bytes": its size}. `size` when `data` is its beginning
        only. `known`: it is JSON, or `data` is a beginning."""
        if not data:
            return NOTHING
        if rule is not None:
            if len(data) > LARGEST or size:
                return _cut(b"", size or len(data))
            try:
                data = _encode(rule.hide(_decode(data)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, re.error):
                return _cut(b"", len(data))
        if size or len(data) > PAYLOAD:
            return _cut(data, size or len(data))
        if not known or not data.isascii() or BACKSLASH in data or NEWLINE in data or RETURN in data:
            # one spelling, or a secret could hide in another; and one line
            return checked(data)
        return msgspec.Raw(data)

    def body_of(self, request: Request, step: str) -> msgspec.Raw:
        """The body of a request to a step as it is kept."""
        body = request.raw_body
        return self.payload(body, self.bodies.get(step), known=_has_json(request)) if body else NOTHING

    def headers_of(self, request: Request) -> msgspec.Raw:
        """Headers of a request as they are kept: a JSON object. A client sends the same ones again and again, so the last ones are known."""
        raw = request._raw_headers
        if raw is None:
            return self._head(request, ())
        if raw != self._last:
            key = tuple(raw)
            found = self._heads.get(key)
            if found is None:
                if len(self._heads) >= KNOWN_HEADS:
                    self._heads.clear()
                found = self._heads[key] = self._head(request, key)
            self._last, self._last_head = raw, found
        return self._last_head

    def _head(self, request: Request, raw: tuple[tuple[bytes, bytes], ...]) -> msgspec.Raw:
        if len(dict(raw)) == len(raw) > 0:
            # behind a proxy each request has an id of its own; all other lines have come before, whoever sent them
            known = self._lines
            return msgspec.Raw(b"{%b}" % b",".join([known.get(header) or self._line(header) for header in raw]))
        kept = self.headers(request._sent_headers())
        try:
            return msgspec.Raw(_encode(kept))
        except (TypeError, ValueError):  # made up by somebody
            return msgspec.Raw(_encode({repr(name): repr(value) for name, value in kept.items()}))

    def _line(self, header: tuple[bytes, bytes]) -> bytes:
        name, value = text_of(header[0]), header[1]
        line = b"%b:%b" % (_encode(name), _encode(HIDDEN if self._hides(name) else text_of(value)[:LONGEST_VALUE]))
        if len(self._lines) >= KNOWN_HEADERS:
            self._lines.clear()
        if len(value) <= LONGEST_VALUE:
            self._lines[header] = line
        return line

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers as they are kept."""
        hides = self._hides
        return {name: HIDDEN if hides(name) else value[:LONGEST_VALUE] for name, value in headers.items()}

    def _hides(self, name: str) -> bool:
        found = self._names.get(name)
        if found is None:
            found = is_credential(name)
            if len(self._names) < 1_000:
                self._names[name] = found
        return found

    def query(self, query: Any, step: str) -> dict[str, Any]:
        """Query parameters as they are kept."""
        plain = msgspec.to_builtins(query, str_keys=True)
        rule = self.queries.get(step)
        if rule is not None:
            plain = rule.hide(plain)
        if not isinstance(plain, dict):
            return {}
        return {name: HIDDEN if self._hides(name) else value for name, value in plain.items()}

    def is_clean(self, data: bytes) -> bool:
        """Whether JSON texts have no secret's value in them, and no credentials in a URL."""
        known = self._mask.look()
        if known is not self._known:
            self._secrets = tuple({_encode(text)[1:-1] for text in known})
            self._known = known
        for secret in self._secrets:  # each looked for alone: for several, one pattern takes five times as long
            if secret in data:
                return False
        return b"@" not in data or _IN_URL.search(data) is None

    def masked(self, line: bytes) -> bytes:
        """The JSON text of a record, without values of secrets in what users have said. What the record itself says (its ids, step, times) stays, whatever a
        secret happens to be."""
        record = _decode(line)
        record |= {key: self._masked(value, key) for key, value in record.items() if key not in _OWN}
        trigger = record["trigger"]
        if trigger.get("path"):
            trigger["path"] = self._mask.text(trigger["path"])
        return _encode(record)

    def _masked(self, value: Any, key: str, theirs: bool = False) -> Any:
        theirs = theirs or key in _THEIRS
        if isinstance(value, str):
            return self._mask.text(value)
        if isinstance(value, dict):
            return {self._mask.text(name): self._masked(item, name, theirs) for name, item in value.items()}
        if isinstance(value, list):
            return [self._masked(item, key, theirs) for item in value]
        if theirs and value is not None and not isinstance(value, bool) and not self.is_clean(_encode(value)):
            return HIDDEN  # a number
        return value


def _has_json(request: Request) -> bool:
    """Whether its body was read as JSON, so that it is."""
    types = [value for name, value in request._raw_headers or () if name == b"content-type"]
    return len(types) == 1 and is_json(text_of(types[0].partition(b";")[0]).strip().lower())


def checked(data: bytes) -> msgspec.Raw:
    """Any bytes as one line of JSON."""
    try:
        return msgspec.Raw(_encode(_decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _cut(data, len(data))


def _cut(data: bytes, size: int) -> msgspec.Raw:
    begin = data[:PAYLOAD].decode("utf-8", "replace")
    return msgspec.Raw(_encode({"$cut": begin, "bytes": size}))
