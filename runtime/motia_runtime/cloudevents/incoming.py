"""A message of another program, read as a CloudEvent where it says that it is one.

Structured mode: `Content-Type: application/cloudevents+json`, the whole event is the body. Binary mode: headers `ce-...`, the body is the data. Names of headers
are compared without regard to case, as the binding has it. Data is JSON, as that of all topics.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from motia_runtime.cloudevents.attributes import ATTRIBUTE, JSON, VERSION, decode_value, encode_value
from motia_runtime.codec import Codec
from motia_runtime.formats import PATTERNS
from motia_runtime.handler import ValidationFailed
from motia_runtime.runner import TraceContext
from motia_runtime.trace import parse

LARGEST = 4_096  # bytes of headers that the attributes of one event may take
CONTENT_TYPE = "content-type"
STRUCTURED = "application/cloudevents"  # starts the media types of structured and batched events
FORMATS = (STRUCTURED, f"{STRUCTURED}+json")  # that are read
REQUIRED = ("specversion", "id", "source", "type")
INTEGERS = range(-(2**31), 2**31)  # that an attribute may have
SHOWN = 80  # characters quoted of what is wrong

_NAME = re.compile(r"[a-z0-9]+")
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
    + "]"
)  # control characters, halves of surrogate pairs, and what Unicode keeps for no character
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{_URI_REFERENCE.pattern}")
_TIME = re.compile(PATTERNS["date-time"])
_JSON_TYPE = re.compile(r"[^/;\s]+/(?:[^/;\s]+\+)?json", re.IGNORECASE)

_envelope = Codec("the body", dict[str, Any], schema={"type": "object"})
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class InvalidCloudEvent(ValueError):
    """A message says that it is a CloudEvent, and is none that can be taken in. The message says why."""


class CloudEvent(msgspec.Struct, frozen=True):
    attributes: dict[str, str]  # by name, in their canonical text
    data: bytes  # a JSON text, if it is as it says

    @property
    def headers(self) -> dict[str, str]:
        """Of the same event in binary mode."""
        return {f"{ATTRIBUTE}{name}": encode_value(value) for name, value in self.attributes.items()}

    @property
    def trace(self) -> TraceContext | None:
        """By the extension for distributed tracing."""
        return parse(self.attributes.get("traceparent"), self.attributes.get("tracestate"))

    def identity(self, topic: str) -> str:
        """The same for events with the same id and source."""
        told = msgspec.json.encode([topic, self.attributes["source"], self.attributes["id"]])
        return f"ce:{sha256(told).hexdigest()}"


def read_cloudevent(headers: Mapping[str, str], body: bytes) -> CloudEvent | None:
    """None for a message that does not say it is one. Raises `InvalidCloudEvent`."""
    given = told(headers)
    kind = given.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind.startswith(STRUCTURED):
        return _structured(kind, body)
    binary = {name.removeprefix(ATTRIBUTE): value for name, value in given.items() if name.startswith(ATTRIBUTE)}
    if not any(name in binary for name in REQUIRED):
        return None
    attributes = {}
    for name, header in binary.items():
        try:
            attributes[name] = decode_value(header)
        except ValueError:
            raise InvalidCloudEvent(f"the header {ATTRIBUTE}{_cut(name)} is no UTF-8 once decoded") from None
    attributes.setdefault("datacontenttype", given.get(CONTENT_TYPE, JSON))
    return CloudEvent(_checked(attributes), body)


def told(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a message's headers belongs to CloudEvents, under names in lower case."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if name == CONTENT_TYPE or name.startswith(ATTRIBUTE)}


def _structured(kind: str, body: bytes) -> CloudEvent:
    if kind not in FORMATS:
        raise InvalidCloudEvent(
            f"its content-type is {_cut(kind)!r}; those taken in are {FORMATS[1]!r} and binary mode"
        )
    try:
        members: dict[str, Any] = _envelope.decode(body)
    except ValidationFailed as fault:
        raise InvalidCloudEvent(f"its content-type is {kind!r}, but {_cut(fault)}") from None
    raw = _decode_members(body)
    encoded, given = members.pop("data_base64", None), "data" in members
    members.pop("data", None)
    attributes = {name: _text(name, value) for name, value in members.items() if value is not None}
    if encoded is None:
        attributes.setdefault("datacontenttype", JSON)
        _checked(attributes)
        if not given:
            raise InvalidCloudEvent("it has no data")
        return CloudEvent(attributes, bytes(raw["data"]))
    if given:
        raise InvalidCloudEvent("it has both data and data_base64")
    if "datacontenttype" not in attributes:
        raise InvalidCloudEvent("it has data_base64 without a datacontenttype; topics take JSON")
    return CloudEvent(_checked(attributes), _bytes(encoded))


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in INTEGERS:
        return str(value)
    raise InvalidCloudEvent(f"its attribute {_cut(name)!r} is neither text, true, false, nor a whole number of 32 bits")


def _bytes(encoded: object) -> bytes:
    try:
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidCloudEvent("its data_base64 is no base64")


def _checked(attributes: dict[str, str]) -> dict[str, str]:
    """The same, with those that must be there first. Raises `InvalidCloudEvent`."""
    if missing := [name for name in REQUIRED if not attributes.get(name)]:
        raise InvalidCloudEvent(f"it lacks {', '.join(missing)}")
    if attributes["specversion"] != VERSION:
        version = _cut(attributes["specversion"])
        raise InvalidCloudEvent(f"its specversion is {version!r}; events of version {VERSION} are taken in")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name) or name == "data":
            raise InvalidCloudEvent(f"it has an attribute {_cut(name)!r}; names are lower-case letters and digits")
        if found := _FORBIDDEN.search(value):
            raise InvalidCloudEvent(f"its {_cut(name)} holds U+{ord(found[0]):04X}")
    for name, allowed, what in (
        ("source", _URI_REFERENCE, "URI reference"),
        ("dataschema", _URI, "URI"),
        ("time", _TIME, "time of RFC 3339"),
    ):
        if name in attributes and not allowed.fullmatch(attributes[name]):
            raise InvalidCloudEvent(f"its {name} is {_cut(attributes[name])!r}, which is no {what}")
    if attributes.get("subject") == "":
        raise InvalidCloudEvent("its subject is empty; leave it out")
    kind = attributes["datacontenttype"]
    if not _JSON_TYPE.fullmatch(kind.partition(";")[0].strip()):
        raise InvalidCloudEvent(f"its datacontenttype is {_cut(kind)!r}; topics take JSON")
    attributes = {name: attributes[name] for name in REQUIRED} | attributes
    size = sum(len(ATTRIBUTE) + len(name) + len(encode_value(value)) + 4 for name, value in attributes.items())
    if size > LARGEST:
        raise InvalidCloudEvent(f"its attributes take {size:,} bytes as headers; at most {LARGEST:,} are taken in")
    return attributes


def _cut(text: object) -> str:
    shown = str(text)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
