"""W3C Trace Context: ids and the `traceparent` header (https://www.w3.org/TR/trace-context/, version 00)."""

from __future__ import annotations

import os
import re

from motia_runtime.runner import TraceContext

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

REPLAY_OF = "Motia-Replay-Of"  # header of a replayed event: the trace that it comes from

AT_ONCE = 256  # ids asked of the kernel at a time: for each alone it costs twice as much


class _Ids:
    """Random ids of `size` hex digits, never all zeros, which the standard keeps for "none"."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._find = re.compile(rf"(?!0{{{size}}}).{{{size}}}").findall
        self._ready: list[str] = []
        if hasattr(os, "register_at_fork"):  # a child must not give out its parent's
            os.register_at_fork(after_in_child=self._ready.clear)

    def new(self) -> str:
        try:
            return self._ready.pop()
        except IndexError:
            self._ready.extend(self._find(os.urandom(AT_ONCE * self._size // 2).hex()))
            return self.new()


_traces = _Ids(32)
new_span_id = _Ids(16).new


def new_trace() -> TraceContext:
    return TraceContext(_traces.new())


def parse(traceparent: str | None) -> TraceContext | None:
    """None for a header that is absent or malformed: the standard has it ignored then."""
    found = _PARENT.fullmatch(traceparent) if traceparent and len(traceparent) == 55 else None
    return TraceContext(found[1], found[2]) if found else None


def format_parent(trace_id: str, span_id: str) -> str:
    return f"00-{trace_id}-{span_id}-01"


def format_context(trace: TraceContext) -> str:
    """A root has no parent, but the header needs one: half of the trace id stands in, which no span of ours has."""
    return format_parent(trace.trace_id, trace.parent_id or trace.trace_id[:16])
