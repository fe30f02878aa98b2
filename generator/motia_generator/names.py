"""Python names from any text: safe, readable, unique. The one module that knows reserved words.

A name made here is ASCII, starts with a letter, is no keyword, and shadows nothing that generated code uses. The text it came from is kept
elsewhere (as the wire name), so a name may lose information; `Scope` then tells equal names apart.
"""

from __future__ import annotations

import hashlib
import keyword
import re
import unicodedata

LONGEST = 64  # characters; what is longer is cut and gets a hash

# msgspec evaluates annotations with the class's own namespace, so a field must not be named like anything an annotation uses.
# Class names start with an upper-case letter and fields with a lower-case one: only these can clash.
FIELD_RESERVED = frozenset(
    {
        *keyword.kwlist,
        "bool",
        "convert",
        "dict",
        "field",
        "float",
        "formats",
        "get",
        "int",
        "keys",
        "list",
        "str",
        "tuple",
    }
)
CLASS_RESERVED = frozenset(
    {
        *keyword.kwlist,
        *("Annotated", "Any", "ClassVar", "Handlers", "Literal", "Meta", "Model", "NotRequired", "TypeAlias"),
        *("TypedDict", "UNSET", "Union", "UnsetType", "TYPES", "GAPS", "FINGERPRINT", "TYPE_CHECKING"),
    }
)

_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "ø": "o",
    "Ø": "O",
    "đ": "d",
    "Đ": "D",
    "ł": "l",
    "Ł": "L",
    "œ": "oe",
    "Œ": "OE",
}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+[a-z]*")
_PLAIN = re.compile(r"[a-z][a-z0-9_]*")


def words(text: str) -> list[str]:
    """The words of a text: split at case changes, digits and everything that is no letter. Letters without an ASCII form become their code point."""
    out: list[str] = []
    for char in text:
        if char.isascii():
            out.append(char if char.isalnum() else " ")
        elif char in _LETTERS:
            out.append(_LETTERS[char])
        else:
            for part in unicodedata.normalize("NFKD", char):
                if part.isascii():
                    out.append(part if part.isalnum() else " ")
                elif not unicodedata.combining(part):
                    out.append(f" u{ord(part):x} " if part.isalnum() else " ")
    found: list[str] = []
    for run in "".join(out).split():
        found += [run] if re.fullmatch(r"u[0-9a-f]{2,6}", run) else _WORDS.findall(run)
    return found or [f"u{ord(char):x}" for char in text[:8]]


def field_name(text: str) -> str:
    """snake_case. A text that is a fitting name already stays as it is."""
    name = (
        text if _PLAIN.fullmatch(text) and "__" not in text else _join_digits("_".join(words(text)).lower()) or "empty"
    )
    if not name[0].isalpha():
        name = "x" + name
    return _cut(name + "_" if name in FIELD_RESERVED else name)


def class_name(text: str) -> str:
    """PascalCase. Acronyms keep their capitals: "HTTPError" stays so."""
    name = "".join(word[0].upper() + word[1:] for word in words(text)) or "Empty"
    if not name[0].isalpha():
        name = "X" + name
    return _cut(name + "_" if name in CLASS_RESERVED else name)


def _join_digits(name: str) -> str:
    """ "line_2_a" as people write it: digits stay with the word before them ("line2_a")."""
    return re.sub(r"(?<=[a-z])_(?=[0-9])", "", name)


def _cut(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9].rstrip('_')}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class Scope:
    """Names in use at one place. Hands out each name once: the first to ask gets it, the next gets a number."""

    def __init__(self, taken: frozenset[str] | set[str] = frozenset()) -> None:
        self._taken = set(taken)

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def unique(self, name: str, *alternatives: str) -> str:
        """`name`, or the first free of `alternatives`, or `name` with the first free number from 2 on."""
        for candidate in (name, *alternatives):
            if candidate not in self._taken:
                self._taken.add(candidate)
                return candidate
        number = 2
        while f"{name}_{number}" in self._taken:
            number += 1
        self._taken.add(f"{name}_{number}")
        return f"{name}_{number}"


def field_names(wire_names: list[str]) -> dict[str, str]:
    """Python names of an object's properties by wire name. A property whose name fits as it is keeps it, whatever comes before it."""
    scope = Scope()
    fitting = {wire for wire in wire_names if field_name(wire) == wire}
    names = {wire: scope.unique(wire) for wire in wire_names if wire in fitting}
    names |= {wire: scope.unique(field_name(wire)) for wire in wire_names if wire not in fitting}
    return {wire: names[wire] for wire in wire_names}
