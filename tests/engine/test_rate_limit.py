"""Rate limits: exact in one instance, never above the limit over several, and what is told."""

from __future__ import annotations

import asyncio
import random

import pytest

from motia_runtime.clock import VirtualClock
from motia_runtime.controls.rate_limit import Limiter
from motia_runtime.http.limited import address
from motia_runtime.memory import MemoryLog
from motia_runtime.ports import LogUnavailable
from motia_spec.model import RateLimit

START = 1_700_000_000.0
SPEC = """
name: t
steps:
  Ask:
    type: api
    method: [GET, POST]
    path: /ask/{{id}}
    body: {{type: object, required: [n]}}
    rateLimit: {{limit: {limit}, per: {per}, key: "{key}"}}
"""
ASK = """
runs = 0

async def handler(request, ctx):
    global runs
    runs += 1
    return {"run": runs}
"""


def spec(limit: int = 5, per: str = "10s", key: str = "ip") -> str:
    return SPEC.format(limit=limit, per=per, key=key)


def ask(app, path="/ask/1", **headers):
    return app.request("POST", path, json={"n": 1}, headers=headers)


async def test_the_limit_is_exact_and_told(make_app):
    async with make_app(spec(), start=START, ask=ASK) as app:
        answers = [await ask(app) for _ in range(7)]
        assert [a.status for a in answers] == [200] * 5 + [429] * 2
        assert [a.headers["ratelimit"] for a in answers[:5]] == [f'"default";r={left};t=10' for left in (4, 3, 2, 1, 0)]
        assert {a.headers["ratelimit-policy"] for a in answers} == {'"default";q=5;w=10'}
        refused = answers[5]
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("10", '"default";r=0;t=10')
        await app.advance(9)
        assert (await ask(app)).headers["retry-after"] == "1"
        await app.advance(1)
        assert [(await ask(app)).status for _ in range(6)] == [200] * 5 + [429]


async def test_at_once_it_is_exact_as_well(make_app):
    async with make_app(spec(limit=20), start=START, ask=ASK) as app:
        answers = await asyncio.gather(*(ask(app) for _ in range(50)))
        assert sorted(a.status for a in answers) == [200] * 20 + [429] * 30


async def test_a_request_counts_before_it_is_read(make_app):
    async with make_app(spec(limit=2), start=START, ask=ASK) as app:
        assert [(await app.request("POST", "/ask/1", json=[])).status for _ in range(3)] == [400, 400, 429]


@pytest.mark.parametrize(
    ("key", "same", "other"),
    [
        ("header:X-Api-Key", [("/ask/1", {"x-api-key": "a"}), ("/ask/2", {"x-api-key": "a"})], ("/ask/1", {"x-api-key": "b"})),
        ("query:user", [("/ask/1?user=a", {}), ("/ask/2?x=1&user=%61", {})], ("/ask/1?user=b", {})),
        ("path:id", [("/ask/1", {}), ("/ask/1?a=1", {})], ("/ask/2", {})),
        ("query:user", [("/ask/1", {}), ("/ask/2", {})], ("/ask/1?user=b", {})),
    ],
)  # fmt: skip
async def test_each_key_counts_for_itself(make_app, key, same, other):
    async with make_app(spec(limit=1, key=key), start=START, ask=ASK) as app:
        assert [(await ask(app, path, **headers)).status for path, headers in same] == [200, 429]
        assert (await ask(app, other[0], **other[1])).status == 200


async def test_all_together(make_app):
    async with make_app(spec(limit=1, key="global"), start=START, ask=ASK) as app:
        assert [(await ask(app, f"/ask/{n}")).status for n in range(2)] == [200, 429]


async def test_forwarded_addresses_are_not_believed(make_app):
    async with make_app(spec(limit=1), start=START, ask=ASK) as app:
        answers = [
            await ask(app, **{"x-forwarded-for": f"10.0.0.{n}", "forwarded": f"for=10.0.0.{n}"}) for n in range(2)
        ]
        assert [a.status for a in answers] == [200, 429]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_whose_an_address_is(one: str, other: str, same: bool) -> None:
    assert (address(one) == address(other)) is same


# -- several instances


class Counting(MemoryLog):
    """Counts what it is asked."""

    asked = 0
    away = False

    def connected(self):
        return not self.away

    def append(self, *args, **kwargs):
        self.asked += 1
        return super().append(*args, **kwargs)

    async def last(self, subject):
        self.asked += 1
        return await super().last(subject)


def instances(limit: int, per: float, count: int):
    clock = VirtualClock(START)
    log = Counting(clock)
    return clock, log, [Limiter("S", RateLimit(limit=limit, per=per), log, clock) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 3, 20, 1000])
async def test_two_instances_together_never_allow_more_and_not_much_less(limit):
    clock, log, limiters = instances(limit, 10.0, 2)
    dice = random.Random(limit)
    for _ in range(5):
        verdicts = await asyncio.gather(*(dice.choice(limiters).take("k") for _ in range(3 * limit + 3)))
        allowed = sum(verdict.allowed for verdict in verdicts)
        assert limit * 0.85 <= allowed <= limit
        await clock.advance(10)
    log.close()


async def test_most_requests_ask_nobody():
    _, log, limiters = instances(10_000, 1.0, 2)
    for _ in range(5_000):
        for limiter in limiters:
            assert (await limiter.take("k")).allowed
    assert log.asked < 400
    before = log.asked
    assert not (await limiters[0].take("k")).allowed
    assert not (await limiters[0].take("k")).allowed
    assert log.asked <= before + 2, "a no is remembered until the window ends"
    log.close()


async def test_a_clock_that_is_behind_takes_from_the_window_of_the_one_ahead():
    _, log, (ahead,) = instances(4, 10.0, 1)
    behind_clock = VirtualClock(START - 7)
    behind = Limiter("S", RateLimit(limit=4, per=10.0), log, behind_clock)
    assert [(await behind.take("k")).allowed for _ in range(2)] == [True, True]
    assert [(await ahead.take("k")).allowed for _ in range(3)] == [True] * 3
    assert [(await behind.take("k")).allowed for _ in range(3)] == [True, False, False]
    log.close()


async def test_what_was_taken_serves_on_while_the_broker_is_away_and_then_nobody_knows():
    _, log, (limiter,) = instances(1000, 10.0, 1)
    for _ in range(40):
        await limiter.take("k")
    log.away = True
    ours = limiter._buckets["k"].tokens
    assert ours > 0
    for _ in range(ours):
        assert (await limiter.take("k")).allowed
    with pytest.raises(LogUnavailable):
        await limiter.take("k")
    log.away = False
    assert (await limiter.take("k")).allowed
    log.close()


async def test_what_is_left_is_given_back():
    _, log, (one, other) = instances(100, 1000.0, 2)
    one._most = 50
    for _ in range(10):
        await one.take("k")
    assert one._buckets["k"].tokens > 0
    await one.stop()
    assert sum([(await other.take("k")).allowed for _ in range(100)]) == 90
    log.close()


async def test_the_broker_away_is_503(make_app, monkeypatch):
    async with make_app(spec(), start=START, ask=ASK) as app:
        monkeypatch.setattr(app._log, "connected", lambda: False)
        answer = await ask(app)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
