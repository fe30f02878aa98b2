"""Long: what has piled up is worked off at nearly full speed, and a store that is full pushes back instead of growing."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from support.chaos import shop
from support.chaos.broker import Broker
from support.chaos.instance import Instance
from support.chaos.run import world
from support.chaos.soak import body, fill, memory, peak, waiting

WARM = 2_000  # orders
MANY = 33_400  # orders: each is three events and more to its subscribers, 100,000 in all
SHARE = 0.7  # of the peak
GROWTH = 150.0  # MiB that the app may grow by while it drains


@pytest.mark.long
def test_a_backlog_is_drained_at_nearly_full_speed(tmp_path: Path) -> None:
    with world(tmp_path, instances=1) as made:
        home, app = tmp_path / "app0", made.instances[0]
        best = peak(made, home, WARM)
        before = memory(app.pid)
        began = time.monotonic()
        fill(app.url, MANY, WARM)
        while waiting(made, home):
            time.sleep(0.5)
        rate = MANY / (time.monotonic() - began)
        grown = memory(app.pid) - before
        print(f"peak {best:.0f} orders/s, with a backlog {rate:.0f} orders/s, memory {grown:+.0f} MiB")
    assert rate > SHARE * best
    assert grown < GROWTH


@pytest.mark.long
def test_a_full_broker_pushes_back(tmp_path: Path) -> None:
    """503 with Retry-After at once, memory bounded on both sides, what was accepted stays."""
    broker = Broker(tmp_path / "broker", max_file=320 << 20)  # the records of runs reserve 256 MiB
    broker.start()
    logs = tmp_path / "logs"
    logs.mkdir()
    app = Instance("app", shop.write_shop(tmp_path / "app"), broker.url, logs)
    app.start()
    try:
        app.wait_ready()
        before, accepted, number = memory(app.pid), 0, 0
        with httpx.Client(base_url=app.url, timeout=60) as client:
            answer = client.post("/orders", json=body(number))
            while answer.status_code == 202 and number < 20_000:
                accepted += 1
                number += 1
                large = body(number)
                large["orders"] = [{"id": f"o{number}", "kind": "large", "hot": "h0"}]
                answer = client.post("/orders", json=large)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            for number in range(100_000, 100_050):
                began = time.monotonic()
                assert client.post("/orders", json=body(number)).status_code == 503
                assert time.monotonic() - began < 12.0
            assert client.get("/healthz").status_code == 200
        assert accepted > 10
        assert memory(app.pid) - before < GROWTH
    finally:
        app.stop()
        broker.kill()
