"""Runs counted, as their records are written: nothing is done while they run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from motia_runtime.metrics.text import Histogram, family, histogram
from motia_runtime.records import RunRecord, ShortRecord


class RunCounts:
    """Since the process has begun, over all versions of the app."""

    def __init__(self) -> None:
        self._runs: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._durations: defaultdict[tuple[str], Histogram] = defaultdict(Histogram)
        self._queued: defaultdict[tuple[str], Histogram] = defaultdict(Histogram)
        self._requests: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)

    def count(self, records: Sequence[RunRecord | ShortRecord]) -> None:
        for record in records:
            if record.batch:
                continue  # its list has a record that counts
            step = record.step
            self._runs[step, record.outcome] += 1
            self._durations[step,].observe(record.duration)
            if record.trigger.type != "api":
                self._queued[step,].observe(record.queued)
                continue
            status = record.status
            if status is not None:
                self._requests[step, str(status)].observe(record.duration)
            elif record.outcome == "failed":  # HTTP makes 500, 503 or 504 of it, after the record
                self._requests[step, "5xx"].observe(record.duration)

    def lines(self) -> Iterable[str]:
        yield from family(
            "counter", "motia_runs_total", "Run attempts that have ended.", ("step", "outcome"), self._runs
        )
        yield from histogram("motia_run_duration_seconds", "How long run attempts took.", ("step",), self._durations)
        yield from histogram(
            "motia_run_queue_seconds",
            "Time between the emit, or when it was due, and the start of the attempt.",
            ("step",),
            self._queued,
        )
        yield from histogram(
            "motia_http_request_duration_seconds",
            "Requests that a step answered: from its start to its answer.",
            ("step", "status"),
            self._requests,
        )
