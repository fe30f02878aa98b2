"""The short form of `make chaos`: 1,000 orders under 8 faults, counted; and the control run that shows that the count would find what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.chaos import faults
from support.chaos.run import Settings, run

EVENTS = 1_000


def test_nothing_is_lost_doubled_torn_or_out_of_order_under_faults(tmp_path: Path) -> None:
    result = run(tmp_path, Settings(seed=1, events=EVENTS, faults=8, seconds=25, hurried=True))
    assert result.verdict.clean, result.report()
    assert result.outcomes["ok"] > 0.5 * EVENTS / 5, f"too little was accepted to prove anything\n{result.report()}"
    assert sum(result.faults.values()) == 8


def test_the_count_is_sensitive(tmp_path: Path) -> None:
    """Without ids and plans, the same app under kills doubles effects, or the run above proves nothing."""
    kinds = (faults.KillApp, faults.CrashPoint)
    result = run(tmp_path, Settings(seed=1, events=400, faults=4, seconds=10, hurried=True, naive="all", kinds=kinds))
    assert result.verdict.doubled > 0, result.report()


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds(tmp_path: Path, seed: int) -> None:
    result = run(tmp_path, Settings(seed=seed, events=10 * EVENTS, faults=50, seconds=150))
    assert result.verdict.clean, result.report()
