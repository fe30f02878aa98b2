"""Requests that were answered without running a step, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

UNMATCHED = "unmatched"  # in place of a route: the request could not be read, was turned away at the door, or asked for what is not there

_counts: Counter[tuple[str, str]] = Counter()


def count(route: str, status: int) -> None:
    """`route`: the template, never the path that was asked for: there are only so many."""
    _counts[route, str(status)] += 1


def counts() -> Mapping[tuple[str, str], int]:
    """By route and status, since the process has begun, over all versions of the app."""
    return _counts
