"""A step with `rateLimit`: whom a request is counted for, and what they are told. Asked before anything else of a request is read.

The headers are those of draft-ietf-httpapi-ratelimit-headers since its version 8, `RateLimit` and `RateLimit-Policy`: the three older ones
(`RateLimit-Limit` and its like) are no longer in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from motia_runtime.controls.rate_limit import Limiter, Verdict, seconds_up
from motia_runtime.http import refusals
from motia_runtime.http.cors import CorsPolicy
from motia_runtime.http.endpoint import Codecs, StepEndpoint, header_dict
from motia_runtime.http.exchange import Exchange
from motia_runtime.http.problems import Refused, problem
from motia_runtime.http.query import parse_pairs
from motia_runtime.http.shared import render
from motia_runtime.http.streamed import Outlet
from motia_runtime.ports import LogUnavailable
from motia_runtime.runner import Answer, ApiRunner
from motia_spec.model import ApiStep, RateLimit

OF_ONE_CLIENT = 64  # bits of an IPv6 address: the rest of it, a client chooses for itself

KeyOf = Callable[[Exchange, list[str]], str]


class LimitedEndpoint(StepEndpoint):
    """A step's endpoint with a limiter in front."""

    def __init__(
        self, step: ApiStep, types: Codecs, runner: ApiRunner, cors: CorsPolicy | None, limiter: Limiter
    ) -> None:
        super().__init__(step, types, runner, cors)
        self._limiter = limiter
        self._key = key_of(step, limiter.rate)
        self._policy = policy(limiter.rate)

    async def serve(self, exchange: Exchange, values: list[str]) -> None:
        """As `StepEndpoint.serve`."""
        try:
            refusal, lines = await self._ask(exchange, values)
            if refusal is not None:
                refusals.count(self.step.path, refusal.status)
                if self._cors is not None:
                    origin = exchange.noted.get(b"origin")
                    lines += render(self._cors.headers(None if origin is None else origin.decode("latin-1")))
                if not exchange.reply_now(refusal, lines):
                    await exchange.reply(refusal, lines)
        except BaseException as error:
            seen_to = exchange.failed(error)
            exchange.end()
            if not seen_to:
                raise
            return
        if refusal is None:
            await super().serve(_WithLines(exchange, lines), values)
        else:
            exchange.end()

    async def _ask(self, exchange: Exchange, values: list[str]) -> tuple[Answer | None, bytes]:
        """A refusal, if it is one, and further header lines for whatever is answered."""
        try:
            key = self._key(exchange, values)
        except Refused as refusal:
            return refusal.answer(), b""
        limiter = self._limiter
        try:
            verdict = limiter.take_now(key) or await limiter.take(key)
        except LogUnavailable:
            detail = "The broker can't be reached, so nobody can say whether the rate limit has room. Try again."
            return problem(503, detail, headers=((b"retry-after", b"1"),)), b""
        lines = self._lines(verdict)
        if verdict.allowed:
            return None, lines
        rate, wait = limiter.rate, seconds_up(verdict.reset)
        detail = f"At most {rate.limit:,} requests in {rate.per:g} s. Try again in {wait} s."
        return problem(429, detail, headers=((b"retry-after", b"%d" % wait),)), lines

    def _lines(self, verdict: Verdict) -> bytes:
        return b'%bratelimit: "default";r=%d;t=%d\r\n' % (self._policy, verdict.remaining, seconds_up(verdict.reset))


class _WithLines:
    """An exchange whose answer gets further header lines."""

    def __init__(self, exchange: Exchange, lines: bytes) -> None:
        self._exchange = exchange
        self._lines = lines
        self.method = exchange.method
        self.path = exchange.path
        self.query = exchange.query
        self.headers = exchange.headers
        self.noted = exchange.noted
        self.client = exchange.client
        self.body_at_hand = exchange.body_at_hand
        self.receive = exchange.receive
        self.lines = b""
        self.cut = exchange.cut
        self.failed = exchange.failed
        self.end = exchange.end

    @property
    def started(self) -> bool:
        return self._exchange.started

    def outlet(self) -> Outlet:
        self._exchange.lines = self._lines + self.lines
        return self._exchange.outlet()

    def reply_now(self, answer: Answer, lines: bytes) -> bool:
        return self._exchange.reply_now(answer, self._lines + lines)

    async def reply(self, answer: Answer, lines: bytes) -> None:
        await self._exchange.reply(answer, self._lines + lines)


def policy(rate: RateLimit) -> bytes:
    """The line of `RateLimit-Policy`; a window that is not a whole number of seconds can't be told."""
    window = b";w=%d" % rate.per if rate.per == int(rate.per) else b""
    return b'ratelimit-policy: "default";q=%d%b\r\n' % (rate.limit, window)


def key_of(step: ApiStep, rate: RateLimit) -> KeyOf:
    """What tells for whom a request counts. Those without the header or the parameter count together."""
    kind, _, name = rate.key.partition(":")
    if kind == "header":
        wanted = name.lower()
        return lambda exchange, _: header_dict(exchange.headers).get(wanted, "")
    if kind == "query":
        return lambda exchange, _: _query_value(exchange.query, name)
    if kind == "path":
        index = step.path_params.index(name)
        return lambda _, values: values[index]
    if kind == "ip":
        return lambda exchange, _: address(exchange.client)
    return lambda _exchange, _values: ""  # global


def _query_value(query: bytes, name: str) -> str:
    found: str | list[str] = parse_pairs(query.decode("latin-1"), "query").get(name, "")
    return found[0] if isinstance(found, list) else found


def address(client: str) -> str:
    """Whose an address is: of IPv6, one client has a whole network."""
    if ":" not in client:
        return client
    try:
        found = ipaddress.IPv6Address(client)
    except ValueError:
        return client
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), OF_ONE_CLIENT), strict=False))
