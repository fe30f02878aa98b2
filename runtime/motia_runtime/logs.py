"""Logs on the terminal: aligned lines for people (`motia dev`), JSON lines for machines (`motia start`), and the start banner.

Everything logs through the standard `logging` under the name "motia". A record may carry `extra={"motia": {...}}` with any of:

    step      name of the step, shown in a column of its own
    trace_id  32 hex digits; people see the first 8
    attempt   shown from the second on
    fields    dict of anything: key=value for people, keys of the object for machines

No secret's value and no password in a URL reaches the output (`Mask`), and no control character does: a hostile message can neither move
the cursor nor forge a line.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from motia_spec.model import Project

__all__ = ["JsonFormatter", "Mask", "PeopleFormatter", "announce", "banner", "printable", "setup", "wants_color"]

ROOT = "motia"
SHORTEST_SECRET = 4  # characters; masking shorter ones would hide ordinary words and help to guess them
DEEPEST = 16  # levels of a field's value that are shown
ROLES = {"http": "http (api steps only)", "engine": "engine (event and cron steps only)"}
STEP_WIDTH = 24  # columns at most; a longer name is shown whole and shifts its line

_CREDENTIALS = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@'\"<>]+@")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PLAIN = re.compile(r"[^\s\"'=]+")

_LEVELS = {10: ("debug", "2"), 20: ("info", "32"), 30: ("warn", "33"), 40: ("error", "31"), 50: ("fatal", "1;31")}
_TIME, _TRACE, _STEP, _KEY = "2", "2", "36", "2"


class Mask:
    """Hides secret values and the credentials in URLs. Lives as long as the process, or as a version of the app. Variables may change meanwhile (`.env`
    under `motia dev`, or the app itself): `look` learns what they hold now, and what they have held stays hidden."""

    def __init__(
        self, secrets: Iterable[str] = (), names: Iterable[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        """`names` of variables whose values are secrets as well."""
        self._names = tuple(names)
        self._environ = os.environ if environ is None else environ
        self._now: list[str] = []  # what they held when last looked at
        self._learning = threading.Lock()  # handlers log from threads
        self.secrets: frozenset[str] = frozenset()
        self._values: re.Pattern[str] | None = None
        self._learn(secrets)
        self.look()

    @classmethod
    def of(cls, project: Project, environ: Mapping[str, str] | None = None, hidden: Iterable[str] = ()) -> Mask:
        """Hides what the secrets named in the spec, and the broker's own credentials, hold in the environment; and `hidden`."""
        environ = os.environ if environ is None else environ
        broker = [environ.get(name, "") for name in ("NATS_PASSWORD", "NATS_TOKEN", "NATS_SEED", "NATS_JWT")]
        return cls((*broker, *hidden), project.secrets, environ)

    def look(self) -> frozenset[str]:
        """All secrets, with the values that they have now; the same object while nothing is new. To be called before something new is hidden."""
        now = [self._environ.get(name, "") for name in self._names]
        if now != self._now:
            self._learn(now)
            self._now = now
        return self.secrets

    def _learn(self, values: Iterable[str]) -> None:
        with self._learning:
            found = self.secrets.union(value for value in values if len(value) >= SHORTEST_SECRET)
            if found == self.secrets:
                return
            longest_first = sorted(found, key=len, reverse=True)
            self._values = re.compile("|".join(map(re.escape, longest_first)))
            self.secrets = found

    def text(self, text: str) -> str:
        if not text.isascii():  # a lone surrogate can be neither printed nor encoded
            text = text.encode(errors="backslashreplace").decode()
        if self._values is not None:
            text = self._values.sub("***", text)
        return _CREDENTIALS.sub(r"\1***@", text) if "://" in text else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """A copy of a value of JSON's kinds with every string masked; any other object becomes its masked `str`, what lies
        too deep an ellipsis."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth == DEEPEST:
            return "..."
        if isinstance(value, Mapping):
            return {self.text(str(k)): self.value(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(v, depth + 1) for v in value]
        if isinstance(value, msgspec.Struct):
            return self.value(msgspec.structs.asdict(value), depth)
        return self.text(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, then worker, step, trace_id, attempt, error and the fields."""

    def __init__(self, mask: Mask, *, worker: int | None = None) -> None:
        super().__init__()
        self._mask = mask
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        self._mask.look()
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": _level(record)[0],
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._worker is not None:
            line["worker"] = self._worker
        context = _context(record)
        for name in ("step", "trace_id", "attempt"):
            if value := context.get(name):
                line[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        for key, value in (context.get("fields") or {}).items():
            line[f"{key}_" if key in line else str(key)] = value
        return msgspec.json.encode(self._mask.value(line)).decode()


class PeopleFormatter(logging.Formatter):
    """`10:38:40.123 info  CreateOrder  4f2a91c0  order accepted  total=12.5`, in colour when asked."""

    def __init__(self, mask: Mask, *, color: bool, steps: Iterable[str] = (), worker: int | None = None) -> None:
        super().__init__()
        self._worker = "" if worker is None else f"[{worker}]"
        self._mask = mask
        self._color = color
        self._width = min(max((len(s) for s in steps), default=0), STEP_WIDTH)

    def format(self, record: logging.LogRecord) -> str:
        self._mask.look()
        level, color = _level(record)
        context = _context(record)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        head = [self._paint(clock, _TIME), self._paint(f"{level:<5}", color)]
        if self._worker:
            head.append(self._paint(self._worker, _KEY))
        if self._width:
            head.append(self._paint(f"{printable(str(context.get('step') or '')):<{self._width}}", _STEP))
        trace = str(context.get("trace_id") or "")[:8]
        head.append(self._paint(f"{printable(trace):<8}", _TRACE))
        text = printable(self._mask.text(record.getMessage()))
        shown = dict(context.get("fields") or {})
        if context.get("attempt", 1) > 1:
            shown["attempt"] = context["attempt"]
        for key, value in self._mask.value(shown).items():
            text += f"  {self._paint(printable(key) + '=', _KEY)}{_field(value)}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + printable(self._mask.text("".join(traceback.format_exception(record.exc_info[1])))).rstrip()
        return " ".join(head) + "  " + text.replace("\n", "\n    ")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and text.strip() else text


def setup(
    project: Project | None,
    *,
    json: bool,
    level: int = logging.INFO,
    stream: IO[str] | None = None,
    worker: int | None = None,
    hidden: Iterable[str] = (),
) -> Mask:
    """Send what is logged to `stream` (stderr for people, stdout for JSON), once: a second call replaces the first, as after a reload.
    `worker`: number of this process among several of the app, said in each line. `hidden`: further secrets. Returns the mask in use."""
    mask = Mask(hidden) if project is None else Mask.of(project, hidden=hidden)
    out = stream or (sys.stdout if json else sys.stderr)
    handler = logging.StreamHandler(out)
    steps = () if project is None else project.steps
    people = PeopleFormatter(mask, color=wants_color(out), steps=steps, worker=worker)
    handler.setFormatter(JsonFormatter(mask, worker=worker) if json else people)
    logging.raiseExceptions = False  # a closed stderr must not end a run
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "motia", False):
            root.removeHandler(old)
    handler.motia = True  # type: ignore[attr-defined]  # marks it as ours for the next call
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of libraries only what matters
    logging.getLogger(ROOT).setLevel(level)
    return mask


def banner(
    project: Project,
    api_url: str,
    workbench_url: str | None,
    nats_url: str,
    took: float,
    *,
    workers: int = 1,
    role: str = "all",
    color: bool = False,
) -> str:
    """What `motia dev` and `motia start` say once they serve. `took` is seconds from the command to here."""
    kinds: dict[str, int] = {}
    for step in project.steps.values():
        kind = type(step).__name__.removesuffix("Step").lower()
        kinds[kind] = kinds.get(kind, 0) + 1
    counted = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    count = len(project.steps)
    rows = [
        ("API", api_url),
        ("Workbench", workbench_url),
        ("NATS", Mask().text(nats_url)),
        ("Steps", f"{count} ({counted})" if count else "0; add one under `steps:`"),
        ("Role", ROLES.get(role)),
        ("Workers", str(workers) if workers > 1 else None),
    ]
    bold, dim, off = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if color else ("", "", "")
    lines = [f"{bold}{printable(project.name)}{off} {dim}ready in {took * 1000:.0f} ms{off}", ""]
    lines += [f"  {dim}{label:<10}{off} {value}" for label, value in rows if value]
    return "\n".join(["", *lines, ""])


def announce(
    project: Project,
    api_url: str,
    workbench_url: str | None,
    nats_url: str,
    took: float,
    *,
    workers: int = 1,
    role: str = "all",
) -> None:
    """Say that the app serves, in the manner of `setup`: the banner on stdout, or as JSON one record "ready" with the same facts."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        facts = {
            "app": project.name,
            "api": api_url,
            "nats": nats_url,
            "steps": len(project.steps),
            "took": round(took, 3),
        }
        if workbench_url:
            facts["workbench"] = workbench_url
        if role != "all":
            facts["role"] = role
        if workers > 1:
            facts["workers"] = workers
        logging.getLogger(ROOT).info("ready", extra={"motia": {"fields": facts}})
    else:
        color = wants_color(sys.stdout)
        text = banner(project, api_url, workbench_url, nats_url, took, workers=workers, role=role, color=color)
        print(text, flush=True)  # the one thing said that is no log line


def wants_color(stream: IO[str]) -> bool:
    """NO_COLOR set to anything switches colour off, FORCE_COLOR on; else a terminal has it. See no-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """Control characters as escapes; newlines and tabs stay."""
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text)


def _context(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "motia", None) or {}


def _level(record: logging.LogRecord) -> tuple[str, str]:
    return _LEVELS.get(record.levelno, (record.levelname.lower(), "0"))


def _field(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return printable(value)
    return printable(msgspec.json.encode(value).decode())
