"""The engine's side of workers: a run is sent to one, heard of, and sent to another when that one is gone or has no room.

A worker that falls silent is gone: what its run has asked for counts for nothing, and the run begins anew elsewhere, at once; the second time it has failed, and the
step's `retry` decides. One that nobody takes waits, for as long as there is no worker: an event stays in hand, a request is told 503 after a while.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec

from motia_runtime.bind import Bound, BoundStep, HandlerError
from motia_runtime.context import Context
from motia_runtime.execute import PRECISE, PULSE, HandlerTimeout
from motia_runtime.handler import Problem, Trigger
from motia_runtime.isolation.failures import WorkerDied
from motia_runtime.remote.attempt import Try
from motia_runtime.remote.inputs import input_of, result_of
from motia_runtime.remote.messenger import NOBODY, Messenger
from motia_runtime.remote.pieces import limit
from motia_runtime.remote.wire import (
    HEARTBEAT,
    PIECE,
    PROTOCOL,
    Cancel,
    Config,
    Done,
    Refusal,
    Refused,
    Reply,
    Run,
    Started,
    cancel_subject,
    dump,
    run_subject,
    to_subject,
)
from motia_runtime.trace import format_parent
from motia_spec.model import ApiStep, NoopStep, Project

if TYPE_CHECKING:
    from motia_runtime.runs import Attempt

SILENT = 5 * HEARTBEAT  # seconds without a word after which a worker is gone
LIVES = 2  # workers that may be gone while they ran it, before the attempt has failed
PAUSE = (0.01, 0.5)  # seconds before a run that nobody took is sent again, first and longest
PATIENCE = 5.0  # seconds that a request waits for a worker
TELL = 1.0  # seconds without a worker before the log says so
TELL_AGAIN = 60.0  # seconds before it says so again

_LATE = dump(
    Reply(refusal=Refusal(kind="RuntimeError", message="the run has ended; nothing can be asked of its ctx any more"))
)
_log = logging.getLogger("motia.worker")


class _Gone(Exception):
    """The worker fell silent."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """One function of a step that workers run."""

    step: str
    function: str
    subject: str
    cancel: str
    config: msgspec.Raw
    is_api: bool
    plain: bool  # its result is looked at by Python code


class _Lack(msgspec.Struct):
    """That nobody takes the runs of a step."""

    since: float
    told: float = 0.0


class Switchboard:
    """Of one engine. Lives as long as it; `start` and `close` once each."""

    def __init__(self, project: Project, messenger: Messenger | None, engine: str) -> None:
        self._project = project
        self._messenger = messenger
        self._to = to_subject(project.nats.prefix, engine)
        self._count = 0
        self._tries: dict[str, Try] = {}
        self._deadlines: dict[str, float] = {}  # of those whose timeout the sweep looks at
        self._waiting: set[asyncio.Task[Any]] = set()  # events that no worker takes
        self._stopping = False
        self._lacks: dict[str, _Lack] = {}
        self._listening: int | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept = 0.0
        self._loop = asyncio.get_running_loop()
        self.silent = SILENT

    def place(self, bound: BoundStep) -> BoundStep:
        """The step itself, or with its functions in workers where they belong there. Raises `HandlerError` when none can be reached."""
        handler, condition = self._away(bound, bound.handler), self._away(bound, bound.condition)
        return msgspec.structs.replace(bound, handler=handler, condition=condition)

    def _away(self, bound: BoundStep, function: Bound | None) -> Any:
        if function is None or not function.remote:
            return function
        if self._messenger is None:
            raise HandlerError(
                f"{bound.step.name}: {function.handler.path} runs in a worker, and here is no broker to reach one by"
            )
        return msgspec.structs.replace(function, elsewhere=partial(self._run, self._desk(bound, function)))

    def _desk(self, bound: BoundStep, function: Bound) -> Desk:
        project, step = self._project, bound.step
        assert not isinstance(step, NoopStep)
        config = Config(
            kind="api" if isinstance(step, ApiStep) else "cron" if function.arity == 1 else "event",
            emits=[emit.topic for emit in step.emits],
            streams=sorted(project.streams),
            flows=[flow.name for flow in project.flows.values() if step.name in flow.steps],
        )
        return Desk(
            step=step.name,
            function="handler" if function is bound.handler else "condition",
            subject=run_subject(project.nats.prefix, step.name),
            cancel=cancel_subject(project.nats.prefix, step.name),
            config=msgspec.Raw(dump(config)),
            is_api=isinstance(step, ApiStep),
            plain=bool(bound.middleware) or function is bound.condition,
        )

    def start(self) -> None:
        if self._messenger is not None:
            self._listening = self._messenger.listen(self._to + "*", self._heard)

    async def stop_waiting(self) -> None:
        """The engine stops: what no worker has taken is given back at once."""
        self._stopping = True
        for task in self._waiting:
            task.cancel()

    async def close(self) -> None:
        """Nothing runs any more. Twice is harmless."""
        if self._messenger is not None and self._listening is not None:
            number, self._listening = self._listening, None
            await self._messenger.unlisten(number)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    # -- one run

    async def _run(self, desk: Desk, args: tuple[Any, ...], ctx: Context, timeout: float) -> Any:
        """What the function returns or raises, wherever it runs; `HandlerTimeout`, and `WorkerDied` when workers died of it. Waiting for a worker takes nothing
        of the timeout. Raises `Problem` when a request waits for one too long."""
        run = cast("Attempt", ctx._run)  # contexts of engines have nothing else
        given = input_of(args)
        deaths = 0
        pause, longest = PAUSE
        began = self._loop.time()
        while True:
            connections = self._messenger.connections if self._messenger else 0
            try:
                done = await self._try(desk, given, ctx, timeout)
            except _Gone:
                deaths += self._messenger is not None and self._messenger.connections == connections
                if deaths >= LIVES:
                    raise WorkerDied(f"the worker that ran {desk.step} fell silent for {self.silent:g} s") from None
                _log.warning("%s: its worker fell silent; the run begins anew at another one", desk.step)
                run.start_over()
                continue
            if isinstance(done, Done):
                if self._lacks:
                    self._found(desk)
                return result_of(done.result, plain=desk.plain)
            run.start_over()
            self._missed(desk, done)
            if desk.is_api and self._loop.time() - began > min(PATIENCE, timeout):
                raise Problem(503, "No worker takes this step at the moment.", "Try again.")
            await self._pause(desk, pause * random.uniform(0.5, 1))  # noqa: S311  # spreads load, hides nothing
            pause = min(2 * pause, longest)

    async def _pause(self, desk: Desk, seconds: float) -> None:
        task = asyncio.current_task()
        if desk.is_api or task is None:  # requests wait for so long only, and are told
            await asyncio.sleep(seconds)
            return
        self._waiting.add(task)
        try:
            if self._stopping:
                task.cancel()
            await asyncio.sleep(seconds)
        finally:
            self._waiting.discard(task)

    async def _try(self, desk: Desk, given: bytes, ctx: Context, timeout: float) -> Done | Refused:
        messenger, run = self._messenger, cast("Attempt", ctx._run)
        assert messenger is not None
        if not messenger.connected:
            return Refused(why="unknown", message="there is no connection to NATS")
        self._count += 1
        token = str(self._count)
        now = self._loop.time()
        tried = Try(ctx, messenger.send, limit(messenger.max_payload), now)
        message = Run(
            protocol=PROTOCOL,
            run=run.run_id,
            step=desk.step,
            function=desk.function,  # type: ignore[arg-type]  # one of two
            attempt=run.number,
            traceparent=format_parent(run.trace_id, run.span_id),
            tracestate=run.tracestate,
            deadline=time.time() + timeout,
            timeout=timeout,
            heartbeat=HEARTBEAT,
            trigger=_started(run.trigger),
            config=desk.config,
            input=msgspec.Raw(given),
        )
        data = dump(message)
        if len(data) > limit(messenger.max_payload):
            claim = tried.claim(data)
            claim.protocol, claim.step = PROTOCOL, desk.step
            data = dump(claim)
        self._tries[token] = tried
        if timeout < PRECISE:
            timer = self._loop.call_later(timeout, self._expire, token, timeout)
        else:
            timer = None
            self._deadlines[token] = now + timeout
        if self._sweeper is None:
            self._swept = now
            self._sweeper = self._loop.call_later(PULSE, self._sweep)
        why = ""
        try:
            messenger.send(desk.subject, data, reply=self._to + token)
            try:
                done = await tried.over
                if isinstance(done, Done):
                    await tried.settle(done)
                return done
            except HandlerTimeout:
                why = "timeout"
                raise HandlerTimeout(f"no result after {timeout:g} s") from None
            except (asyncio.CancelledError, _Gone):
                why = "cancelled"
                raise
        finally:
            del self._tries[token]
            self._deadlines.pop(token, None)
            if timer is not None:
                timer.cancel()
            tried.close()
            if why:
                messenger.send(desk.cancel, dump(Cancel(run=self._to + token, why=why)))  # type: ignore[arg-type]  # one of two

    def _heard(self, subject: str, reply: str, status: int, head: dict[str, str], data: bytes) -> None:
        tried = self._tries.get(subject[len(self._to) :])
        if tried is None:
            if reply and self._messenger is not None:
                self._messenger.send(reply, _LATE)
        elif status == NOBODY:
            tried.end(Refused(why="unknown", message="no worker is there"))
        else:
            tried.heard = self._loop.time()
            tried.hear(reply, data, head.get(PIECE))

    # -- what is overdue

    def _sweep(self) -> None:
        now = self._loop.time()
        if now - self._swept > 4 * PULSE:  # we stood still: what workers said meanwhile is still to be read
            for tried in self._tries.values():
                tried.heard = now
        self._swept = now
        for token, deadline in list(self._deadlines.items()):
            if deadline <= now:
                self._expire(token, 0)
        for tried in list(self._tries.values()):
            if now - tried.heard > self.silent:
                tried.end(_Gone())
        self._sweeper = self._loop.call_later(PULSE, self._sweep) if self._tries else None

    def _expire(self, token: str, _: float) -> None:
        tried = self._tries.get(token)
        if tried is not None:
            tried.end(HandlerTimeout())

    # -- saying that there is no worker

    def _missed(self, desk: Desk, refused: Refused) -> None:
        now = self._loop.time()
        lack = self._lacks.setdefault(desk.step, _Lack(now))
        mismatch = refused.why == "protocol"
        if refused.why == "busy" or now - lack.told < TELL_AGAIN or (now - lack.since < TELL and not mismatch):
            return
        lack.told = now
        if mismatch:
            _log.error(
                "%s: its worker does not fit this engine: %s; its runs wait for one that does",
                desk.step,
                refused.message,
            )
        else:
            _log.warning(
                "%s: no worker takes its runs (%s); they wait. `motia worker` starts one", desk.step, refused.message
            )

    def _found(self, desk: Desk) -> None:
        lack = self._lacks.pop(desk.step, None)
        if lack is not None and lack.told:
            _log.info("%s: a worker takes its runs again", desk.step)


def _started(trigger: Trigger) -> Started:
    return Started(
        type=trigger.type,
        topic=trigger.topic,
        event_id=trigger.event_id,
        due=trigger.due,
        method=trigger.method,
        path=trigger.path,
    )
