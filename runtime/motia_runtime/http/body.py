"""Request bodies: read up to a limit, decoded by media type, JSON taken strictly (RFC 8259, I-JSON)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from motia_runtime.codec import Codec
from motia_runtime.handler import Fault, ValidationFailed
from motia_runtime.http.problems import Refused, from_faults
from motia_runtime.http.query import parse_pairs
from motia_runtime.runner import is_json, text_of

MAX_DEPTH = 128  # levels of nesting in a JSON body
KNOWN_TYPES = 256  # parsed Content-Type values kept

Kind = Literal["json", "text", "form", "other"]

_CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1"}
_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ANY = Codec("body")
_known_types: dict[bytes, tuple[Kind, str]] = {}


class ClientGone(Exception):  # reads as the fact it states
    """The client closed the connection before its request was complete: nobody to answer."""


async def read_body(receive: Callable[[], Awaitable[dict[str, Any]]], length: bytes | None, limit: int) -> bytes:
    """The whole body; `length` is its Content-Length. Raises `Refused` (413) as soon as it exceeds `limit` bytes, `ClientGone`."""
    if length is not None and int(length) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def too_large(limit: int) -> Refused:
    return Refused(413, f"A body may have {limit:,} bytes here.")


def decode_body(raw: bytes, content_type: bytes | None, coding: bytes | None, codec: Codec | None) -> Any:
    """The value a handler gets as `request.body`; None when empty or binary. `coding` is the Content-Encoding. With a `codec` the body has to be JSON that fits.

    Raises `Refused`: 400 for what is malformed or does not fit, 415 for another media type, character set or content coding.
    """
    if coding is not None and coding.lower() != b"identity":
        raise Refused(415, f"The content coding {text_of(coding)!r} is not read here; send the body as it is.")
    if codec is not None:
        if not raw:
            raise from_faults(ValidationFailed("body", [Fault("", "required", "a body is required")]), "body")
        kind = "other" if content_type is None else _kind_of(content_type)[0]
        if kind != "json":
            found = "without a Content-Type" if content_type is None else f"of type {text_of(content_type)!r}"
            raise Refused(415, f"The body is read only as application/json; this one came {found}.")
        return _read_json(raw, codec)
    if not raw or content_type is None:
        return None
    kind, charset = _kind_of(content_type)
    if kind == "json":
        return _read_json(raw, _ANY)
    if kind == "other":
        return None
    try:
        text = raw.decode(charset)
    except UnicodeDecodeError:
        raise Refused(400, f"The body is not valid {charset}.") from None
    return parse_pairs(text, "body") if kind == "form" else text


def _kind_of(content_type: bytes) -> tuple[Kind, str]:
    """How to read a body of this Content-Type: kind and Python codec. `Refused` (415) for a character set that is not known."""
    found = _known_types.get(content_type)
    if found is None:
        found = _parse_type(text_of(content_type))
        if len(_known_types) >= KNOWN_TYPES:
            _known_types.clear()
        _known_types[content_type] = found
    return found


def _parse_type(content_type: str) -> tuple[Kind, str]:
    media, semicolon, rest = content_type.partition(";")
    media = media.strip().lower()
    parameters = {name.lower(): (quoted or bare) for name, quoted, bare in _PARAMETER.findall(semicolon + rest)}
    charset = parameters.get("charset", "utf-8").lower()
    if is_json(media):
        if _CHARSETS.get(charset) not in ("utf-8", "ascii"):
            raise Refused(415, f"JSON is read only in UTF-8; this body came in {charset!r}.")
        return "json", "utf-8"
    if media == "application/x-www-form-urlencoded" or media.startswith("text/"):
        if charset not in _CHARSETS:
            raise Refused(415, f"The character set {charset!r} is not read here; use UTF-8.")
        return "text" if media.startswith("text/") else "form", _CHARSETS[charset]
    if media.startswith("multipart/") and not parameters.get("boundary"):
        raise Refused(400, f"A body of type {media} needs a boundary in its Content-Type.")
    return "other", ""


def _read_json(raw: bytes, codec: Codec) -> Any:
    """The value of a JSON text. The codec refuses what parsers differ about (bytes that are not UTF-8, a name twice in one object)."""
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise Refused(400, f"The body is nested deeper than {MAX_DEPTH} levels.")
    try:
        return codec.decode(raw)
    except ValidationFailed as error:
        first = error.faults[0]
        if first.keyword == "json":
            raise Refused(400, f"The body {first.detail}.") from None
        raise from_faults(error, "body") from None


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for byte in _STRING.sub(b"", data):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest
