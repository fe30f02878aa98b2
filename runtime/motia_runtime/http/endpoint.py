"""A step as an ASGI endpoint: the hot path. Decodes once, runs, answers; nothing of the framework is made per request."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from motia_runtime import trace
from motia_runtime.cancels import RunCancelled
from motia_runtime.codec import Codec
from motia_runtime.handler import Problem, Request, ValidationFailed
from motia_runtime.http import refusals
from motia_runtime.http.answers import Finisher
from motia_runtime.http.body import ClientGone, decode_body, read_body
from motia_runtime.http.cors import CorsPolicy
from motia_runtime.http.exchange import Asgi, Exchange
from motia_runtime.http.guard import Receive, Scope, Send, send_answer
from motia_runtime.http.problems import Header, Refused, from_problem, problem
from motia_runtime.http.query import Query
from motia_runtime.http.shared import render
from motia_runtime.isolation.failures import Elsewhere
from motia_runtime.ports import LogUnavailable
from motia_runtime.runner import Answer, ApiRunner, Gone, TraceContext, text_of
from motia_spec.model import ApiStep, Schema

RETRY_AFTER: Header = (b"retry-after", b"1")  # seconds

log = logging.getLogger("motia.http")


def header_dict(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; values as UTF-8, or Latin-1 where they are not; repeated ones joined, Cookie by "; ", others by ", " (RFC 9110, 5.3)."""
    try:
        found = {name.decode(): value.decode() for name, value in headers}
        if len(found) == len(headers):
            return found
    except UnicodeDecodeError:
        pass
    found = {}
    for name_bytes, value_bytes in headers:
        name, value = name_bytes.decode("latin-1"), text_of(value_bytes)
        joint = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{joint}{value}" if name in found else value
    return found


class WireRequest(Request[Any, Any, Any]):
    """A request whose headers are decoded when a handler looks at them, which most don't."""

    __slots__ = ("_headers", "_raw_headers")

    def __init__(
        self,
        body: Any,
        path_params: Any,
        query_params: Any,
        raw_headers: list[tuple[bytes, bytes]],
        raw_body: bytes,
        method: str,
        path: str,
    ) -> None:
        self.body = body
        self.path_params = path_params
        self.query_params = query_params
        self._raw_headers = raw_headers
        self._headers: dict[str, str] | None = None
        self.raw_body = raw_body
        self.method = method
        self.path = path

    @property
    def headers(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read as the attribute it stands for
        found = self._headers
        if found is None:
            found = self._headers = self._sent_headers()
        return found

    @headers.setter
    def headers(self, value: dict[str, str]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # as above
        self._headers = value

    def _sent_headers(self) -> dict[str, str]:
        return header_dict(self._raw_headers or [])


class Codecs(Protocol):
    """What the HTTP side needs of a project's types; `motia_runtime.types.Types` is it."""

    def codec(self, schema: Schema | None) -> Codec: ...


class StepEndpoint:
    """One api step. Lives as long as the application it is part of."""

    def __init__(self, step: ApiStep, types: Codecs, runner: ApiRunner, cors: CorsPolicy | None) -> None:
        self.step = step
        self._cors = cors
        self._names = step.path_params
        self._run = runner.run_api
        self._body: Codec | None = types.codec(step.body) if step.body else None
        self._query = Query(types.codec(step.query) if step.query else None)
        self._reads_query = step.query is not None  # a schema may ask for some, or fill in defaults
        self._finish = Finisher(step, {status: types.codec(schema) for status, schema in step.responses.items()}).finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        await self.serve(Asgi(scope, receive, send), values)

    async def serve(self, exchange: Exchange, values: list[str]) -> None:
        """Answer one request; `values` are the parameters in its path."""
        try:
            noted = exchange.noted
            context = trace.new_trace() if b"traceparent" not in noted else _context(noted)
            raw = b""
            body: Any = None
            lines = b""
            try:
                if noted and (b"content-length" in noted or b"transfer-encoding" in noted):
                    limit, length = self.step.body_limit, noted.get(b"content-length")
                    found = exchange.body_at_hand(limit)
                    raw = await read_body(exchange.receive, length, limit) if found is None else found
                query = self._query.parse(exchange.query) if self._reads_query or exchange.query else {}
                if raw or self._body is not None:
                    body = decode_body(raw, noted.get(b"content-type"), noted.get(b"content-encoding"), self._body)
                params = dict(zip(self._names, values, strict=True)) if values else {}
                request = WireRequest(body, params, query, exchange.headers, raw, exchange.method, exchange.path)
                lines = exchange.lines = self._told(noted, context.trace_id)
                answer = await self._run(self.step, request, context, self._finish, exchange.outlet)
                if answer is None:
                    return  # it was streamed
            except ClientGone:
                return
            except Gone:
                exchange.cut()
                return
            except Refused as refusal:
                refusals.count(self.step.path, refusal.status)
                answer = refusal.answer(context.trace_id)
            except Exception as error:
                answer = self._failed(error, context.trace_id)
                if exchange.started:
                    exchange.cut()
                    return
            if answer.trace_id or not lines:
                lines = self._told(noted, answer.trace_id or context.trace_id)
            if not exchange.reply_now(answer, lines):
                await exchange.reply(answer, lines)
        except BaseException as error:
            if not exchange.failed(error):
                raise
        finally:
            exchange.end()

    def _told(self, noted: dict[bytes, bytes], trace_id: str) -> bytes:
        """Headers that every answer has."""
        lines = b"x-trace-id: %b\r\n" % trace_id.encode()
        if self._cors is not None:
            origin = noted.get(b"origin")
            lines += render(self._cors.headers(None if origin is None else text_of(origin)))
        return lines

    def _failed(self, error: Exception, trace_id: str) -> Answer:
        """The answer to a run that raised. What the client is told holds no internals; the log has them, with the trace id."""
        told: dict[str, dict[str, Any]] = {"motia": {"step": self.step.name, "trace_id": trace_id}}
        if isinstance(error, Problem):
            try:
                return from_problem(error, trace_id)
            except (TypeError, ValueError) as wrong:
                log.error("raised a Problem that can't be sent: %s (trace %s)", wrong, trace_id, extra=told)
        elif isinstance(error, TimeoutError):
            log.error("took longer than its timeout of %g s (trace %s)", self.step.timeout, trace_id, extra=told)
            return problem(504, "The step did not finish in time.", trace_id=trace_id)
        elif isinstance(error, RunCancelled):
            log.warning("was cancelled (trace %s)", trace_id, extra=told)
            return problem(503, "The run was cancelled.", trace_id=trace_id)
        elif isinstance(error, LogUnavailable):
            log.error("could not store its effects: %s (trace %s)", error, trace_id, extra=told)
            detail = "The broker did not confirm that the result is stored; part of it may be. Try again."
            return problem(503, detail, trace_id=trace_id, headers=(RETRY_AFTER,))
        elif isinstance(error, ValidationFailed):
            log.error("failed: a value does not fit its schema: %s (trace %s)", error, trace_id, extra=told)
        elif isinstance(error, Elsewhere):  # a traceback would be of our own frames
            if error.stack:
                told["motia"]["fields"] = {"at": error.stack.rpartition("\n")[2]}
            log.error("failed: %s: %s (trace %s)", error.names[0], error, trace_id, extra=told)
        else:
            log.error("failed (trace %s)", trace_id, exc_info=error, extra=told)
        return problem(500, "The step failed. The trace id says which run.", trace_id=trace_id)


def _context(noted: dict[bytes, bytes]) -> TraceContext:
    told = trace.parse(text_of(noted[b"traceparent"]), text_of(noted.get(b"tracestate", b"")))
    return told or trace.new_trace()


class PathEndpoint:
    """One path: its steps by method, and what HTTP wants besides (HEAD from GET, OPTIONS, 405, preflights)."""

    def __init__(self, cors: CorsPolicy | None) -> None:
        self._steps: dict[str, StepEndpoint] = {}
        self._cors = cors
        self._allow = b""

    def add(self, method: str, endpoint: StepEndpoint) -> None:
        self._steps[method] = endpoint
        if method == "GET":
            self._steps.setdefault("HEAD", endpoint)
        self._allow = ", ".join(sorted({*self._steps, "OPTIONS"})).encode()

    def step(self, method: str) -> StepEndpoint | None:
        """The step that answers; None when something else does."""
        return None if self._cors is not None and method == "OPTIONS" else self._steps.get(method)

    def steps(self) -> list[tuple[str, StepEndpoint]]:
        """Every method that a step answers, as `step` has it."""
        return [(method, endpoint) for method in self._steps if (endpoint := self.step(method)) is not None]

    def __call__(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> Coroutine[Any, Any, None]:
        endpoint = self.step(scope["method"])
        if endpoint is None:
            return self._without_step(scope, receive, send, values)
        return endpoint(scope, receive, send, values)

    async def _without_step(self, scope: Scope, receive: Receive, send: Send, values: list[str]) -> None:
        method = scope["method"]
        headers = header_dict(scope["headers"])
        origin = headers.get("origin")
        cors = self._cors
        allow: Header = (b"allow", self._allow)
        if method == "OPTIONS" and cors is not None and origin and "access-control-request-method" in headers:
            await send_answer(scope, send, Answer(204, (allow,), b""), cors.preflight(origin, self._allow.decode()))
            return
        extra = () if cors is None else cors.headers(origin)
        if method in self._steps:
            await self._steps[method](scope, receive, send, values)
        elif method == "OPTIONS":
            await send_answer(scope, send, Answer(204, (allow,), b""), extra)
        else:
            refusals.count(next(iter(self._steps.values())).step.path, 405)
            detail = f"{method} is not among the methods of this path: {self._allow.decode()}."
            await send_answer(scope, send, problem(405, detail, headers=(allow,)), extra)
