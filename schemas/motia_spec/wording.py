"""How the schema layer says what it found and what is allowed. Values from the environment are never quoted: they may be secrets."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from motia_spec.interpolate import EnvScalar
from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.scalars import YAML_1_1_BOOLEANS, clip

Path = tuple["Path | None", str | int]  # a linked list: the path of the parent, then the last token

_TYPES = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def quote(text: str) -> str:
    """`text` in double quotes, control characters escaped, at most 60 characters of it."""
    return json.dumps(clip(text, 60), ensure_ascii=False)


def subject(path: Path | None) -> str:
    """What a finding is about: the key, or the item of a list."""
    if path is None:
        return "the spec"
    parent, token = path
    if isinstance(token, str):
        return quote(token)
    return f"item {token + 1} of {subject(parent)}"


def found(node: Node) -> str:
    """What stands there, in words and, when it is a scalar, quoted."""
    if isinstance(node, MapNode):
        return "a map"
    if isinstance(node, ListNode):
        return "a list"
    assert isinstance(node, ScalarNode)
    value = node.value
    if isinstance(value, str):
        name, shown = "text", quote(value)
    elif value is None:
        return "nothing"
    elif isinstance(value, bool):
        name, shown = "the boolean", "true" if value else "false"
    else:
        name, shown = "the number", repr(value)
    return f"{name} from {quote(node.source)}" if isinstance(node, EnvScalar) else f"{name} {shown}"


def shown(node: ScalarNode) -> str:
    """The value in quotes, or the expression it comes from."""
    return f"the value of {quote(node.source)}" if isinstance(node, EnvScalar) else quote(str(node.value))


def allowed(types: Iterable[str]) -> str:
    names = [_TYPES[name] for name in _TYPES if name in set(types)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def type_hint(node: Node, types: frozenset[str], wanted: str = "") -> str:
    """The remedy for a value of the wrong type, when it can be told; `wanted` says what text must look like."""
    if not isinstance(node, ScalarNode):
        return ""
    value = node.value
    if value is None:
        return "write a value, or remove the key"
    if isinstance(node, EnvScalar):
        return ""
    if "boolean" in types and isinstance(value, str) and value in YAML_1_1_BOOLEANS:
        return f"write {'true' if value.lower() in ('on', 'yes') else 'false'}"
    if "string" in types:
        return wanted or "put it in quotes"
    if isinstance(value, str) and types & {"integer", "number"} and value.strip().isdigit():
        return "write it without quotes"
    if "array" in types:
        return f"write a list: [{clip(str(value), 60)}]"
    return ""


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def pointer(path: Path | None) -> str:
    """The path as a JSON Pointer (RFC 6901)."""
    tokens = []
    while path is not None:
        path, token = path
        tokens.append(str(token).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{token}" for token in reversed(tokens))


def letters_only(name: str) -> bool:
    """Every character beyond ASCII is a letter, a digit or, after the first, a mark of some script."""
    return name.isascii() or all(
        char.isascii() or (kind := unicodedata.category(char))[0] in "LN" or (index > 0 and kind[0] == "M")
        for index, char in enumerate(name)
    )


def folded(name: str) -> str:
    """Equal for names that a file system may take for the same."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def json_type(node: Node) -> str:
    """The JSON type of a node. A number with a point is never an integer: `3000.0` is a slip, not a port."""
    if isinstance(node, MapNode):
        return "object"
    if isinstance(node, ListNode):
        return "array"
    value = getattr(node, "value", None)
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number"
