"""Runs under way in this process: their records are written when they end, so what they have said until then is asked of the engine, while somebody looks.

Runs of other processes are seen when they have ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from motia_runtime.observe.matching import fits, has_words
from motia_runtime.observe.store import LEVELS
from motia_runtime.observe.view import Filter, LogEntry
from motia_runtime.records import RunRecord

if TYPE_CHECKING:
    from motia_runtime.engine import Engine

SHOWN = 0.3  # seconds after which a run is told of; most are over before, and would only flicker
MOST = 200  # told at once, those that began first

_encode = msgspec.json.Encoder().encode


class Running:
    """Of one version of an app. Lives as long as its engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def told(self, now: float, wall: float) -> dict[str, Any]:
        """Those that run for a while, in short, and how many there are beyond `MOST`. `now` of `time.perf_counter()`, `wall` of `time.time()`."""
        found = [each for each in self._engine.under_way if now - each.start >= SHOWN]
        runs = [
            {
                "trace_id": each.trace_id,
                "span_id": each.span_id,
                "step": each.step,
                "attempt": each.number,
                "started": wall - now + each.start,
                "lines": each.lines,
            }
            for each in found[:MOST]
        ]
        return {"runs": runs, "more": len(found) - len(runs)}

    def records(self, wanted: Filter) -> Iterator[RunRecord]:
        """All that fit, in the order in which they began, each as it stands when it is asked for."""
        for each in self._engine.under_way:
            if each.trace_id.startswith(wanted.trace) and (not wanted.steps or each.step in wanted.steps):
                record = self._engine.so_far(each)
                if fits(record, wanted):
                    yield record

    def lines(self, wanted: Filter, *, level: str, limit: int) -> list[LogEntry]:
        """What they have logged, newest first, filtered as `TraceIndex.logs` does it. They have no `id` yet: it is 0."""
        whose = msgspec.structs.replace(wanted, since=None, until=None, text="")
        found: list[LogEntry] = []
        for run in self.records(whose):
            for line in run.logs:
                if level and LEVELS.get(line.level, 0) < LEVELS[level]:
                    continue
                if (wanted.since is not None and line.time < wanted.since) or (
                    wanted.until is not None and line.time >= wanted.until
                ):
                    continue
                fields = _encode(line.fields)
                if wanted.text and not has_words(f"{line.message} {fields.decode()} {run.step}", wanted.text):
                    continue
                found.append(
                    LogEntry(
                        0,
                        line.time,
                        line.level,
                        line.message,
                        msgspec.Raw(fields),
                        run.step,
                        run.trace_id,
                        run.span_id,
                        run.attempt,
                    )
                )
            if len(found) >= limit:
                break  # enough has been read for one answer
        return sorted(found, key=lambda line: line.time, reverse=True)[:limit]
