"""A finding about the spec: what, where, and what to do. Layers collect them; nothing is printed here.

Codes are stable and documented one by one in `codes.py` (`motia explain CODE`). Ranges:
M0xx reading YAML, M1xx the schema of the spec, M2xx references and JSON Schemas, M3xx the graph (topics, flows, cycles),
M4xx steps and their keys, M5xx handlers.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from motia_spec.place import Place


class Severity(StrEnum):
    ERROR = "error"  # the project can't run
    WARNING = "warning"  # it runs, but probably not as meant
    NOTE = "note"  # it runs as meant; something is worth knowing


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding. `message` says what was found and what is allowed, in one line; `hint` says what to do about it."""

    code: str  # "M301"
    severity: Severity
    place: Place
    message: str
    hint: str = ""  # a did-you-mean or a remedy; empty when the message says it all
    path: str = ""  # JSON Pointer of the value in the merged spec: "/steps/CreateOrder/emits/0"
    related: tuple[tuple[Place, str], ...] = ()  # other places: "first defined here"


class SpecError(Exception):
    """The spec has errors. Its diagnostics say where and what; fix them and run again."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} errors in the spec")
        self.diagnostics = diagnostics


def error(code: str, place: Place, message: str, **more: object) -> Diagnostic:
    return Diagnostic(code, Severity.ERROR, place, message, **more)  # type: ignore[arg-type]  # keywords are Diagnostic's own


def warning(code: str, place: Place, message: str, **more: object) -> Diagnostic:
    return Diagnostic(code, Severity.WARNING, place, message, **more)  # type: ignore[arg-type]  # keywords are Diagnostic's own


def note(code: str, place: Place, message: str, **more: object) -> Diagnostic:
    return Diagnostic(code, Severity.NOTE, place, message, **more)  # type: ignore[arg-type]  # keywords are Diagnostic's own


def by_place(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Ordered by file, line, column, then code: the order in which people read."""
    return sorted(diagnostics, key=lambda d: (d.place.file, d.place.line, d.place.column, d.code, d.message))
