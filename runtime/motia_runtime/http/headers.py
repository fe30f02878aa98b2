"""Headers that a handler gives to its answer: checked and encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from motia_runtime.handler import InvalidHeader
from motia_runtime.http.problems import Header

JSON: tuple[Header, ...] = ((b"content-type", b"application/json"),)
TEXT: tuple[Header, ...] = ((b"content-type", b"text/plain; charset=utf-8"),)
BINARY: tuple[Header, ...] = ((b"content-type", b"application/octet-stream"),)
FRAMING = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"})

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def checked(headers: Mapping[str, Any]) -> tuple[Header, ...]:
    """Checked and encoded; a list of values makes one line for each. Content-Length and its like are ours and left out. Raises `InvalidHeader`."""
    found: list[Header] = []
    for name, value in headers.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise InvalidHeader(
                f"response header name {name!r} is not a token: letters, digits and !#$%&'*+-.^_`|~ only"
            )
        lower = name.lower()
        if lower in FRAMING:
            continue
        for one in value if isinstance(value, (list, tuple)) else (value,):
            text = one if isinstance(one, str) else str(one)
            if _VALUE.fullmatch(text) is None:
                raise InvalidHeader(
                    f"value of response header {name!r} holds a control character or one beyond Latin-1: {text[:80]!r}"
                )
            found.append((lower.encode(), text.encode("latin-1")))
    return tuple(found)
