"""Prometheus' text exposition format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds

Labels: TypeAlias = tuple[str, ...]  # their values, in the order of the family's names
L = TypeVar("L", bound=Labels)


class Histogram:
    """How often which length of time was seen. Lives as long as the process."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


def family(
    kind: Literal["counter", "gauge"],
    name: str,
    help: str,
    names: Labels,
    values: Mapping[L, float],
) -> Iterable[str]:
    """The lines of numbers that share a name; none when there are no numbers."""
    if values:
        yield from _head(kind, name, help)
    for labels, value in values.items():
        yield f"{name}{_braced(_pairs(names, labels))} {_number(value)}\n"


def histogram(name: str, help: str, names: Labels, values: Mapping[L, Histogram]) -> Iterable[str]:
    if values:
        yield from _head("histogram", name, help)
    for labels, seen in values.items():
        pairs = _pairs(names, labels)
        total = 0
        for bound, count in zip((*map(_number, BOUNDS), "+Inf"), seen.counts, strict=True):
            total += count
            yield f"{name}_bucket{_braced([*pairs, *_pairs(('le',), (bound,))])} {total}\n"
        yield f"{name}_sum{_braced(pairs)} {_number(seen.sum)}\n"
        yield f"{name}_count{_braced(pairs)} {total}\n"


def _head(kind: str, name: str, help: str) -> Iterable[str]:
    yield f"# HELP {name} {help}\n"
    yield f"# TYPE {name} {kind}\n"


def _pairs(names: Labels, labels: Labels) -> list[str]:
    return [f'{name}="{_escaped(label)}"' for name, label in zip(names, labels, strict=True)]


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _braced(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
