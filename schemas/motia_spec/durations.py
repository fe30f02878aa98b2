"""Durations as Go writes them (`500ms`, `1h30m`, `7d`) and sizes (`1MiB`, `512KiB`, `10MB`)."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "KB": 1000, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"([\d.]+)(ms|[smhd])", re.ASCII)
_SIZE = re.compile(r"(\d{1,12})(B|KiB|MiB|GiB|kB|KB|MB|GB)?", re.ASCII)

LONGEST = 3660 * 86400.0  # seconds: about ten years; JetStream keeps ages as 64-bit nanoseconds


def seconds(text: str) -> float:
    """`1h30m` as 5400.0. ValueError says what is allowed."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write a number with ms, s, m, h or d, like 500ms, 30s or 1h30m")
    total = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if total > LONGEST:
        raise ValueError(f"{text!r} is longer than ten years")
    return round(total, 6)


def size(text: str) -> int:
    """`1MiB` as 1048576; a bare number counts bytes. ValueError says what is allowed."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size: write a whole number with B, KiB, MiB, GiB, KB, MB or GB, like 1MiB")
    return int(found[1]) * _BYTES[found[2] or "B"]


def spell(value: float) -> str:
    """Seconds as people write them: 5400.0 is `1h30m`. Whole milliseconds, rounded."""
    left = round(value * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        step = round(_SECONDS[unit] * 1000)
        count, left = divmod(left, step)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
