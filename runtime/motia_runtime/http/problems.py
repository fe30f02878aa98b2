"""Errors as HTTP says them: RFC 9457 problem details, never with internals."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from motia_runtime.handler import Fault, Problem, ValidationFailed
from motia_runtime.runner import Answer

CONTENT_TYPE = (b"content-type", b"application/problem+json")
NOSNIFF = (b"x-content-type-options", b"nosniff")
Header = tuple[bytes, bytes]

_encode = msgspec.json.Encoder().encode


class Refused(Exception):  # reads as the fact it states
    """A request that is answered without running its step."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        faults: tuple[Fault, ...] = (),
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title or phrase(status)
        self.detail = detail
        self.faults = faults
        self.headers = headers

    def answer(self, trace_id: str = "") -> Answer:
        return problem(
            self.status, self.detail, title=self.title, faults=self.faults, headers=self.headers, trace_id=trace_id
        )


def phrase(status: int) -> str:
    """The standard words for a status: "Not Found". Empty for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def problem(
    status: int,
    detail: str = "",
    *,
    title: str = "",
    type: str = "about:blank",
    instance: str = "",
    faults: tuple[Fault, ...] | list[Fault] = (),
    trace_id: str = "",
    headers: tuple[Header, ...] = (),
    extra: dict[str, Any] | None = None,
) -> Answer:
    """An answer of `application/problem+json`. `extra` adds members; it can't replace the standard ones."""
    members: dict[str, Any] = {"type": type, "title": title or phrase(status), "status": status}
    if detail:
        members["detail"] = detail
    if instance:
        members["instance"] = instance
    if faults:
        members["errors"] = faults
    if trace_id:
        members["traceId"] = trace_id
    if extra:
        members = {**extra, **members}
    return Answer(status=status, headers=(CONTENT_TYPE, NOSNIFF, *headers), body=_encode(members))


def from_problem(error: Problem, trace_id: str) -> Answer:
    """What a handler meant by `raise Problem(...)`. A status outside 400..599 is a mistake of the handler: ValueError."""
    if type(error.status) is not int or not 400 <= error.status <= 599:
        raise ValueError(f"Problem has status {error.status!r}; use an int from 400 to 599")
    return problem(
        error.status, error.detail, title=error.title, type=error.type, trace_id=trace_id, extra=error.extra or None
    )


def from_faults(error: ValidationFailed, what: str) -> Refused:
    """The refusal of a request whose `what` ("body", "query") does not fit its schema."""
    count = len(error.faults)
    return Refused(
        400,
        f"{count} fault{'s' if count != 1 else ''} in the {what}",
        title=f"The {what} does not fit its schema",
        faults=tuple(error.faults),
    )
