"""`ctx.logger`: lines that belong to a run. They go to the process's log at once and into the run's record when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

LINES_PER_RUN = 1_000  # lines kept in a record; more are counted, not kept
LINE_LENGTH = 2_000  # characters kept of a message

_log = logging.getLogger("motia.run")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    time: float  # seconds since the epoch
    level: str  # debug, info, warning, error
    message: str
    fields: dict[str, Any] = {}


class RunLogger:
    """Structured lines: `ctx.logger.info("charged", amount=12)`, or the original's `info("charged", {"amount": 12})`."""

    __slots__ = ("dropped", "lines", "step", "trace_id")

    def __init__(self, step: str, trace_id: str) -> None:
        self.step = step
        self.trace_id = trace_id
        self.lines: list[LogLine] = []
        self.dropped = 0

    def debug(self, message: object, fields: dict[str, Any] | None = None, /, **more: Any) -> None:
        self._add("debug", message, fields, more)

    def info(self, message: object, fields: dict[str, Any] | None = None, /, **more: Any) -> None:
        self._add("info", message, fields, more)

    def warning(self, message: object, fields: dict[str, Any] | None = None, /, **more: Any) -> None:
        self._add("warning", message, fields, more)

    warn = warning

    def error(self, message: object, fields: dict[str, Any] | None = None, /, **more: Any) -> None:
        self._add("error", message, fields, more)

    def _add(self, level: str, message: object, fields: dict[str, Any] | None, more: dict[str, Any]) -> None:
        text = in_words(message)[:LINE_LENGTH]
        every = {**fields, **more} if fields else more
        if len(self.lines) < LINES_PER_RUN:
            self.lines.append(LogLine(time.time(), level, text, {k: plain(v) for k, v in every.items()}))
        else:
            self.dropped += 1
        number = _LEVELS[level]
        if _log.isEnabledFor(number):
            _log.log(
                number, "%s", text, extra={"motia": {"step": self.step, "trace_id": self.trace_id, "fields": every}}
            )


def plain(value: Any) -> Any:
    """As JSON would have it; what JSON can't say is kept as its repr, so that a log line never fails a run."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return in_words(value)[:LINE_LENGTH] if isinstance(value, str) else value
    try:
        return msgspec.to_builtins(value, str_keys=True)
    except (TypeError, ValueError, RecursionError):
        return in_words(value, repr)[:LINE_LENGTH]


def in_words(value: object, tell: Callable[[object], str] = str) -> str:
    """The text of a user's value, also when its own `__str__` or `__repr__` fails; fit for UTF-8."""
    try:
        text = tell(value)
    except Exception as problem:
        text = f"<{type(value).__name__} without a text: {type(problem).__name__}>"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
