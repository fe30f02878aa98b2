"""The Python handlers of a worker, on a thread and an event loop of their own, so that one which blocks keeps nobody from hearing of it."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, cast

import msgspec

from motia_runtime.bind import Bound, BoundStep, HandlerError, shared_out
from motia_runtime.bind import bind as bind_steps
from motia_runtime.changes import source
from motia_runtime.codec import Codec
from motia_runtime.context import Context, Secrets
from motia_runtime.controls.join import joined
from motia_runtime.execute import Executor
from motia_runtime.handler import Request, Response, StateChange, StreamChange, Trigger
from motia_runtime.isolation import wire as shapes
from motia_runtime.isolation.remote import Codecs, RemoteAttempt
from motia_runtime.remote.inputs import ApiInput
from motia_runtime.remote.python.line import Line
from motia_runtime.remote.wire import Result, Run, dump
from motia_runtime.trace import parse
from motia_runtime.types import Types
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, NoopStep, Project

SLACK = 1.0  # seconds beyond a run's timeout, which the engine sees to, before a handler is interrupted here

Read = Callable[[msgspec.Raw], Any]

_plain = msgspec.json.Decoder().decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_set = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_change = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _ApiInput(ApiInput, kw_only=True):
    body: msgspec.Raw
    query_params: msgspec.Raw


_request = msgspec.json.Decoder(_ApiInput).decode


class Handlers:
    """Of the steps of one project, as long as the worker lives. Raises `HandlerError` for those that can't be loaded."""

    def __init__(self, project: Project, types: Types) -> None:
        self._project = project
        self._types = types
        self._secrets = Secrets(project.secrets)
        steps = {name: step for name, step in project.steps.items() if _is_python(step)}
        server = msgspec.structs.replace(project.server, stream_auth=None)
        self._bound = bind_steps(msgspec.structs.replace(project, steps=steps, streams={}, server=server))
        self._codecs = {name: Codecs(project, types, cast(EventStep, step)) for name, step in steps.items()}
        self._reads = {name: self._reader(step) for name, step in steps.items()}
        self._loop = asyncio.new_event_loop()
        ready = Future[Executor]()
        self._thread = threading.Thread(target=self._live, args=(ready,), name="motia-handlers", daemon=True)
        self._thread.start()
        self._executor = ready.result()

    @property
    def steps(self) -> Iterable[str]:
        return self._bound

    def run(self, number: int, run: Run, line: Line) -> Future[Result | None]:
        """Call a function of a step. The future gives what it has returned or raises what it has raised; cancelling it interrupts the function."""
        return asyncio.run_coroutine_threadsafe(self._run(number, run, line), self._loop)

    def close(self) -> None:
        """Twice is harmless."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SLACK)

    def _live(self, ready: Future[Executor]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(lambda: ready.set_result(Executor()))
        self._loop.run_forever()
        self._executor.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _run(self, number: int, run: Run, line: Line) -> Result | None:
        bound = self._bound[run.step]
        trace = parse(run.traceparent)
        started = run.trigger
        trigger = Trigger(
            type=cast(Any, started.type),
            topic=started.topic,
            event_id=started.event_id,
            due=started.due,
            method=started.method,
            path=started.path,
        )
        told = shapes.Run(
            number,
            b"",
            run.run,
            "" if trace is None else trace.trace_id,
            run.attempt,
            trigger,
            "" if trace is None else trace.parent_id,
            run.tracestate,
        )
        # it has all that contexts ask of `Running`, which tests/engine/test_isolation.py checks
        attempt = cast(Any, RemoteAttempt(run.step, told, line, self._codecs[run.step], self._secrets))
        value = self._reads[run.step](trigger.topic or "", run.input)
        function = bound.condition if run.function == "condition" else self._chain(bound)
        if function is None:
            raise HandlerError(f"{run.step} has no condition here")
        args = (value,) if not isinstance(bound.step, CronStep) else (trigger,) if function.arity == 2 else ()
        result = await self._executor.run(function, args, Context(attempt), run.timeout + SLACK)
        return _result(result) if isinstance(bound.step, ApiStep) or run.function == "condition" else None

    # -- what a handler gets

    def _reader(self, step: AnyStep) -> Callable[[str, msgspec.Raw], Any]:
        if isinstance(step, ApiStep):
            return self._request_reader(step)
        if isinstance(step, CronStep):
            return lambda topic, raw: None
        assert isinstance(step, EventStep)
        reads: dict[str, Read] = {}
        for s in step.subscribes:
            if s.kind == "topic":
                reads[s.name] = _decoded(self._types.codec(self._project.topics[s.name].schema))
            elif s.kind == "state":
                reads[source("state", s.name)] = _changed(
                    self._types.codec(self._project.state[s.name].schema), StateChange
                )
            else:
                reads[source("stream", s.name)] = _changed(
                    self._types.codec(self._project.streams[s.name].schema), StreamChange
                )
        if step.join is not None:
            parts = dict(reads)
            reads[joined(step.join)] = lambda raw: {topic: parts[topic](part) for topic, part in _set(raw).items()}
        if step.batch is not None:
            return lambda topic, raw: [_first_that_fits(topic, reads, one) for one in _list(raw)]
        return lambda topic, raw: reads[topic](raw)

    def _request_reader(self, step: ApiStep) -> Callable[[str, msgspec.Raw], Any]:
        body = _decoded(self._types.codec(step.body)) if step.body else _plain
        query = _decoded(self._types.codec(step.query)) if step.query else _plain

        def read(_: str, raw: msgspec.Raw) -> Request:
            given = _request(raw)
            sent = base64.b64decode(given.raw_body64) if given.raw_body64 else given.raw_body.encode()
            return Request(
                body(given.body),
                given.path_params,
                query(given.query_params),
                given.headers,
                sent,
                given.method,
                given.path,
            )

        return read

    # -- middleware that goes along with the handler

    def _chain(self, bound: BoundStep) -> Bound:
        if not bound.middleware:
            return bound.handler
        executor, timeout = self._executor, bound.step.timeout

        async def innermost(request: Request, ctx: Any) -> Any:
            return await executor.run(bound.handler, (request,), ctx, timeout)

        call: Callable[[Request, Any], Any] = innermost
        for middleware in reversed(bound.middleware):
            call = _around(middleware, call)
        return Bound(bound.handler.handler, call, True, 2)


def _is_python(step: AnyStep) -> bool:
    if isinstance(step, NoopStep) or step.handler.language != "python":
        return False
    shared_out(step)
    return True


def _around(middleware: Bound, inner: Callable[[Request, Any], Any]) -> Callable[[Request, Any], Any]:
    async def call(request: Request, ctx: Any) -> Any:
        async def proceed(changed: Request | None = None) -> Any:
            return await inner(request if changed is None else changed, ctx)

        return await middleware.function(request, ctx, proceed)

    return call


def _decoded(codec: Codec) -> Read:
    return lambda raw: codec.decode(bytes(raw), trusted=True)


def _changed(codec: Codec, kind: type[Any]) -> Read:
    def some(raw: msgspec.Raw) -> Any:
        data = bytes(raw)
        return None if data == b"null" else codec.decode(data, trusted=True)

    def read(raw: msgspec.Raw) -> Any:
        fields = _change(raw)
        return kind(
            **{name: some(one) if name in ("value", "previous") else _plain(one) for name, one in fields.items()}
        )

    return read


def _first_that_fits(topic: str, reads: dict[str, Read], raw: msgspec.Raw) -> Any:
    """An element of a batch, of which only the first one's topic is known."""
    for read in (reads[topic], *reads.values()):
        try:
            return read(raw)
        except ValueError:  # and so ValidationFailed
            continue
    return reads[topic](raw)


def _result(value: Any) -> Result:
    if isinstance(value, Response):
        return _answer(value.status, value.headers, value.body)
    if type(value) is dict and type(value.get("status")) is int and value.keys() <= {"status", "headers", "body"}:
        return _answer(value["status"], value.get("headers"), value.get("body"))
    return _answer(None, None, value)


def _answer(status: int | None, headers: Any, body: Any) -> Result:
    named = None if headers is None else dict(headers)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return Result(
            status=status, headers=named, body=msgspec.Raw(dump(base64.b64encode(body).decode())), base64=True
        )
    return Result(status=status, headers=named, body=msgspec.Raw(dump(body)))
