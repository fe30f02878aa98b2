"""The path of an api step: its syntax, its canonical form, and which two paths a request can't tell apart."""

from __future__ import annotations

import re

RESERVED = ("__motia", "__workbench", "healthz", "readyz", "schema")  # first segments that the runtime serves itself

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,;=@-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_LONGEST = 512  # characters


class BadPath(ValueError):
    """The path can't be read. The message says what was found and what is allowed."""


class ReservedPath(ValueError):
    """The path belongs to the runtime."""


def canonical(path: str) -> str:
    """`/orders/:id` as `/orders/{id}`. A parameter is a whole segment; `{rest:path}`, as the last one, takes the rest.
    BadPath, ReservedPath."""
    if not path.startswith("/"):
        raise BadPath(f"{path!r} must start with a slash, like /{path.lstrip('./').partition('?')[0] or 'orders'}")
    if len(path) > _LONGEST:
        raise BadPath(f"the path has {len(path)} characters; at most {_LONGEST} are allowed")
    for sign, meaning in (("?", "a query: declare it under `query`"), ("#", "a fragment: requests never carry one")):
        if sign in path:
            raise BadPath(f"{path!r} holds {meaning}")
    if path == "/":
        return path
    segments = path[1:].split("/")
    found: set[str] = set()
    result = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        parameter = _parameter(segment, path, last=last)
        if parameter is not None:
            name = parameter.partition(":")[0]
            if name in found:
                raise BadPath(f"{path!r} has the parameter {name!r} twice")
            found.add(name)
            result.append("{" + parameter + "}")
            continue
        _literal(segment, path, last=last)
        result.append(segment)
    if result[0].casefold() in RESERVED:
        raise ReservedPath(f"{path!r} starts with /{result[0]}, which the runtime serves itself")
    return "/" + "/".join(result)


def shape(path: str) -> str:
    """A canonical path with the names of its parameters left out: equal shapes match the same requests."""
    return "/".join(
        ("{:path}" if segment.endswith(":path}") else "{}") if segment.startswith("{") else segment
        for segment in path.split("/")
    )


def _parameter(segment: str, path: str, *, last: bool) -> str | None:
    """`id` or `rest:path` when the segment is a parameter, None when it is a literal."""
    if segment.startswith(":"):
        name, kind = segment[1:], ""
    elif segment.startswith("{") and segment.endswith("}"):
        name, _, kind = segment[1:-1].partition(":")
    else:
        return None
    if not _NAME.fullmatch(name):
        raise BadPath(f"{path!r}: {segment!r} is not a parameter: its name is letters, digits and _, like {{order_id}}")
    if kind not in ("", "path"):
        raise BadPath(
            f"{path!r}: {segment!r} has the type {kind!r}; a parameter is a string, or {{{name}:path}} for the rest"
        )
    if kind and not last:
        raise BadPath(f"{path!r}: {segment!r} takes the rest of the path, so it must be the last segment")
    return f"{name}:{kind}" if kind else name


def _literal(segment: str, path: str, *, last: bool) -> None:
    if segment == "":
        raise BadPath(
            f"{path!r} ends with a slash: leave it out" if last else f"{path!r} has an empty segment: write one slash"
        )
    if segment in (".", ".."):
        raise BadPath(f"{path!r} has the segment {segment!r}, which clients and proxies take away")
    if "{" in segment or "}" in segment:
        raise BadPath(f"{path!r}: in {segment!r} only a part is a parameter; it must be a whole segment, like /{{id}}")
    if "*" in segment:
        raise BadPath(f"{path!r}: there are no wildcards; {{rest:path}} as the last segment takes the rest")
    if not _LITERAL.fullmatch(segment):
        raise BadPath(f"{path!r}: {segment!r} may hold only A-Z a-z 0-9 and . _ ~ ! $ & ' ( ) + , ; = @ -")
