"""From the writer of records to a collector: a bounded queue, and a thread of its own that empties it. The app never waits for either."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Mapping

import msgspec

from motia_runtime.otlp.sender import Result, Sender
from motia_runtime.otlp.settings import Settings
from motia_runtime.otlp.signals import Signal
from motia_runtime.records import read_record
from motia_runtime.version import __version__
from motia_spec.model import ApiStep, Project

QUEUE = 16 * 1024 * 1024  # bytes of records that wait; what comes when it is full is dropped
TOGETHER = 512  # runs of one request, about
REQUEST = 512 * 1024  # bytes of records of one request, about
GATHER = 1.0  # seconds that records wait for company
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between tries
GIVE_UP = 300.0  # seconds of trying
CLOSE = 5.0  # seconds for what is left when the app stops

_log = logging.getLogger("motia.otlp")
_encode = msgspec.json.Encoder().encode


class Exporter:
    """Of one signal of one process (`telemetry`)."""

    def __init__(self, settings: Settings, sender: Sender, signal: Signal, resource: Mapping[str, str]) -> None:
        """`resource`: attributes of who sends."""
        self.signal = signal
        self._settings = settings
        self._sender = sender
        self._resource = resource
        self._routes: Mapping[str, str] = {}
        self._waiting: deque[tuple[bytes, int]] = deque()  # lines of records, and how many
        self._size = 0
        self._bell = threading.Condition()
        self._closing: float | None = None  # `time.monotonic` by which all shall be over
        self._thread = threading.Thread(target=self._work, name=f"motia-otlp-{signal.name}", daemon=True)
        self._in_hand = 0  # runs
        self._trouble = False  # somebody has been told of it
        self._lost = 0  # runs, in the present trouble
        self.sent = 0  # runs
        self.dropped = 0  # runs
        self.rejected = 0  # of the signal's items

    def start(self) -> None:
        self._thread.start()
        _log.info("%s go to %s", self.signal.name, self._settings.shown)

    def show(self, project: Project) -> None:
        """As the version that runs now."""
        steps = project.steps.values()
        self._routes = {**self._routes, **{step.name: step.path for step in steps if isinstance(step, ApiStep)}}

    def take(self, lines: bytes) -> None:
        """Records as they are stored, a line each."""
        count = lines.count(b"\n")
        with self._bell:
            if self._closing is None and self._size + len(lines) <= QUEUE:
                self._waiting.append((lines, count))
                self._size += len(lines)
                self._bell.notify()
                return
            self.dropped += count
            self._lost += count
            told, self._trouble = self._trouble, True
        if not told:
            _log.warning(
                "more runs end than %s takes in; the %s of some are dropped", self._settings.shown, self.signal.name
            )

    def stop(self) -> None:
        """Send what is left, within a few seconds. Blocks."""
        with self._bell:
            self._closing = time.monotonic() + CLOSE
            self._bell.notify()
        self._thread.join(CLOSE + 1.0)
        with self._bell:
            left = sum(count for _, count in self._waiting) + self._in_hand
            self._waiting.clear()
            self.dropped += left
        if self.dropped:
            _log.warning("the %s of %s runs never reached %s", self.signal.name, self.dropped, self._settings.shown)

    # -- in the thread

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            lines, count = batch
            try:
                body = self._body(lines)
                if body is None:
                    self.sent += count
                else:
                    self._export(body, count)
            except Exception:  # a fault of ours costs these, not those that come
                _log.exception("%s could not be made", self.signal.name)
                self._drop(count)
            self._in_hand = 0
        self._sender.close()

    def _next(self) -> tuple[list[bytes], int] | None:
        """The next ones to send, and how many runs they are. None: the end."""
        with self._bell:
            self._bell.wait_for(lambda: self._waiting or self._closing is not None)
            self._bell.wait_for(lambda: self._size >= REQUEST or self._closing is not None, timeout=GATHER)
            found: list[bytes] = []
            count = size = 0
            while self._waiting and (not found or (count < TOGETHER and size < REQUEST)):
                lines, number = self._waiting.popleft()
                found.append(lines)
                count += number
                size += len(lines)
            self._size -= size
            self._in_hand = count
        return (found, count) if found else None

    def _body(self, chunks: list[bytes]) -> bytes | None:
        marks = self.signal.marks
        lines = (line for chunk in chunks for line in chunk.splitlines())
        records = (read_record(line) for line in lines if not marks or any(mark in line for mark in marks))
        request = self.signal.make(self._resource, __version__, records, self._routes)
        return None if request is None else _encode(request)

    def _export(self, body: bytes, count: int) -> None:
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            result = self._sender.post(body, self._timeout())
            if not result.problem:
                self._taken(result, count)
                return
            wait = random.uniform(0.5, 1.0) * pause if result.after is None else result.after  # noqa: S311  # spreads load
            pause = min(2 * pause, LONGEST_PAUSE)
            over = not result.again or self._closing is not None or time.monotonic() + wait - began > GIVE_UP
            self._tell(result)
            if over:
                self._drop(count)
                return
            with self._bell:
                self._bell.wait_for(lambda: self._closing is not None, timeout=wait)

    def _timeout(self) -> float:
        if self._closing is None:
            return self._settings.timeout
        return min(self._settings.timeout, max(0.1, self._closing - time.monotonic()))

    def _taken(self, result: Result, count: int) -> None:
        self.sent += count
        with self._bell:
            over, lost = self._trouble, self._lost
            self._trouble, self._lost = False, 0
        if over:
            _log.info("%s reach %s again; those of %s runs were dropped", self.signal.name, self._settings.shown, lost)
        if result.rejected:
            if not self.rejected:
                what = self.signal.items.replace("_", " ")
                _log.warning("%s refused %s %s; it may say why itself", self._settings.shown, result.rejected, what)
            self.rejected += result.rejected

    def _tell(self, result: Result) -> None:
        with self._bell:
            told, self._trouble = self._trouble, True
        if not told:
            name = self.signal.name
            none = f"the {name} are dropped (OTEL_{name.upper()}_EXPORTER=none sends none)"
            then = "trying again" if result.again else none
            _log.warning("%s don't reach %s (%s); %s", name, self._settings.shown, result.problem, then)

    def _drop(self, count: int) -> None:
        with self._bell:
            self.dropped += count
            self._lost += count
