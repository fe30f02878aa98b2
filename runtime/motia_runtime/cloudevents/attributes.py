"""Attributes of CloudEvents as headers of NATS: `ce-` before the name, the value percent-encoded."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

ATTRIBUTE = "ce-"  # starts the name of a header that holds an attribute
VERSION = "1.0"  # of CloudEvents
JSON = "application/json"

# What need not be encoded: printable ASCII without space, double quote and percent
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
is_plain = re.compile(rf"[{re.escape(_SAFE)}]*").fullmatch
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def encode_value(value: str) -> str:
    return value if is_plain(value) else quote(value, safe=_SAFE)


def decode_value(header: str) -> str:
    """Raises `ValueError` for what is no UTF-8 once decoded."""
    if len(header) >= 2 and header[0] == header[-1] == '"':  # as older producers write it
        header = _ESCAPED.sub(r"\1", header[1:-1])
    return unquote_to_bytes(header).decode() if "%" in header else header
