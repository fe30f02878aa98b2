"""The index in one SQLite file. Synchronous: `index` calls it in threads of its own.

A run's id is its trace's id times 2^20 plus its number within the trace, so that the runs of a trace lie together and what the words of a
run lead to needs no second look-up. Nothing here is the only copy of anything: a file that is damaged, of another version or of another
stream is thrown away and made anew.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from motia_runtime.observe.feed import Stored
from motia_runtime.observe.view import WORST, told
from motia_runtime.records import RunRecord
from motia_runtime.redaction import NOTHING

VERSION = 1  # of the tables below
RUNS_PER_TRACE = 20  # bits
TEXT_LENGTH = 16_384  # characters of a run that can be searched
PATIENCE = 10.0  # seconds that another process may hold the file
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traces (
    id INTEGER PRIMARY KEY, trace TEXT UNIQUE, started REAL, ended REAL, runs INTEGER, root TEXT, outcome TEXT, seq INTEGER);
CREATE INDEX IF NOT EXISTS traces_started ON traces (started);
CREATE INDEX IF NOT EXISTS traces_bad ON traces (outcome, started) WHERE outcome != 'ok';
CREATE INDEX IF NOT EXISTS traces_seq ON traces (seq);
CREATE TABLE IF NOT EXISTS steps (step TEXT, trace INTEGER, PRIMARY KEY (step, trace)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS steps_trace ON steps (trace);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, span TEXT, parent TEXT, step TEXT, kind TEXT, topic TEXT, event TEXT, attempt INTEGER, started REAL,
    queued REAL, duration REAL, outcome TEXT, status INTEGER, error TEXT, lines INTEGER, bad INTEGER, seq INTEGER, line INTEGER);
CREATE INDEX IF NOT EXISTS runs_started ON runs (started);
CREATE INDEX IF NOT EXISTS runs_step ON runs (step, started);
CREATE INDEX IF NOT EXISTS runs_event ON runs (event, step) WHERE event != '';
CREATE INDEX IF NOT EXISTS runs_bad ON runs (id, bad, outcome) WHERE bad > 0;
CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY, run INTEGER, time REAL, level INTEGER, message TEXT, fields TEXT);
CREATE INDEX IF NOT EXISTS logs_time ON logs (time);
CREATE INDEX IF NOT EXISTS logs_run ON logs (run);
"""
WORDS = "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, content='', tokenize='unicode61')"
PLAIN = "CREATE TABLE IF NOT EXISTS words (text TEXT)"  # for a SQLite without FTS5
INSERT_RUN = f"INSERT INTO runs VALUES ({', '.join('?' * 18)})"


class Store:
    """One connection. `path` may be in use by other processes, which then add to the same index."""

    def __init__(self, path: Path) -> None:
        """Raises `sqlite3.Error` and `OSError` when the file can't be made."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError:
            if path.exists():
                self.destroy()
                self._open()
            else:
                raise

    def _open(self) -> None:
        self.db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        self.path.chmod(0o600)  # what runs have said is nobody else's business
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("PRAGMA cache_size = -32768")
        if self.db.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            raise sqlite3.DatabaseError("of another version")
        with self.transaction():
            self.db.execute(f"PRAGMA user_version = {VERSION}")
            for statement in TABLES.split(";"):
                self.db.execute(statement)
            with contextlib.suppress(sqlite3.OperationalError):
                self.db.execute(WORDS)
            self.db.execute(PLAIN)
        made = self.db.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()[0]
        self.has_words = "fts5" in made

    def close(self) -> None:
        self.db.close()

    def destroy(self) -> None:
        """Close and remove the file."""
        with contextlib.suppress(AttributeError):
            self.db.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # -- how far it has come

    def position(self) -> tuple[int, float]:
        """Seq and time of the newest entry that it has; zeros when it is empty."""
        row = self.db.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()
        return msgspec.json.decode(row[0], type=tuple[int, float]) if row else (0, 0.0)

    def clear(self) -> None:
        with self.transaction():
            for table in ("meta", "traces", "steps", "runs", "logs"):
                self.db.execute(f"DELETE FROM {table}")
            self.db.execute(
                "INSERT INTO words (words) VALUES ('delete-all')" if self.has_words else "DELETE FROM words"
            )

    # -- writing

    def add(self, found: Sequence[Stored]) -> bool:
        """Add records that follow each other, as `feed.Feed` gives them. False: another process has added some of them meanwhile; nothing was done
        then, and it is for the caller to go on from `position`."""
        with self.transaction():
            if self.position()[0] >= found[0].seq:
                return False
            self._add(found)
            last = found[-1]
            position = msgspec.json.encode((last.seq, last.time)).decode()
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('position', ?)", (position,))
        return True

    def _add(self, found: Sequence[Stored]) -> None:
        traces = self._traces(found)
        runs, words, logs, steps = [], [], [], set()
        for stored in found:
            record = stored.record
            trace = traces[record.trace_id]
            trace.add(stored)
            run = (trace.id << RUNS_PER_TRACE) + trace.runs
            runs.append(_row(run, stored))
            words.append((run, text_of(record)))
            logs += _lines(run, record)
            steps.add((record.step, trace.id))
        words.sort()  # out of order they would make a segment of the index each
        self.db.executemany(INSERT_RUN, runs)
        self.db.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", words)
        self.db.executemany("INSERT INTO logs (run, time, level, message, fields) VALUES (?, ?, ?, ?, ?)", logs)
        self.db.executemany("INSERT OR IGNORE INTO steps VALUES (?, ?)", steps)
        self._settle(found, traces)
        self.db.executemany(
            "UPDATE traces SET root = CASE WHEN started IS NULL OR ?1 < started THEN ?2 ELSE root END,"
            " started = min(ifnull(started, ?1), ?1), ended = max(ifnull(ended, ?3), ?3), runs = ?4, outcome = ?5, seq = ?6"
            " WHERE id = ?7",
            [
                (t.started, t.root, t.ended, t.runs, self.worst(t.id)[0] if t.bad else "ok", t.seq, t.id)
                for t in traces.values()
            ],
        )

    def _traces(self, found: Sequence[Stored]) -> dict[str, _Trace]:
        """Every trace that has new runs, as it was before them."""
        traces: dict[str, _Trace] = {}
        for stored in found:
            name = stored.record.trace_id
            if name not in traces:
                row = self.db.execute("SELECT id, runs, outcome FROM traces WHERE trace = ?", (name,)).fetchone()
                if row is None:
                    insert = "INSERT INTO traces (trace, runs, outcome) VALUES (?, 0, 'ok')"
                    row = (self.db.execute(insert, (name,)).lastrowid or 0, 0, "ok")
                traces[name] = _Trace(row[0], row[1], row[2] != "ok")
        return traces

    def _settle(self, found: Sequence[Stored], traces: dict[str, _Trace]) -> None:
        """Of the attempts of one event by one step, the one that began last says what has come of it."""
        for stored in found:
            record = stored.record
            trace, event = traces[record.trace_id], record.trigger.event_id
            if event and trace.bad:
                self.db.execute(
                    "UPDATE runs SET bad = 0 WHERE event = ?1 AND step = ?2 AND id BETWEEN ?3 AND ?4 AND bad > 0 AND started <"
                    " (SELECT max(started) FROM runs WHERE event = ?1 AND step = ?2 AND id BETWEEN ?3 AND ?4)",
                    (event, record.step, *range_of(trace.id)),
                )

    def worst(self, trace: int) -> tuple[str, str]:
        """Outcome and error of the run that came to the worst; "ok" and none when all has come to something good."""
        row = self.db.execute(
            "SELECT outcome, error FROM runs INDEXED BY runs_bad WHERE id BETWEEN ? AND ? AND bad > 0 ORDER BY bad DESC LIMIT 1",
            range_of(trace),
        ).fetchone()
        return row or ("ok", "")

    def forget(self, first: int) -> int:
        """Drop the traces of which the stream has nothing left: all was before this seq. Gives how many runs went; their words stay until the
        next `clear`, and lead nowhere."""
        with self.transaction():
            gone = self.db.execute("SELECT id FROM traces WHERE seq < ?", (first,)).fetchall()
            count = 0
            for (trace,) in gone:
                low, high = range_of(trace)
                self.db.execute("DELETE FROM logs WHERE run BETWEEN ? AND ?", (low, high))
                count += self.db.execute("DELETE FROM runs WHERE id BETWEEN ? AND ?", (low, high)).rowcount
                if not self.has_words:
                    self.db.execute("DELETE FROM words WHERE rowid BETWEEN ? AND ?", (low, high))
                self.db.execute("DELETE FROM steps WHERE trace = ?", (trace,))
                self.db.execute("DELETE FROM traces WHERE id = ?", (trace,))
            return count


class _Trace:
    """A trace to which runs are added."""

    __slots__ = ("bad", "ended", "id", "root", "runs", "seq", "started")

    def __init__(self, id: int, runs: int, bad: bool) -> None:
        self.id = id
        self.runs = runs
        self.bad = bad  # whether one of its runs has ever come to something bad; it may be settled
        self.started = math.inf  # of the new ones, the first
        self.ended = 0.0
        self.root = ""
        self.seq = 0

    def add(self, stored: Stored) -> None:
        record = stored.record
        self.runs += 1
        self.seq = stored.seq
        self.bad |= record.outcome in WORST
        self.ended = max(self.ended, record.started + record.duration)
        if record.started < self.started:
            self.started, self.root = record.started, record.step


def range_of(trace: int) -> tuple[int, int]:
    """The lowest and highest id of its runs."""
    return trace << RUNS_PER_TRACE, ((trace + 1) << RUNS_PER_TRACE) - 1


def _row(run: int, stored: Stored) -> tuple[object, ...]:
    record = stored.record
    trigger = record.trigger
    where = trigger.topic or (f"{trigger.method} {trigger.path}" if trigger.type == "api" else "")
    lines = len(record.logs) + record.more_logs
    return (
        run, record.span_id, record.parent_id, record.step, trigger.type, where, trigger.event_id or "", record.attempt,
        record.started, record.queued, record.duration, record.outcome, record.status, told(record), lines,
        WORST.get(record.outcome, 0), stored.seq, stored.line,
    )  # fmt: skip


def _lines(run: int, record: RunRecord) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = [
        (run, line.time, LEVELS.get(line.level, 20), line.message, msgspec.json.encode(line.fields).decode())
        for line in record.logs
    ]
    if record.error is not None:
        level = LEVELS["warning" if record.outcome in ("retry", "split") else "error"]
        message = f"{record.error.type}: {record.error.message}"
        found.append(
            (
                run,
                record.started + record.duration,
                level,
                message,
                msgspec.json.encode({"outcome": record.outcome}).decode(),
            )
        )
    return found


def text_of(record: RunRecord) -> str:
    """All that can be searched of a run."""
    trigger, error = record.trigger, record.error
    parts = [record.trace_id, record.step, trigger.topic or trigger.path or "", record.outcome]
    if error is not None:
        parts += (error.type, error.message)
    parts += [bytes(payload).decode("utf-8", "replace") for payload in _payloads(record) if payload is not NOTHING]
    parts += [f"{write.group} {write.key}" for write in record.state]
    parts += [f"{line.message} {msgspec.json.encode(line.fields).decode()}" for line in record.logs]
    return " ".join(parts)[:TEXT_LENGTH]


def _payloads(record: RunRecord) -> Iterator[msgspec.Raw]:
    yield record.input
    yield from (emit.data for emit in record.emits)
    yield from (write.data for write in record.state)
    yield from (call.data for call in record.streams)
