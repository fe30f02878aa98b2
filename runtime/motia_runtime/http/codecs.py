"""What the HTTP side needs of the types of a project: one codec for each schema."""

from __future__ import annotations

from typing import Any, Protocol

from motia_spec.model import Schema


class Codec(Protocol):
    """All three raise `ValidationFailed` with every fault."""

    def decode(self, data: bytes) -> Any: ...
    def encode(self, value: Any) -> bytes: ...
    def convert(self, obj: Any, *, strict: bool = True) -> Any: ...  # not strict: numbers and booleans may be strings


class Types(Protocol):
    def codec(self, schema: Schema | None) -> Codec: ...
