"""Workers and instances that come and go under load: nothing accepted is lost, no effect is doubled."""

from __future__ import annotations

import sys

import pytest

from support.ledger import check_ledger, ledger_project, ordering
from support.process import running_app

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="--workers needs Linux")

EVENTS = 1_000


def test_from_two_to_four_workers_to_one_while_orders_flow(tmp_path, nats_server):
    folder = ledger_project(tmp_path)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    urls: list[str] = []
    with running_app(folder, "start", "--workers", "2", env=env) as two:
        urls.append(two.url)
        with ordering(lambda: list(urls)) as orders:
            orders.await_more(100, "with two workers")
            with running_app(folder, "start", "--workers", "2", env=env) as four:
                four.wait_for('"ready"')
                urls.append(four.url)
                orders.await_more(200, "with four workers")
                urls.remove(two.url)
                assert two.stop(40) == 0, two.output
                orders.await_more(100, "with two workers again")
                with running_app(folder, env=env) as one:
                    urls.append(one.url)
                    orders.await_more(100, "with three workers")
                    urls.remove(four.url)
                    assert four.stop(40) == 0, four.output
                    orders.await_more(max(100, EVENTS - len(orders.accepted)), "with one worker")
                    orders.stop()
                    assert not orders.refused, "an app that stops refuses nothing that it has taken"
                    check_ledger(one.url, orders.accepted)
    for app in (two, four, one):
        assert "Traceback" not in app.output
        assert "is killed" not in app.output
