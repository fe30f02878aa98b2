"""Output: talk on stderr, results on stdout, tables aligned, JSON for machines, colour only where it is wanted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from unicodedata import east_asian_width

import click

from motia_runtime.logs import printable, wants_color

__all__ = ["clock", "emit_json", "emit_line", "json_option", "paint", "printable", "say", "seconds", "table"]

LIMIT = 80  # columns of a table's cell; a longer text is cut

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def say(text: str, *, color: str = "") -> None:
    """One line of talk, to stderr."""
    click.echo(paint(text, color, sys.stderr), err=True, color=True)


def paint(text: str, color: str, stream: Any = None) -> str:
    """`color` is an SGR code such as "31"; nothing is done to text for a stream that shows none."""
    return f"\x1b[{color}m{text}\x1b[0m" if color and text and wants_color(stream or sys.stdout) else text


def emit_json(value: Any) -> None:
    """The value as JSON on stdout: two spaces for people at a terminal, one line in a pipe."""
    import msgspec

    data = msgspec.json.encode(value)
    if sys.stdout.isatty():
        data = msgspec.json.format(data, indent=2)
    click.echo(data.decode())


def emit_line(value: Any) -> None:
    """The value as one line of JSON on stdout, at once."""
    import msgspec

    click.echo(msgspec.json.encode(value).decode())


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Aligned columns on stdout; `empty` is said on stderr when there are no rows. Numbers should come as text."""
    if not rows:
        say(empty)
        return
    cells = [[_cut(printable(str(cell)).replace("\n", " ").replace("\t", " ")) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headers, *cells, strict=True)]
    for index, row in enumerate([list(headers), *cells]):
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        click.echo(paint("  ".join(padded).rstrip(), "" if index else "2"), color=True)


def clock(when: float) -> str:
    """Local date and time of seconds since the epoch."""
    return datetime.fromtimestamp(when, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(duration: float) -> str:
    """3.2 ms, 1.25 s, 2 m 05 s"""
    if duration < 1:
        return f"{duration * 1000:.1f} ms"
    if duration < 60:
        return f"{duration:.2f} s"
    return f"{int(duration // 60)} m {int(duration % 60):02d} s"


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"
