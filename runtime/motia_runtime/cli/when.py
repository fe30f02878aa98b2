"""Spans of time as options: `--since 2h --until 30m`, or `--since 2026-03-01T09:00`."""

from __future__ import annotations

import time
from datetime import datetime

import click

since_option = click.option(
    "--since", metavar="WHEN", help="Only from then on: so long ago (2h, 7d), or a date and time (2026-03-01T09:00)."
)
until_option = click.option("--until", metavar="WHEN", help="Only before then; as --since.")


def span(
    ctx: click.Context, since: str | None, until: str | None, now: float | None = None
) -> tuple[float | None, float | None]:
    """Seconds since the epoch, or None. A time without a zone is local. Raises `click.BadParameter`."""
    now = time.time() if now is None else now
    begin = None if since is None else _moment(ctx, "--since", since, now)
    end = None if until is None else _moment(ctx, "--until", until, now)
    if begin is not None and end is not None and begin >= end:
        raise click.BadParameter(f"{until!r} is not after {since!r}", ctx, param_hint="--until")
    return begin, end


def _moment(ctx: click.Context, option: str, text: str, now: float) -> float:
    from motia_spec.durations import seconds

    try:
        return now - seconds(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        message = f"{text!r} is neither a duration, such as 30m or 2h, nor a date and time, such as 2026-03-01T09:00"
        raise click.BadParameter(message, ctx, param_hint=option) from None
