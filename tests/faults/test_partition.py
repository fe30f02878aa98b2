"""The way to the broker is cut, swallowed or stalled: requests get an answer in bounded time, nothing accepted is lost, and work goes on when it heals."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from support.chaos.faults import World
from support.chaos.load import Batch, make_batches
from support.chaos.proxy import Mode
from support.chaos.run import Settings, count, world
from support.waiting import wait_for

ANSWERED = 12.0  # seconds in which any request is answered: those for which an append is tried, and two of margin
BACK = 3.0  # seconds until work goes on after a cut has healed
DEAD = 30.0  # seconds until a connection that nobody resets is found dead: two pings of 5 s, and margin
SETTINGS = Settings(seed=0, events=0, faults=0, seconds=0, hurried=True)


def post(made: World, batch: Batch) -> httpx.Response:
    body = {"id": batch.id, "orders": batch.orders, "pairs": batch.pairs, "turns": batch.turns}
    began = time.monotonic()
    batch.outcome = "unknown"
    answer = httpx.post(made.instances[0].url + "/orders", json=body, timeout=60)
    batch.took, batch.status = time.monotonic() - began, answer.status_code
    if answer.status_code == 202:
        batch.outcome = "ok"
    return answer


@pytest.mark.parametrize("mode", ["cut", "stall", pytest.param("hole", marks=pytest.mark.long)])
def test_a_broker_out_of_reach_is_said_in_time_and_survived(tmp_path: Path, mode: Mode) -> None:
    batches = make_batches(1, 40, kinds=("plain",))
    with world(tmp_path, instances=1, hurried=True) as made:
        assert post(made, batches[0]).status_code == 202
        made.proxies[0].turn(mode)
        answer = post(made, batches[1])
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert batches[1].took < ANSWERED
        made.proxies[0].turn("pass")
        sent = iter(batches[2:])
        used = batches[:2]

        def accepted() -> bool:
            used.append(next(sent))
            return post(made, used[-1]).status_code == 202

        wait_for(accepted, "no request is accepted after the connection has healed", BACK)
        verdict = count(made, tmp_path / "app0", used, SETTINGS)
    assert verdict.clean, "\n".join(verdict.told)


@pytest.mark.long
def test_a_connection_that_died_without_a_word_is_found_dead(tmp_path: Path) -> None:
    batches = make_batches(2, 300, kinds=("plain",))
    with world(tmp_path, instances=1, hurried=True) as made:
        assert post(made, batches[0]).status_code == 202
        made.proxies[0].turn("hole")
        made.proxies[0].forget()
        began, used, sent = time.monotonic(), batches[:1], iter(batches[1:])

        def accepted() -> bool:
            used.append(next(sent))
            return post(made, used[-1]).status_code == 202

        wait_for(accepted, "the app still talks to a connection that is dead", DEAD)
        print(f"found dead after {time.monotonic() - began:.1f} s")
        verdict = count(made, tmp_path / "app0", used, SETTINGS)
    assert verdict.clean, "\n".join(verdict.told)
