"""What the last save of the spec was like: its findings, and why it is not what runs. Written by `motia dev`, read by every version's Workbench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from motia_spec.diagnostics import Diagnostic
from motia_spec.place import Place
from motia_spec.sources import Sources

AROUND = 2  # lines shown before and after the one that a finding is about


class Finding(msgspec.Struct, frozen=True):
    """A diagnostic with the lines around its place."""

    code: str
    severity: str
    place: Place
    message: str
    hint: str
    path: str
    lines: list[tuple[int, str]]
    related: list[tuple[Place, str]]

    def plain(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        fields["place"] = _place(self.place)
        fields["related"] = [{"place": _place(place), "message": text} for place, text in self.related]
        return fields


class Board:
    """Lives as long as `motia dev` or `motia start`."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.broken = ""  # why the last save does not run; empty: it does
        self.saves = 0
        self.listeners: list[Callable[[], None]] = []  # called after each save

    def tell(self, diagnostics: Sequence[Diagnostic], sources: Sources | None, broken: str) -> None:
        """A save was looked at. `broken`: why it does not run."""
        self.findings = [_finding(each, sources) for each in diagnostics]
        self.broken = broken
        self.saves += 1
        for listener in list(self.listeners):
            listener()

    def plain(self) -> dict[str, Any]:
        return {"broken": self.broken, "saves": self.saves, "findings": [each.plain() for each in self.findings]}


def _finding(each: Diagnostic, sources: Sources | None) -> Finding:
    place = each.place
    lines: list[tuple[int, str]] = []
    if sources is not None:
        for number in range(max(1, place.line - AROUND), place.line + AROUND + 1):
            text = sources.line(place.file, number)
            if text is not None:
                lines.append((number, text))
    return Finding(each.code, each.severity.value, place, each.message, each.hint, each.path, lines, list(each.related))


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column, "width": place.width}
