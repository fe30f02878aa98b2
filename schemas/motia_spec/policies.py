"""Values of the spec that have their own spelling: durations, sizes and retry policies. What can't be read becomes a finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, cast

from motia_spec import durations
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import Retry
from motia_spec.node import MapNode, ScalarNode
from motia_spec.tree import Cursor

T = TypeVar("T")

SHORTEST_TIMEOUT = 0.001  # seconds


class Values:
    """Reads such values and collects what is wrong with them."""

    def __init__(self, found: list[Diagnostic], policies: Cursor) -> None:
        self.found = found
        self._policies = {name: self._policy(name, at) for name, _, at in policies.map("retry").maps()}

    def seconds(self, at: Cursor, key: str, default: float) -> float:
        return self._read(at, key, durations.seconds, default)

    def seconds_or_none(self, at: Cursor, key: str) -> float | None:
        return self.seconds(at, key, 0.0) if key in at else None

    def timeout(self, at: Cursor, key: str, default: float, *, zero: str = "every run would time out") -> float:
        """A duration that must not be 0. `zero` says what would happen then."""
        value = self.seconds(at, key, default)
        if value >= SHORTEST_TIMEOUT:
            return value
        self.found.append(
            error(
                "M416",
                at.place(key),
                f"{key} is 0, so {zero}",
                hint="write 30s, or leave it out",
                path=at.at(key),
            )
        )
        return default

    def size(self, at: Cursor, key: str, default: int) -> int:
        value = at.node.get(key)
        if isinstance(value, ScalarNode) and isinstance(value.value, int) and not isinstance(value.value, bool):
            return value.value
        return self._read(at, key, durations.size, default)

    def retry(self, at: Cursor, default: Retry) -> Retry:
        """The policy under `retry`: a name or a mapping. An unknown name reads as the default; rules.unknown_policy reports it."""
        if isinstance(at.get("retry"), MapNode):
            return self._policy("inline", at.map("retry"))
        return self._policies.get(at.text("retry"), default)

    def _policy(self, name: str, at: Cursor) -> Retry:
        plain = Retry()
        delay = self.seconds(at, "delay", plain.delay)
        backoff = at.text("backoff", plain.backoff)
        return Retry(
            name=name,
            attempts=at.whole("attempts", plain.attempts),
            backoff=cast(Literal["exponential", "linear", "fixed"], backoff),
            delay=delay,
            max=self.seconds(at, "max", max(plain.max, delay)),
            jitter=at.flag("jitter", plain.jitter),
            skip=tuple(word.text for word in at.words("skip")),
        )

    def _read(self, at: Cursor, key: str, parse: Callable[[str], T], default: T) -> T:
        if key not in at:
            return default
        value = at.get(key)
        text = value.value if isinstance(value, ScalarNode) else None
        try:
            return parse(text if isinstance(text, str) else repr(text))
        except ValueError as fault:
            self.found.append(error("M416", at.place(key), f"{key}: {fault}", path=at.at(key)))
            return default
