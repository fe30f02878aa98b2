"""The text of the files of a spec, kept so that a diagnostic can show the line it is about."""

from __future__ import annotations


class Sources:
    """Lines by file name (relative to the project root). Lives as long as the diagnostics that point into it."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, file: str, text: str) -> list[str]:
        """Keep the text of `file`; its lines, without line ends."""
        lines = text.replace("\r\n", "\n").split("\n")
        self._lines[file] = lines
        return lines

    def line(self, file: str, number: int) -> str | None:
        """Line `number` (from 1) of `file`; None when there is none."""
        lines = self._lines.get(file, ())
        return lines[number - 1] if 0 < number <= len(lines) else None

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self._lines)
