"""A process is stopped for longer than the ack wait, and for longer than its lease on events; others run them; then it wakes up and goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from support.chaos.entry import Naive
from support.chaos.load import Batch, Load, make_batches
from support.chaos.run import HURRIED, Settings, count, world
from support.waiting import wait_for

ORDERS = 60


def some_accepted(batches: Sequence[Batch]) -> bool:
    return sum(batch.outcome == "ok" for batch in batches) > 3


def frozen(seconds: float) -> None:
    """It is time itself that the process sleeps through."""
    time.sleep(seconds)


@pytest.mark.parametrize("naive", ["", pytest.param("all", marks=pytest.mark.long)], ids=["", "control"])
def test_a_process_that_wakes_up_applies_nothing_a_second_time(tmp_path: Path, naive: Naive) -> None:
    settings = Settings(seed=0, events=0, faults=0, seconds=0, hurried=True, naive=naive)
    sent = make_batches(5, 2 * ORDERS, kinds=("plain", "slow"), plenty=True)
    waits = (HURRIED["motia_runtime.ports:ACK_WAIT"], HURRIED["motia_runtime.commit:LEASE"])
    with world(tmp_path, instances=2, hurried=True, orders={"naive": naive}) as made:
        sleeper, other = made.instances
        half = len(sent) // 2
        for wait, part in zip(waits, (sent[:half], sent[half:]), strict=True):
            load = Load(part, [other.url], 0.5)
            load.start()
            wait_for(partial(some_accepted, part), "nothing is accepted")
            sleeper.signal(signal.SIGSTOP)
            frozen(1.5 * wait)
            sleeper.signal(signal.SIGCONT)
            load.wait(60)
        verdict = count(made, tmp_path / "app0", sent, settings)
    assert not sleeper.exits
    if naive:
        assert verdict.doubled > 0, "nobody had anything in hand while asleep"
    else:
        assert verdict.clean, "\n".join(verdict.told)
