"""Did you mean: the names nearest to one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MANY = 100  # names


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    names = list(known)
    folded = name.casefold()
    for other in names:
        if other.casefold() == folded:
            return other
    if len(names) > _MANY:  # comparing with all of them would take longer than the hint is worth
        names = [n for n in names if abs(len(n) - len(name)) < 3 and (n[:2] == name[:2] or n[-2:] == name[-2:])][:_MANY]
    found = get_close_matches(name, sorted(set(names)), n=1, cutoff=0.6)
    return found[0] if found else None


def hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean "x"?`, or what to do when nothing is near."""
    found = near(name, known)
    return f'did you mean "{found}"?' if found else otherwise


def listing(names: Iterable[str], *, most: int = 8) -> str:
    """Sorted names for a message: `a, b and 3 more`; "none" when there are none."""
    known = sorted(set(names))
    if not known:
        return "none"
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")
