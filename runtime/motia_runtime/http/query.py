"""Query strings and forms: pairs, decoded, repeated names as lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from motia_runtime.codec import Codec
from motia_runtime.handler import ValidationFailed
from motia_runtime.http.problems import Refused, from_faults


def parse_pairs(text: str, what: str) -> dict[str, Any]:
    """`a=1&b=2&b=3` as {"a": "1", "b": ["2", "3"]}. Raises `Refused` (400) when a name or value is not UTF-8 once decoded."""
    found: dict[str, Any] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = _decode(name, what), _decode(value, what)
        if name not in found:
            found[name] = value
        elif type(found[name]) is list:
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _decode(text: str, what: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, f"The {what} is not valid UTF-8.") from None


class Query:
    """The query parameters of one step: with a schema converted from their texts, validated, defaults filled in."""

    def __init__(self, codec: Codec | None) -> None:
        self._codec = codec

    def parse(self, query: bytes) -> Any:
        """Raises `Refused` (400) listing every fault."""
        try:
            pairs = parse_pairs(query.decode("ascii"), "query") if query else {}
        except UnicodeDecodeError:
            raise Refused(400, "The query holds characters that are not percent-encoded.") from None
        if self._codec is None:
            return pairs
        try:
            return self._codec.convert(pairs, strict=False)
        except ValidationFailed as error:
            raise from_faults(error, "query") from None
