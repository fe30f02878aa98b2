"""W3C Trace Context: ids and the `traceparent` header (https://www.w3.org/TR/trace-context/, version 00)."""

from __future__ import annotations

import random
import re

from motia_runtime.runner import TraceContext

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

# trace ids need to be unique, not secret: this is 20 times cheaper than asking the kernel for each
_random = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311  # not a secret


def new_trace() -> TraceContext:
    return TraceContext(f"{_random.getrandbits(128) or 1:032x}")


def new_span_id() -> str:
    return f"{_random.getrandbits(64) or 1:016x}"


def parse(traceparent: str | None) -> TraceContext | None:
    """None for a header that is absent or malformed: the standard has it ignored then."""
    found = _PARENT.fullmatch(traceparent) if traceparent and len(traceparent) == 55 else None
    return TraceContext(found[1], found[2]) if found else None


def format_parent(trace_id: str, span_id: str) -> str:
    return f"00-{trace_id}-{span_id}-01"


def format_context(trace: TraceContext) -> str:
    """A root has no parent, but the header needs one: half of the trace id stands in, which no span of ours has."""
    return format_parent(trace.trace_id, trace.parent_id or trace.trace_id[:16])
