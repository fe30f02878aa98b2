"""JSON as an argument, or from stdin with `-`."""

from __future__ import annotations

import sys
from typing import Any

import click

LARGEST = 16 << 20  # bytes read from stdin; the broker takes less


def read_json(argument: str) -> Any:
    import msgspec

    if argument == "-":
        raw = sys.stdin.buffer.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise click.UsageError(f"more than {LARGEST >> 20} MiB on stdin")
    else:
        raw = argument.encode(errors="surrogateescape")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = raw[:40].decode(errors="replace") + ("…" if len(raw) > 40 else "")
        hint = "; quote strings twice, for the shell and for JSON: '\"text\"'" if raw[:1] not in b'{["' else ""
        raise click.UsageError(f"not JSON: {shown!r}: {error}{hint}") from error
