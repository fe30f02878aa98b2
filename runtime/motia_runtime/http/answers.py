"""What a handler returned, as a response: status, headers, encoded body."""

from __future__ import annotations

from collections.abc import Mapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.handler import Response
from motia_runtime.http.headers import BINARY, JSON, TEXT, checked
from motia_runtime.http.problems import Header
from motia_runtime.http.streamed import Pieces
from motia_runtime.runner import Answer, Streamed
from motia_spec.model import ApiStep

WITHOUT_BODY = frozenset({204, 205, 304})

_MOTIA_KEYS = frozenset({"status", "headers", "body"})
_encode = msgspec.json.Encoder().encode


class Finisher:
    """Turns results of one step's handler into answers. A body whose status has a declared schema is validated against it."""

    def __init__(self, step: ApiStep, codecs: Mapping[int, Codec]) -> None:
        self._step = step.name
        self._codecs = codecs
        declared = sorted(status for status in step.responses if 200 <= status < 300)
        self._status = declared[0] if declared else 200
        self._status_of_none = self._status if declared else 204
        self._plain = self._status not in codecs and self._status not in WITHOUT_BODY

    def finish(self, result: Any) -> Answer | Streamed:
        """A body that is a generator is streamed. Raises `ValidationFailed` for a body that does not fit its declared schema, `InvalidHeader`, ValueError for an impossible status,
        TypeError for a value that JSON can't hold."""
        if self._plain and type(result) is dict and "status" not in result:
            return Answer(self._status, JSON, _encode(result))  # most of all answers
        headers: Mapping[str, Any] | None = None
        if isinstance(result, Response):
            status, headers, body = result.status, result.headers, result.body
        elif type(result) is dict and "status" in result and _is_motia(result):
            status, headers, body = result["status"], result.get("headers"), result.get("body")
        else:
            body = result
            status = self._status_of_none if body is None else self._status
        if isinstance(body, AsyncGeneratorType | GeneratorType):
            return Pieces(self._step, body, self._codecs, status, headers)
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"step {self._step} answered with status {status!r}; use an int from 200 to 599")
        given: tuple[Header, ...] = ()
        typed = False
        if headers:
            given = checked(headers)
            typed = any(name == b"content-type" for name, _ in given)
        if status in WITHOUT_BODY:
            if body is not None and body != b"" and body != "":
                raise ValueError(f"step {self._step} answered {status} with a body; that status has none")
            return Answer(status, given, b"")
        standard, data = self._encode_body(status, body, typed)
        return Answer(status, given if typed else standard + given, data)

    def _encode_body(self, status: int, body: Any, typed: bool) -> tuple[tuple[Header, ...], bytes]:
        if isinstance(body, bytes | bytearray | memoryview):
            return BINARY, bytes(body)
        codec = self._codecs.get(status)
        if codec is not None and not (typed and type(body) is str):
            return JSON, codec.encode(body)
        if body is None:
            return (), b""
        if type(body) is str:
            return TEXT, body.encode("utf-8")
        return JSON, _encode(body)


def _is_motia(result: dict[str, Any]) -> bool:
    """Whether a dict is Motia's form of a response rather than a body that has a status."""
    return type(result["status"]) is int and _MOTIA_KEYS.issuperset(result)
