"""What is asked of the index, and what it answers. Times are seconds since the epoch, durations seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from motia_runtime.records import RunRecord

T = TypeVar("T")

# The worse an end, the higher. What is not named here is as good as ok.
WORST = {"split": 1, "retry": 1, "cancelled": 2, "failed": 3, "expired": 3, "dead": 4}


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; every field given must hold. Of a trace, `steps` and `text` hold when they do for one of its runs."""

    trace: str = ""  # a trace id or its first digits
    steps: tuple[str, ...] = ()  # one of these; `steps_of` gives those of a flow
    outcomes: tuple[str, ...] = ()  # ended in one of these; of a trace, what it has come to
    since: float | None = None  # began then or later
    until: float | None = None  # began before
    longer: float | None = None  # took so long or longer
    shorter: float | None = None  # took less
    text: str = ""  # words of payloads, errors, log lines, steps, topics, paths; the last one may be unfinished


class TraceSummary(msgspec.Struct, frozen=True):
    """One trace in a list."""

    trace_id: str
    started: float
    duration: float  # from the first start to the last end
    runs: int
    root: str  # name of the step that began it
    outcome: str  # the worst that a run has come to, when no later attempt has settled it; else ok
    steps: list[str]  # in the order in which they began
    error: str = ""  # type and message, of the run that the outcome is of


class RunSummary(msgspec.Struct, frozen=True):
    """One run attempt in a list. `error`: type and message."""

    trace_id: str
    span_id: str
    parent_id: str
    step: str
    trigger: str
    topic: str
    event_id: str
    attempt: int
    started: float
    queued: float
    duration: float
    outcome: str
    status: int | None
    error: str
    lines: int  # logged


class LogEntry(msgspec.Struct, frozen=True):
    """One line that a run has logged, or the error that it ended with."""

    id: int  # the order in which the index has heard of them
    time: float
    level: str  # debug, info, warning, error
    message: str
    fields: msgspec.Raw  # an object
    step: str
    trace_id: str
    span_id: str
    attempt: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, newest first. `next` asks for the part after it; empty at the end."""

    items: list[T]
    next: str = ""


class RunNode(msgspec.Struct, frozen=True):
    """A run with the runs that it set off, ordered by start."""

    run: RunRecord
    children: list[RunNode] = []


class TraceTree(msgspec.Struct, frozen=True):
    """A trace in full. A run whose parent is not among its runs is a root; there may be several."""

    summary: TraceSummary
    roots: list[RunNode]

    def runs(self) -> list[RunRecord]:
        """All of them, ordered by start."""
        found: list[RunRecord] = []
        waiting = list(self.roots)
        while waiting:
            node = waiting.pop()
            found.append(node.run)
            waiting += node.children
        return sorted(found, key=lambda run: (run.started, run.span_id))


def tree_of(runs: Iterable[RunRecord]) -> list[RunNode]:
    """The roots, ordered by start. Every run is in the result once, also when forged headers have spans name each other as parents, or several
    attempts share a span: the first of them has the children."""
    ordered = sorted(runs, key=lambda run: (run.started, run.span_id))
    nodes = [RunNode(run, []) for run in ordered]
    by_span: dict[str, RunNode] = {}
    for node in nodes:
        by_span.setdefault(node.run.span_id, node)
    roots = []
    passed = set()
    for node in nodes:
        parent = by_span.get(node.run.parent_id)
        # clocks of two machines may differ, so a parent may seem to have begun later
        if parent is not None and (id(parent) in passed or not _is_below(parent, node, by_span)):
            parent.children.append(node)
        else:
            roots.append(node)
        passed.add(id(node))
    return roots


def _is_below(node: RunNode, above: RunNode, by_span: dict[str, RunNode]) -> bool:
    """Whether following the parents of `node` leads to `above`, or round in a circle."""
    seen = set()
    while node is not above:
        if id(node) in seen:
            return True
        seen.add(id(node))
        parent = by_span.get(node.run.parent_id)
        if parent is None:
            return False
        node = parent
    return True


def told(run: RunRecord) -> str:
    """Its error, as a list has it."""
    return "" if run.error is None else f"{run.error.type}: {run.error.message}"[:500]


def summary_of(runs: Iterable[RunRecord]) -> TraceSummary:
    """Of one trace, which has at least one run."""
    ordered = sorted(runs, key=lambda run: run.started)
    final: dict[tuple[str, str], RunRecord] = {}  # a later attempt settles what an earlier one left open
    for run in ordered:
        final[run.step, run.trigger.event_id or run.span_id] = run
    worst = max(final.values(), key=lambda run: WORST.get(run.outcome, 0))
    bad = worst.outcome in WORST
    return TraceSummary(
        trace_id=ordered[0].trace_id,
        started=ordered[0].started,
        duration=max(run.started + run.duration for run in ordered) - ordered[0].started,
        runs=len(ordered),
        root=ordered[0].step,
        outcome=worst.outcome if bad else "ok",
        steps=list(dict.fromkeys(run.step for run in ordered)),
        error=told(worst) if bad else "",
    )
