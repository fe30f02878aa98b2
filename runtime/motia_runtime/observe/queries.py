"""Filters as SQL, and rows as values. Reads one connection of the index; synchronous, like `store`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from motia_runtime.observe.store import LEVELS, RUNS_PER_TRACE, Store, range_of
from motia_runtime.observe.view import Filter, LogEntry, Page, RunSummary, TraceSummary

_WORD = re.compile(r"\w+")
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
_RUN = "span, parent, step, kind, topic, event, attempt, started, queued, duration, outcome, status, error, lines"
MOST = 1_000  # items of a page
ORDERED = 200  # runs of a trace that tell in which order its steps began
RARE = 2_000  # runs that have the words looked for


class BadCursor(ValueError):
    """A place to go on from that no page has named."""


class _Where:
    """Conditions that must all hold, and their values."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        self.parts.append(condition)
        self.values += values

    def one_of(self, column: str, values: tuple[str, ...]) -> None:
        self.add(f"{column} IN ({', '.join('?' * len(values))})", *values)

    def __str__(self) -> str:
        return " AND ".join(self.parts) or "1"


class Queries:
    """See the module. Every method raises `sqlite3.Error` when the file is damaged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._all = store.db.execute

    def traces(self, wanted: Filter, *, limit: int, after: str) -> Page[TraceSummary]:
        where = _Where()
        self._trace(where, wanted, "t.id")
        if wanted.outcomes:
            where.one_of("t.outcome", wanted.outcomes)
        self._times(where, wanted, "t.started", "(t.ended - t.started)")
        if wanted.steps:
            marks = ", ".join("?" * len(wanted.steps))
            where.add(f"t.id IN (SELECT trace FROM steps WHERE step IN ({marks}))", *wanted.steps)
        if words := self._words(wanted.text):
            where.add(f"t.id IN (SELECT rowid >> {RUNS_PER_TRACE} FROM words WHERE {words[0]})", *words[1])
        if after:
            where.add("(t.started, t.id) < (?, ?)", *_cursor(after))
        rows = self._all(
            "SELECT t.id, t.trace, t.started, t.ended, t.runs, t.root, t.outcome FROM traces t"
            f" WHERE {where} ORDER BY t.started DESC, t.id DESC LIMIT ?",
            (*where.values, limit + 1),
        ).fetchall()
        items = []
        for number, trace, started, ended, runs, root, outcome in rows[:limit]:
            error = "" if outcome == "ok" else self._store.worst(number)[1]
            items.append(TraceSummary(trace, started, ended - started, runs, root, outcome, self._steps(number), error))
        return Page(items, _next(rows, limit, started=2, id=0))

    def _steps(self, trace: int) -> list[str]:
        """Of a trace, in the order in which they began, as far as its first runs tell."""
        values = (*range_of(trace), ORDERED)
        runs = self._all("SELECT started, step FROM runs WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", values)
        begun = dict.fromkeys(step for _, step in sorted(runs))
        every = self._all("SELECT step FROM steps WHERE trace = ? ORDER BY step", (trace,))
        return list(begun | dict.fromkeys(step for (step,) in every))

    def runs(self, wanted: Filter, *, limit: int, after: str) -> Page[RunSummary]:
        where = self._runs(wanted)
        if after:
            where.add("(r.started, r.id) < (?, ?)", *_cursor(after))
        columns = ", ".join(f"r.{name}" for name in _RUN.split(", "))
        rows = self._all(
            f"SELECT r.id, t.trace, {columns} FROM runs r JOIN traces t ON t.id = r.id >> {RUNS_PER_TRACE}"
            f" WHERE {where} ORDER BY r.started DESC, r.id DESC LIMIT ?",
            (*where.values, limit + 1),
        ).fetchall()
        return Page([RunSummary(*row[1:]) for row in rows[:limit]], _next(rows, limit, started=9, id=0))

    def logs(self, wanted: Filter, *, limit: int, after: str, level: str, newer_than: int) -> Page[LogEntry]:
        """`wanted` is of the runs that logged them, but for its times, which are the lines' own, and its text, which a line itself must have."""
        words = self._words(wanted.text)
        rare = words is not None and self._are_rare(words)
        where = self._runs(msgspec.structs.replace(wanted, since=None, until=None, text=wanted.text if rare else ""))
        self._times(where, Filter(since=wanted.since, until=wanted.until), "l.time", "0")
        for word in _WORD.findall(wanted.text):
            where.add("instr(lower(l.message || ' ' || l.fields || ' ' || r.step), ?)", word.lower())
        if level:
            where.add("l.level >= ?", LEVELS[level])
        if newer_than:
            where.add("l.id > ?", newer_than)
        if after:
            where.add("(l.time, l.id) < (?, ?)", *_cursor(after))
        rows = self._all(
            "SELECT l.id, l.time, l.level, l.message, l.fields, r.step, t.trace, r.span, r.attempt FROM logs l"
            f" JOIN runs r ON r.id = l.run JOIN traces t ON t.id = r.id >> {RUNS_PER_TRACE}"
            f" WHERE {where} ORDER BY l.time DESC, l.id DESC LIMIT ?",
            (*where.values, limit + 1),
        ).fetchall()
        items = [
            LogEntry(number, time, _LEVEL_NAMES.get(level, "info"), message, msgspec.Raw(fields.encode()), *rest)
            for number, time, level, message, fields, *rest in rows[:limit]
        ]
        return Page(items, _next(rows, limit, started=1, id=0))

    def newest_line(self) -> int:
        return int(self._all("SELECT ifnull(max(id), 0) FROM logs").fetchone()[0])

    def places(self, trace_id: str, span_id: str = "") -> list[tuple[int, int]]:
        """Where the records of a trace, or of one of its spans, stand: entry and line."""
        row = self._all("SELECT id FROM traces WHERE trace = ?", (trace_id,)).fetchone()
        if row is None:
            return []
        where = "id BETWEEN ?1 AND ?2 AND (?3 = '' OR span = ?3)"
        return self._all(
            f"SELECT seq, line FROM runs WHERE {where} ORDER BY id", (*range_of(row[0]), span_id)
        ).fetchall()

    def beginning_with(self, start: str, *, limit: int) -> list[str]:
        """Trace ids that begin so."""
        rows = self._all(
            "SELECT trace FROM traces WHERE trace >= ? AND trace < ? ORDER BY trace LIMIT ?",
            (start, start + "g", limit),
        )
        return [trace for (trace,) in rows]

    # -- conditions

    def _runs(self, wanted: Filter) -> _Where:
        where = _Where()
        self._trace(where, wanted, f"r.id >> {RUNS_PER_TRACE}")
        if wanted.steps:
            where.one_of("r.step", wanted.steps)
        if wanted.outcomes:
            where.one_of("r.outcome", wanted.outcomes)
        self._times(where, wanted, "r.started", "r.duration")
        if words := self._words(wanted.text):
            # from the few that have the words to their runs; or, when many do, from the newest run on until enough of them do
            column = "r.id" if self._are_rare(words) else "+r.id"
            where.add(f"{column} IN (SELECT rowid FROM words WHERE {words[0]})", *words[1])
        return where

    def _are_rare(self, words: tuple[str, list[str]]) -> bool:
        few = f"SELECT count(*) FROM (SELECT rowid FROM words WHERE {words[0]} LIMIT {RARE + 1})"
        return bool(self._all(few, words[1]).fetchone()[0] <= RARE)

    def _trace(self, where: _Where, wanted: Filter, column: str) -> None:
        if wanted.trace:
            if "r.id" in column:  # lets the range of ids be used, when it is one trace
                ids = self.trace_ids(wanted.trace)
                where.add(" OR ".join(["r.id BETWEEN ? AND ?"] * len(ids)) if ids else "0")
                where.parts[-1] = f"({where.parts[-1]})"
                for number in ids:
                    where.values += range_of(number)
            else:
                where.add("t.trace >= ? AND t.trace < ?", wanted.trace, wanted.trace + "g")

    def trace_ids(self, start: str) -> list[int]:
        rows = self._all("SELECT id FROM traces WHERE trace >= ? AND trace < ? LIMIT 100", (start, start + "g"))
        return [row[0] for row in rows]

    def _times(self, where: _Where, wanted: Filter, began: str, took: str) -> None:
        if wanted.since is not None:
            where.add(f"{began} >= ?", wanted.since)
        if wanted.until is not None:
            where.add(f"{began} < ?", wanted.until)
        if wanted.longer is not None:
            where.add(f"{took} >= ?", wanted.longer)
        if wanted.shorter is not None:
            where.add(f"{took} < ?", wanted.shorter)

    def _words(self, text: str) -> tuple[str, list[str]] | None:
        """The condition on `words`; None when there is nothing to look for."""
        words = _WORD.findall(text)
        if not words:
            return None
        if self._store.has_words:
            return "words MATCH ?", [" ".join(f'"{word}"' for word in words) + "*"]
        return " AND ".join(["instr(lower(text), ?)"] * len(words)), [word.lower() for word in words]


def _cursor(after: str) -> tuple[float, int]:
    began, _, number = after.rpartition("-")
    try:
        return float(began), int(number)
    except ValueError:
        raise BadCursor(f"{after!r} is no place to go on from; take the `next` of a page") from None


def _next(rows: list[tuple[Any, ...]], limit: int, *, started: int, id: int) -> str:
    if len(rows) <= limit:
        return ""
    last = rows[limit - 1]
    return f"{last[started]!r}-{last[id]}"
