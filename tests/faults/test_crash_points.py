"""The process dies at each named instant of the commit protocol (`sabotage.POINTS`), again and again, with work of every kind under way."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.chaos.faults import OFTEN, SELDOM, World
from support.chaos.load import Batch, Load, make_batches
from support.chaos.oracle import Verdict
from support.chaos.run import Settings, count, world
from support.waiting import wait_for

ORDERS = 40  # for each death
WORST = (
    "after-handler", "during-plan", "after-plan", "during-state", "after-state", "during-emit", "after-emit", "before-ack", "during-retry",
)  # fmt: skip
SETTINGS = Settings(seed=7, events=ORDERS, faults=0, seconds=0.2, hurried=True)

# Waits so short that the broker's dedupe ids are forgotten within seconds; in the order and with the proportions of the real ones
FORGETFUL = {
    "motia_runtime.ports:ACK_WAIT": 1.5,
    "motia_runtime.nats.streams:DEDUPE_WINDOW": 6.0,
    "motia_runtime.nats.streams:PLAN_WINDOW": 3.0,
    "motia_runtime.commit:LEASE": 3.0,
    "motia_runtime.seen:REMEMBERED": 4.0,
    "motia_runtime.orphans:RENEWED": 0.5,
    "motia_runtime.orphans:STALE": 4.5,
    "motia_runtime.sweep:EVERY": 3.0,
}


@contextmanager
def one_app(folder: Path, **orders: Any) -> Iterator[World]:
    with world(folder, instances=1, hurried=True, orders=orders) as made:
        yield made


def send(made: World, batches: Sequence[Batch]) -> Load:
    load = Load(batches, [instance.url for instance in made.instances], SETTINGS.seconds)
    load.start()
    return load


def die_at(made: World, points: Sequence[str], seed: int) -> list[Batch]:
    """One death at each point, in the middle of work; the requests that were sent."""
    rng = random.Random(seed)
    app = made.instances[0]
    sent = make_batches(seed, ORDERS * len(points), kinds=("plain", "poison", "flaky"), plenty=True)
    for number, point in enumerate(points):
        app.wait_ready()
        deaths = len(app.hits)
        app.tell(crash=point, times=1 if point.endswith(("-retry", "-letter")) else rng.randint(1, 12))
        start = number * len(sent) // len(points)
        load = send(made, sent[start : (number + 1) * len(sent) // len(points)])
        wait_for(partial(app.died_since, deaths), f"{point} was not reached\n{app.last_words()}", 30)
        load.wait(60)
    app.wait_ready()
    assert app.hits == list(points)
    return sent


def judged(made: World, folder: Path, sent: Sequence[Batch]) -> Verdict:
    return count(made, folder / "app0", sent, SETTINGS)


def test_death_at_the_worst_instants_loses_doubles_and_tears_nothing(tmp_path: Path) -> None:
    with one_app(tmp_path) as made:
        sent = die_at(made, WORST, seed=1)
        verdict = judged(made, tmp_path, sent)
    assert verdict.clean, "\n".join(verdict.told)


@pytest.mark.long
@pytest.mark.parametrize("point", [*OFTEN, *SELDOM])
def test_twenty_deaths_at_one_point(tmp_path: Path, point: str) -> None:
    with one_app(tmp_path) as made:
        sent = die_at(made, [point] * 20, seed=3)  # by which there is a poison order, to be buried, for each death
        verdict = judged(made, tmp_path, sent)
    assert verdict.clean, "\n".join(verdict.told)


@pytest.mark.long
def test_a_naive_commit_would_be_found_out(tmp_path: Path) -> None:
    with one_app(tmp_path, naive="all") as made:
        sent = die_at(made, ["after-state", "after-emit", "before-ack"], seed=3)
        made.instances[0].wait_ready()
        verdict = judged_once(made, tmp_path, sent)
    assert verdict.doubled > 0


def judged_once(made: World, folder: Path, sent: Sequence[Batch]) -> Verdict:
    """Of a control run, which never gets clean."""
    return count(made, folder / "app0", sent, Settings(seed=0, events=0, faults=0, seconds=0, naive="all"))


@pytest.mark.parametrize(
    ("naive", "clock"),
    [(False, 0.0), (True, 0.0), pytest.param(False, -3600.0, marks=pytest.mark.long)],
    ids=["", "control", "with a clock an hour behind"],
)
def test_a_crash_and_then_silence_until_the_broker_has_forgotten_the_ids(
    tmp_path: Path, naive: bool, clock: float
) -> None:
    orders: dict[str, Any] = {"constants": FORGETFUL, "naive": "plans" if naive else "", "clock": clock}
    with one_app(tmp_path, **orders) as made:
        app = made.instances[0]
        sent = make_batches(4, ORDERS, kinds=("plain",))
        app.tell(crash="before-ack", times=25)
        app.retire()
        load = send(made, sent)
        wait_for(lambda: app.hits, f"the point was not reached\n{app.last_words()}", 30)
        forgotten(seconds=FORGETFUL["motia_runtime.nats.streams:DEDUPE_WINDOW"] + 1.0)
        app.start()
        load.wait(60)
        app.wait_ready()
        verdict = judged_once(made, tmp_path, sent) if naive else judged(made, tmp_path, sent)
    if naive:
        assert verdict.doubled > 0, "without plans the ids alone would have sufficed: the silence was too short"
    else:
        assert verdict.clean, "\n".join(verdict.told)


def forgotten(seconds: float) -> None:
    """Let the dedupe window pass. It is time itself that is waited for: nothing shows from outside what the broker has forgotten."""
    time.sleep(seconds)
