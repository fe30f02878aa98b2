"""W3C Trace Context: ids and the headers `traceparent` and `tracestate` (https://www.w3.org/TR/trace-context/, version 00)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from motia_runtime.runner import TraceContext

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
LONGEST_STATE = 512  # characters of a `tracestate` that is carried on
MEMBERS = 32  # of a `tracestate`

REPLAY_OF = "Motia-Replay-Of"  # header of a replayed event: the trace that it comes from

AT_ONCE = 256  # ids asked of the kernel at a time: for each alone it costs twice as much


class _Ids:
    """Random ids of `size` hex digits, never all zeros, which the standard keeps for "none"."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: list[str] = []
        if hasattr(os, "register_at_fork"):  # a child must not give out its parent's
            os.register_at_fork(after_in_child=self._ready.clear)

    def new(self) -> str:
        try:
            return self._ready.pop()
        except IndexError:
            size = self._size
            self._ready.extend(os.urandom(AT_ONCE * size // 2).hex(" ", size // 2).split(" "))
            while "0" * size in self._ready:
                self._ready.remove("0" * size)
            return self.new()


_traces = _Ids(32)
new_span_id = _Ids(16).new


def new_trace() -> TraceContext:
    return TraceContext(_traces.new())


def parse(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """None for a `traceparent` that is absent or malformed: the standard has both headers ignored then."""
    found = _PARENT.fullmatch(traceparent) if traceparent and len(traceparent) == 55 else None
    if found is None:
        return None
    return TraceContext(found[1], found[2], "", state_of(tracestate) if tracestate else "")


def read(headers: Mapping[str, str]) -> TraceContext | None:
    """That of a record, as `parse`."""
    return parse(headers.get("traceparent"), headers.get("tracestate"))


def state_of(tracestate: str) -> str:
    """The list without empty members and spaces around them. Empty when it is malformed, has a key twice, or is longer than what we carry."""
    if len(tracestate) > LONGEST_STATE:
        return ""
    members = [member for each in tracestate.split(",") if (member := each.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)


def format_parent(trace_id: str, span_id: str) -> str:
    return f"00-{trace_id}-{span_id}-01"


def format_context(trace: TraceContext) -> str:
    """A root has no parent, but the header needs one: half of the trace id stands in, which no span of ours has."""
    return format_parent(trace.trace_id, trace.parent_id or trace.trace_id[:16])


def headers_of(traceparent: str, tracestate: str) -> dict[str, str]:
    """Of a record in a trace."""
    if tracestate:
        return {"traceparent": traceparent, "tracestate": tracestate}
    return {"traceparent": traceparent}


def headers_in(trace: TraceContext) -> dict[str, str]:
    """Of a record that sets off a run with the same parent."""
    return headers_of(format_context(trace), trace.tracestate)
