"""`idempotency`: requests with the same key get the answer of the first one, and its effects come true once.

    claim     `rt.=i.<step>.<key>`, appended with expect=0: who comes first runs, the others wait for the answer
    plan      at `tx.=i.<step>.<key>.<name of the claim>` (`commit`): of two engines that run because one of them stood still, one has a plan
    answer    a mark of the plan, which takes the place of the claim; without effects it is written there by itself

A claim is a lease, renewed while its run lasts. Once it has run out, whoever wants the key completes the plan, if there is one, or takes the claim over by
compare-and-set and runs. A claim keeps its name through this, so there is one plan however often that happens. A run that failed gives its claim back.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from motia_runtime.calls import Calls
from motia_runtime.commit import Claim, LeaseLost
from motia_runtime.context import new_id
from motia_runtime.effects import Services
from motia_runtime.handler import Problem, Request
from motia_runtime.http.problems import Header, Refused, from_problem
from motia_runtime.naming import encode
from motia_runtime.plans import CLAIM, KEPT, Mark, Planned
from motia_runtime.ports import Conflict, LogUnavailable
from motia_runtime.runner import Answer, Streamed, TraceContext
from motia_spec.model import ApiStep, Idempotency

LEASE = 15.0  # seconds that a claim holds without being renewed
RENEWED = 5.0  # seconds between renewals
CLAIM_KEPT = 4 * LEASE  # seconds that a claim stays at least, so that who takes it over finds its name
FIRST_LOOK, LONGEST_LOOK = 0.025, 0.25  # seconds between looks for the answer of another engine
REPLAYED: Header = (b"idempotency-replayed", b"true")

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Pending(msgspec.Struct, array_like=True, tag="p", frozen=True):
    """A claim: somebody runs, or did."""

    name: str  # of the claim, the same whoever takes it over
    owner: str  # who runs
    asked: bytes  # fingerprint of the request
    until: float  # end of the lease, seconds since the epoch; 0: given back, and nothing has happened


class Kept(msgspec.Struct, array_like=True, tag="k", frozen=True):
    """The answer."""

    asked: bytes
    owner: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trace_id: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Pending | Kept).decode
_as_json = msgspec.json.Encoder(order="sorted").encode


class _Held:
    """A claim of this engine, from its record to its end."""

    def __init__(self, subject: str, name: str, asked: bytes, window: float, step: str, token: str) -> None:
        self.subject = subject
        self.name = name
        self.owner = new_id()
        self.asked = asked
        self.ttl = max(1.0, window)
        self.seq = 0
        self.until = 0.0  # seconds since the epoch
        self.taken = False  # over from somebody who may have gone on
        self.closed = False  # to be renewed no more
        self.answer: Answer | None = None
        self.trace_id = ""
        self.planned = False  # the answer is part of a plan
        self.kept: Answer | None = None  # the answer, once it is true
        self.over = asyncio.Event()
        self.claim = Claim(f"{step}:{name}", f"tx.=i.{encode(step)}.{token}.{name}", None)
        self.claim.mark = self.mark

    def pending(self) -> bytes:
        return _encode(Pending(self.name, self.owner, self.asked, self.until))

    def data(self) -> bytes:
        answer = self.answer
        assert answer is not None
        return _encode(Kept(self.asked, self.owner, answer.status, answer.headers, answer.body, self.trace_id))

    def mark(self) -> Mark:
        self.planned = True
        return Mark(self.subject, self.data(), self.seq, self.ttl, self.name, self.until)


class Once:
    """`runner.ApiRunner` of the steps with `idempotency`. Lives as long as the engine."""

    def __init__(self, calls: Calls, services: Services) -> None:
        self._calls = calls
        self._log = services.log
        self._clock = services.clock
        self._commits = services.commits
        self._held: dict[str, _Held] = {}  # by subject
        self._renewing: asyncio.Task[None] | None = None
        self._lapsing: set[asyncio.Task[bool]] = set()

    async def run_api(
        self,
        step: ApiStep,
        request: Request,
        trace: TraceContext,
        finish: Callable[[Any], Answer | Streamed],
        stream_to: object = None,  # an answer that is kept can't be streamed
    ) -> Answer | None:
        """As `runner.ApiRunner.run_api`. Raises `Refused` for a key that can't be, belongs to another request, or whose answer takes too long."""
        asked_for = step.idempotency
        assert asked_for is not None
        key = request.headers.get(asked_for.header.lower())
        if key is None:
            return await self._calls.run_api(step, request, trace, finish)
        if not _KEY.fullmatch(key):
            raise Refused(400, f"{asked_for.header} has 1 to 255 visible ASCII characters, and is sent once.")
        asked = fingerprint(request)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + step.timeout
        pause = FIRST_LOOK
        look_first = False  # most keys are new
        while True:
            found = await self._ask(step, asked_for, encode(key), asked, look_first)
            look_first = True
            if isinstance(found, Answer):
                return found
            if found is not None:
                answer = await self._run(found, step, request, trace, finish)
                if answer is not None:
                    return answer
                deadline, pause = loop.time() + step.timeout, FIRST_LOOK
                continue
            if loop.time() >= deadline:
                raise _in_progress(asked_for)
            answer = await self._wait(_subject(step, encode(key)), min(deadline, loop.time() + pause), deadline)
            if answer is not None:
                return answer
            pause = min(2 * pause, LONGEST_LOOK)

    # -- claims

    async def _ask(
        self, step: ApiStep, asked_for: Idempotency, token: str, asked: bytes, look_first: bool
    ) -> _Held | Answer | None:
        """The answer, or the claim, which is ours then. None: somebody else runs."""
        subject = _subject(step, token)
        held = self._held.get(subject)
        if held is not None:
            if held.asked != asked:
                raise _in_progress(asked_for)
            return None

        def new(name: str) -> _Held:
            return _Held(subject, name, asked, asked_for.window, step.name, token)

        held = new(new_id())
        expect = None if look_first else 0
        redone = 0  # the claim whose plan has been completed, so that another record stands there now
        while True:
            if expect is not None and await self._claim(held, expect):
                return held
            record = await self._log.last(subject)
            if record is None:
                expect = 0
                continue
            there = _decode(record.data)
            if isinstance(there, Kept):
                if there.asked != asked:
                    raise _another_request(asked_for)
                return _replayed(Answer(there.status, there.headers, there.body, there.trace_id))
            if there.until > self._clock.time():
                if there.asked != asked:
                    raise _in_progress(asked_for)
                return None
            expect = record.seq
            if expect == redone:
                raise LogUnavailable(f"step {step.name}: the answer of a request that has ended can't be read")
            if there.asked != asked and there.until == 0:
                held = new(new_id())
                continue
            held = new(there.name)
            held.taken = True
            if await self._commits.redo(held.claim):
                redone, expect = expect, None  # its answer is there now
            elif there.asked != asked:
                raise _another_request(asked_for)

    async def _claim(self, held: _Held, expect: int) -> bool:
        """Write a claim, or renew it. False: somebody else has written since."""
        wall, steady = self._clock.time(), self._clock.steady()
        before, held.until = held.until, wall + LEASE
        try:
            held.seq = await self._log.append(
                held.subject, held.pending(), headers={CLAIM: held.name}, expect=expect, ttl=max(held.ttl, CLAIM_KEPT)
            )
        except BaseException as problem:
            held.until = before
            if isinstance(problem, Conflict):
                return False
            raise
        held.claim.until = steady + LEASE
        return True

    async def _replace(self, held: _Held, data: bytes, header: str, ttl: float) -> bool:
        """Put something else in the place of our claim. False: it is ours no more."""
        held.closed = True
        expect = held.seq
        while True:
            try:
                await self._log.append(held.subject, data, headers={header: held.name}, expect=expect, ttl=ttl)
                return True
            except Conflict:
                record = await self._log.last(held.subject)
                there = None if record is None else _decode(record.data)
                if record is None or not isinstance(there, Pending) or there.owner != held.owner:
                    return False
                expect = record.seq  # renewed meanwhile

    # -- running

    async def _run(
        self,
        held: _Held,
        step: ApiStep,
        request: Request,
        trace: TraceContext,
        finish: Callable[[Any], Answer | Streamed],
    ) -> Answer | None:
        """The answer, kept. None: it is for another engine to give."""
        self._held[held.subject] = held
        held.trace_id = trace.trace_id
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

        def finished(result: Any) -> Answer | Streamed:
            held.planned = False
            answer = finish(result)
            held.answer = None if isinstance(answer, Streamed) else answer
            return answer

        try:
            try:
                answer = await self._calls.run_api(step, request, trace, finished, None, held.claim)
                assert answer is not None  # only a streamed one is
            except Problem as problem:
                answer = held.answer = from_problem(problem, trace.trace_id)
                held.planned = False
                if answer.status >= 500:
                    raise
            if not held.planned and answer.status >= 500:
                await self._give_back(held, self._clock.time() if held.taken else 0.0)
                return answer
            if not held.planned and held.taken:
                # the plan decides, should the other one still come with its own
                await self._commits.commit(held.claim, "", Planned("", "", [], [], [held.mark()]), ())
            if held.claim.overtaken:
                return None
            if not held.planned and not await self._replace(held, held.data(), KEPT, held.ttl):
                return None
            held.kept = answer
            return answer
        except LeaseLost:
            return None
        except (LogUnavailable, asyncio.CancelledError):
            # perhaps it has a plan: whoever comes next shall look for it, and need not wait for the lease to run out
            task = asyncio.get_running_loop().create_task(self._give_back(held, self._clock.time()))
            self._lapsing.add(task)
            task.add_done_callback(self._lapsing.discard)
            raise
        except BaseException:
            await self._give_back(held, self._clock.time() if held.taken else 0.0)
            raise
        finally:
            held.closed = True
            del self._held[held.subject]
            held.over.set()

    async def _give_back(self, held: _Held, until: float) -> bool:
        held.until = until
        try:
            return await self._replace(held, held.pending(), CLAIM, max(held.ttl, CLAIM_KEPT))
        except LogUnavailable:
            return False  # its lease runs out

    async def _wait(self, subject: str, until: float, deadline: float) -> Answer | None:
        """For the answer: of this engine itself until `deadline`, of another one until it is worth a look (times of the event loop)."""
        held = self._held.get(subject)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline if held is not None else until):
                await (held.over if held is not None else asyncio.Event()).wait()
        return None if held is None or held.kept is None else _replayed(held.kept, held.trace_id)

    # -- leases

    async def _renew(self) -> None:
        """While there are claims."""
        try:
            while self._held:
                await self._clock.pause(RENEWED)
                await asyncio.gather(*(self._renew_one(held) for held in list(self._held.values())))
        finally:
            self._renewing = None

    async def _renew_one(self, held: _Held) -> None:
        if held.closed or held.until - self._clock.time() > LEASE - RENEWED:
            return
        with contextlib.suppress(LogUnavailable):
            if not await self._claim(held, held.seq):
                held.closed = True  # answered just now, or taken over

    async def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        if self._lapsing:
            await asyncio.wait(self._lapsing, timeout=1.0)
        for task in self._lapsing:
            task.cancel()


def _subject(step: ApiStep, token: str) -> str:
    # "=i" is no encoded name, so no stream of the app's can have these subjects
    return f"rt.=i.{encode(step.name)}.{token}"


def fingerprint(request: Request) -> bytes:
    """What two requests have in common that are the same: method, path, query and body."""
    found = sha256()
    for part in (
        request.method.encode(),
        request.path.encode("utf-8", "surrogatepass"),
        _as_json(request.query_params),
    ):
        found.update(b"%d:" % len(part))
        found.update(part)
    found.update(request.raw_body)
    return found.digest()


def _replayed(answer: Answer, trace_id: str = "") -> Answer:
    return Answer(answer.status, (*answer.headers, REPLAYED), answer.body, answer.trace_id or trace_id)


def _in_progress(asked_for: Idempotency) -> Refused:
    detail = f"A request with this {asked_for.header} is still being answered. Send it again later."
    return Refused(409, detail, headers=((b"retry-after", b"1"),))


def _another_request(asked_for: Idempotency) -> Refused:
    detail = f"This {asked_for.header} belongs to another request. A key is for one request and its repetitions; take a new one."
    return Refused(422, detail)
