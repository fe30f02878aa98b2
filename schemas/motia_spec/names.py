"""Spellings of a name: the file of a step's handler, the key of a shared schema, a prefix for NATS."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Collection, Mapping

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GAP = re.compile(r"[^A-Za-z0-9]+")


def snake(name: str) -> str:
    """`CreateOrder`, `create-order` and `createOrder` as `create_order`; the stem of a step's handler file."""
    return "_".join(_words(name)).lower() or f"step_{zlib.crc32(name.encode()):08x}"  # a name in another script


def pascal(text: str) -> str:
    """`order-item` as `OrderItem`: the key of a schema that has no name of its own."""
    name = "".join(word[:1].upper() + word[1:] for word in _words(text))
    return name if name[:1].isalpha() else f"Schema{name or format(zlib.crc32(text.encode()), '08x')}"


def _words(text: str) -> list[str]:
    """The words of a name in ASCII, accents left out."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)) if not text.isascii() else text
    return [word for part in _GAP.split(plain) for word in _HUMP.split(part) if word]


def slug(name: str) -> str:
    """A name as a NATS prefix: [A-Za-z0-9_-]{1,32}."""
    return _GAP.sub("-", name).strip("-")[:32].strip("-") or "motia"


def unused(name: str, taken: Collection[str] | Mapping[str, object]) -> str:
    """The name, or the first of name2, name3, ... that is not taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def handler_candidates(step: str) -> list[str]:
    """Where a step's handler may be when the spec does not say, best first, relative to `steps/`."""
    stem = snake(step)
    kebab = stem.replace("_", "-")
    found = [f"{stem}.py", f"{stem}_step.py", f"{stem}.ts", f"{stem}.js"]
    found += [f"{base}.step.{end}" for base in dict.fromkeys((stem, kebab, step)) for end in ("ts", "js")]
    return found
