"""What `streamAuth` is told of a request."""

from __future__ import annotations

from typing import Any

from motia_runtime.http.guard import Scope
from motia_runtime.http.problems import Refused
from motia_runtime.http.query import parse_pairs


def headers_of(scope: Scope) -> dict[str, str]:
    """Lower-case names; repeated ones joined by ", ", as handlers get them."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def query_of(scope: Scope) -> dict[str, Any]:
    """Texts, or lists of them for repeated names. Raises `Refused`."""
    try:
        return parse_pairs(scope["query_string"].decode("ascii"), "query")
    except UnicodeDecodeError:
        raise Refused(400, "The query holds characters that are not percent-encoded.") from None
