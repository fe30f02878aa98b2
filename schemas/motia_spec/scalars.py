"""Plain YAML scalars to values, by the core schema of YAML 1.2 without its traps.

`true`, `false`, `null`, decimal integers and decimal floats; everything else is text, also `on`, `no`, `12:30` and `2026-01-01`.
What YAML 1.1 and 1.2 read differently as numbers (`0644`, `0x1F`, `0o17`) is refused, and so is what JSON can't hold.
"""

from __future__ import annotations

import re

from motia_spec.limits import MAX_DIGITS
from motia_spec.node import Scalar


class BadScalar(Exception):
    """A scalar that has no one meaning. `code`, `message` and `hint` are those of the diagnostic."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
YAML_1_1_BOOLEANS = frozenset(
    form for word in ("on", "off", "yes", "no") for form in (word, word.title(), word.upper())
)

_FIRST = frozenset("0123456789+-.~nNtTfF")  # what a word or a number can begin with
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_AMBIGUOUS = re.compile(r"[-+]?(?:0[0-9_]+(?:[.eE].*)?|0x[0-9a-fA-F_]+|0o[0-7]+)")
_UNREAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> Scalar:
    """The value of the plain (unquoted) scalar `text`. Raises BadScalar."""
    if text and text[0] not in _FIRST:
        return text
    if text in WORDS:
        return WORDS[text]
    if _AMBIGUOUS.fullmatch(text):
        raise BadScalar(
            "M015",
            f"the number {clip(text)} reads differently in YAML 1.1 and 1.2",
            'write it in decimal, or quote it: "..." is text',
        )
    number = _NUMBER.fullmatch(text)
    if number is None:
        if _UNREAL.fullmatch(text):
            raise BadScalar(
                "M016", f"{text} is not a number that JSON has", "leave the key out, or quote it if text is meant"
            )
        return text
    if len(text) > MAX_DIGITS and sum(c.isdigit() for c in text) > MAX_DIGITS:
        raise BadScalar(
            "M016", f"the number {clip(text)} has more than {MAX_DIGITS} digits", "quote it if text is meant"
        )
    if text[-1].isdigit() and text.lstrip("+-").isdigit():
        return int(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadScalar("M016", f"the number {clip(text)} is too large", "quote it if text is meant")
    return value


def key_text(text: str) -> str:
    """The key that the plain scalar `text` stands for: text, or a whole number as its digits. Raises BadScalar."""
    value = resolve(text)
    if isinstance(value, str):
        return value
    if type(value) is int and str(value) == text:
        return text
    found = f"the key {clip(text)} reads as {kind(value)}" if text else "an empty key"
    raise BadScalar("M017", f"{found}; keys are text", f'quote it: "{clip(text)}":')


def kind(value: Scalar) -> str:
    """What a scalar is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return "text" if isinstance(value, str) else "a number"


def clip(text: str, width: int = 40) -> str:
    """At most `width` characters of `text`, for a message."""
    return text if len(text) <= width else text[: width - 3] + "..."
