"""Is a `pattern` safe to run on what strangers send? `re` has no time-out, so a pattern that can backtrack without end is refused.

Two shapes do it: a repeat inside a repeat, where one more round can begin with what the inner repeat may still take (`(a+)+`), and
alternatives under a repeat that match the same text (`(a|a)*`). `([a-z]+\\.)+` and `[a-z]+(-[a-z]+)*` are fine: a separator decides.
Sets of characters are bit masks: one bit per Latin-1 character and one for all others.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from itertools import combinations
from re import _constants as op  # type: ignore[attr-defined]  # typeshed leaves the parser's tree out
from re import _parser as parser  # type: ignore[attr-defined]  # the same
from typing import Any

LONGEST = 256  # characters of a pattern
MOST_REPEATS = 10_000  # of one repeat, and of nested ones multiplied
FEW = 4  # rounds of an outer repeat that are harmless, as in an IPv4 address

_OTHER = 1 << 256
_ALL = (1 << 257) - 1


class BadPattern(ValueError):
    """Python's `re` can't read the pattern."""


class UnsafePattern(ValueError):
    """The pattern can take exponential time or space."""


@lru_cache(maxsize=4096)
def check(pattern: str) -> str | None:
    """None when the pattern is fine; else "invalid: why" or "unsafe: why"."""
    try:
        _check(pattern)
    except BadPattern as fault:
        return f"invalid: {fault}"
    except UnsafePattern as fault:
        return f"unsafe: {fault}"
    return None


def _check(pattern: str) -> None:
    if len(pattern) > LONGEST:
        raise UnsafePattern(f"it has {len(pattern)} characters; at most {LONGEST} are allowed")
    tree = _parse(pattern)
    _walk(tree, repeated=1)
    _alternatives(pattern)
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as fault:
        raise BadPattern(str(fault)) from None


def _parse(pattern: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": a notice to programmers
            return parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as fault:
        hint = "; write the characters out, as in [A-Za-z]" if "\\p" in pattern or "\\P" in pattern else ""
        raise BadPattern(f"{fault}{hint}") from None


_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def _walk(sequence: Any, repeated: int) -> None:
    """Look for repeats, and inside each for one that the next round can start to eat."""
    for kind, value in sequence:
        if kind in _REPEATS:
            low, high, body = value
            times = low if high is op.MAXREPEAT else high
            if times > MOST_REPEATS or repeated * max(times, 1) > MOST_REPEATS:
                raise UnsafePattern(f"it repeats more than {MOST_REPEATS:,} times; use maxLength for long texts")
            if high is op.MAXREPEAT or high > FEW:
                _ambiguous(body, after=_first(body)[0])
            _walk(body, repeated * max(times, 1))
        else:
            for inner in _inside(kind, value):
                _walk(inner, repeated)


def _ambiguous(sequence: Any, after: int) -> None:
    """`after`: what can come next, the next round included."""
    items = list(sequence)
    follow = after
    for kind, value in reversed(items):
        if kind in _REPEATS:
            low, high, body = value
            if low != high and kind is not op.POSSESSIVE_REPEAT and _first(body)[0] & follow:
                raise UnsafePattern("a repeat inside a repeat can match the same text in many ways, like (a+)+")
            _ambiguous(body, after=follow | _first(body)[0])
        else:
            for inner in _inside(kind, value):
                _ambiguous(inner, after=follow)
        first, empty = _first([(kind, value)])
        follow = first | follow if empty else first


def _inside(kind: Any, value: Any) -> list[Any]:
    """The sequences within an item that is no repeat."""
    if kind is op.SUBPATTERN:
        return [value[3]]
    if kind is op.BRANCH:
        return list(value[1])
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return [value[1]]
    if kind is op.ATOMIC_GROUP:
        return [value]
    if kind is op.GROUPREF_EXISTS:
        return [part for part in value[1:] if part is not None]
    return []


def _first(sequence: Any) -> tuple[int, bool]:
    """(the characters it can start with, whether it can be empty)."""
    found = 0
    for kind, value in sequence:
        mask, empty = _one(kind, value)
        found |= mask
        if not empty:
            return found, False
    return found, True


def _one(kind: Any, value: Any) -> tuple[int, bool]:
    if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
        return _characters(kind, value), False
    if kind in _REPEATS:
        mask, empty = _first(value[2])
        return mask, empty or value[0] == 0
    if kind is op.AT or kind in (op.ASSERT, op.ASSERT_NOT):
        return 0, True
    if kind is op.GROUPREF:
        return _ALL, True
    parts = [_first(part) for part in _inside(kind, value)]
    mask = 0
    for part, _ in parts:
        mask |= part
    return mask, any(empty for _, empty in parts) or not parts


def _characters(kind: Any, value: Any) -> int:
    if kind is op.LITERAL:
        return 1 << value if value < 256 else _OTHER
    if kind is op.NOT_LITERAL:
        return _ALL & ~(1 << value) if value < 256 else _ALL
    if kind is op.ANY:
        return _ALL & ~(1 << 10)
    mask, negate = 0, False
    for part, argument in value:
        if part is op.NEGATE:
            negate = True
        elif part is op.RANGE:
            low, high = argument
            if low < 256:
                mask |= (1 << (min(high, 255) + 1)) - (1 << low)
            mask |= _OTHER if high >= 256 else 0
        elif part is op.CATEGORY:
            mask |= _category(argument)
        else:
            mask |= _characters(part, argument)
    return _ALL & ~mask | _OTHER if negate else mask


_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}


@lru_cache(maxsize=16)
def _category(category: Any) -> int:
    """A category such as CATEGORY_NOT_SPACE as a mask."""
    _, _, name = str(category).partition("CATEGORY_")
    inverse = name.startswith("NOT_")
    test = re.compile(_CATEGORIES[name.removeprefix("NOT_").removeprefix("UNI_")])
    mask = sum(1 << code for code in range(256) if test.match(chr(code))) | _OTHER
    return _ALL & ~mask | _OTHER if inverse else mask


def _alternatives(pattern: str) -> None:
    """Alternatives under a repeat. Read from the text, because the parser merges equal ones away."""
    for branches in _repeated_groups(pattern):
        for one, other in combinations(branches, 2):
            if _overlap(one, other):
                raise UnsafePattern(f"{one!r} and {other!r} under one repeat can match the same text, like (a|a)*")


def _overlap(one: str, other: str) -> bool:
    plain = re.compile(r"[\w \-/:,;=@#%&~<>\"'!]*")
    if plain.fullmatch(one) and plain.fullmatch(other):
        return one.startswith(other) or other.startswith(one)
    try:
        first, second = _parse(one), _parse(other)
    except BadPattern:  # a back reference to a group outside of the branch
        return True
    return bool(_first(first)[0] & _first(second)[0])


def _repeated_groups(pattern: str) -> list[list[str]]:
    """The branches of each group with more than one that a * + or {..} follows."""
    found: list[list[str]] = []
    groups: list[list[int]] = []  # of each open group: where its branches start
    index = 0
    while index < len(pattern):
        sign = pattern[index]
        if sign == "\\":
            index += 1
        elif sign == "[":
            index = _end_of_class(pattern, index)
        elif sign == "(":
            start = re.compile(r"\((?:\?(?:P?<\w+>|[:=!>]|<[=!]))?").match(pattern, index)
            groups.append([start.end() if start else index + 1])
        elif sign == "|" and groups:
            groups[-1].append(index + 1)
        elif sign == ")" and groups:
            starts = groups.pop()
            repeated = re.compile(r"[*+]|\{\d*(,\d*)?\}").match(pattern, index + 1)
            if len(starts) > 1 and repeated and repeated[0] not in ("{0}", "{1}", "{0,1}"):
                found.append([pattern[a : b - 1] for a, b in zip(starts, [*starts[1:], index + 1], strict=True)])
        index += 1
    return found


def _end_of_class(pattern: str, start: int) -> int:
    index = start + 1
    if pattern[index : index + 1] == "^":
        index += 1
    if pattern[index : index + 1] == "]":
        index += 1
    while index < len(pattern) and pattern[index] != "]":
        index += 2 if pattern[index] == "\\" else 1
    return index
