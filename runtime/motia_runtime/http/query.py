"""Query strings and forms: pairs, decoded, repeated names as lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from motia_runtime.handler import ValidationFailed
from motia_runtime.http.codecs import Codec
from motia_runtime.http.problems import Refused, from_faults
from motia_spec.model import Schema
from motia_spec.node import JSON


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
    """The query parameters of one step: with a schema converted from their strings, validated, defaults filled in."""

    def __init__(self, schema: Schema | None, codec: Codec | None, defs: dict[str, JSON]) -> None:
        self._codec = codec
        self._lists = frozenset() if schema is None else _list_names(schema.value, defs)

    def parse(self, query: bytes) -> Any:
        """Raises `Refused` (400) listing every fault."""
        try:
            pairs = parse_pairs(query.decode("ascii"), "query") if query else {}
        except UnicodeDecodeError:
            raise Refused(400, "The query holds characters that are not percent-encoded.") from None
        if self._codec is None:
            return pairs
        for name in self._lists:
            if name in pairs and type(pairs[name]) is not list:
                pairs[name] = [pairs[name]]
        try:
            return self._codec.convert(pairs, strict=False)
        except ValidationFailed as error:
            raise from_faults(error, "query") from None


def _list_names(value: JSON, defs: dict[str, JSON]) -> frozenset[str]:
    """Properties that are arrays: given once they are lists of one."""
    schema = _resolve(value, defs)
    properties = schema.get("properties")
    names: set[str] = set()
    if isinstance(properties, dict):
        for name, member in properties.items():
            kinds = _resolve(member, defs).get("type")
            if kinds == "array" or (isinstance(kinds, list) and "array" in kinds and "string" not in kinds):
                names.add(name)
    return frozenset(names)


def _resolve(value: JSON, defs: dict[str, JSON]) -> dict[str, JSON]:
    """A schema with its `$ref`s to definitions followed; keywords beside a `$ref` win."""
    found: dict[str, JSON] = {}
    seen: set[str] = set()
    while isinstance(value, dict):
        found = {**value, **found}
        ref = value.get("$ref")
        if not isinstance(ref, str) or ref in seen:
            break
        seen.add(ref)
        key = ref.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        value = defs.get(key)
    return found
