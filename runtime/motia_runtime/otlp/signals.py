"""What is exported: traces and logs. Each has variables, an address and a queue of its own, and both are made of the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from motia_runtime.otlp import logs, spans
from motia_runtime.records import RunRecord

# attributes of who sends, version of the app's engine, records, path templates of api steps by step
Make = Callable[[Mapping[str, str], str, Iterable[RunRecord], Mapping[str, str]], "dict[str, Any] | None"]


class Signal(msgspec.Struct, frozen=True):
    name: str  # as people, variables and paths have it
    items: str  # in names of metrics
    make: Make  # the body of a request; None: there is nothing to send
    marks: tuple[bytes, ...] = ()  # a record without any of these holds nothing for it, which saves reading it


TRACES = Signal("traces", "spans", spans.request_of)
LOGS = Signal(
    "logs",
    "log_records",
    lambda who, version, records, _routes: logs.request_of(who, version, records),
    (b'"logs":[', b'"error":{'),
)
SIGNALS = (TRACES, LOGS)
