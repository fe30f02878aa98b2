"""The example app of this repository, as a newcomer runs it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.nodejs import have_node, needs_node
from support.process import AppProcess, motia, running_app

ROOT = Path(__file__).parent.parent.parent
ORDER = {"customerId": "c-1", "items": [{"sku": "book", "qty": 2, "price": 12.5}]}


def until(look: Callable[[], Any], timeout: float = 30.0) -> Any:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing within the time"
        time.sleep(0.02)
    return found


def order(app: AppProcess, **fields: Any) -> str:
    answer = httpx.post(app.url + "/orders", json={**ORDER, **fields})
    assert answer.status_code == 201
    assert "server-timing" in answer.headers
    return str(answer.json()["id"])


def in_status(app: AppProcess, id: str, status: str) -> Callable[[], bool]:
    return lambda: bool(httpx.get(f"{app.url}/orders/{id}").json()["status"] == status)


def lines(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "motia.yaml", tmp_path)
    shutil.copytree(ROOT / "steps", tmp_path / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_shop(shop: Path) -> None:
    needs_node()  # cards are charged in TypeScript
    with running_app(shop, "dev") as app:
        assert httpx.get(app.url + "/hello?name=you").json() == {"message": "Hello, you!"}

        flaky = order(app, card="tok_flaky")
        declined = order(app, card="tok_declined")
        large = order(app, items=[{"sku": "book", "qty": 100, "price": 12.5}])
        until(in_status(app, flaky, "paid"))
        until(in_status(app, declined, "rejected"))
        until(in_status(app, large, "review"))
        app.wait_for("your order is paid")
        app.wait_for("your order was rejected")

        approval = json.dumps({"orderId": large, "approved": True})
        motia(shop, "emit", "order.cleared", approval)
        until(in_status(app, large, "paid"))

        traces = lines(motia(shop, "trace", "ls", "--json", "--step", "ChargeCard"))
        (retried,) = [t for t in traces if t["runs"] == 6]
        shown = motia(shop, "trace", "show", retried["trace_id"][:8]).stdout
        assert shown.count("BankUnavailable") == 2
        assert "attempt 3" in shown
        assert [s for s in ("CreateOrder", "ScreenOrder", "ChargeCard", "NotifyCustomer") if s not in shown] == []

        motia(shop, "emit", "order.cleared", '{"orderId": "no-such-order", "approved": true}')
        (letter,) = until(lambda: lines(motia(shop, "dlq", "ls", "--json")))
        assert letter["error"]["message"] == "there is no order no-such-order"

        day = lines(motia(shop, "state", "get", "orders", flaky))["paidOn"]
        motia(shop, "emit", "report.requested", json.dumps({"day": day}))
        report = until(lambda: lines(motia(shop, "state", "get", "reports", day, "--json")))
        assert report == {"day": day, "orders": 2, "total": 1275.0}

        assert {o["id"] for o in httpx.get(app.url + "/orders?status=paid").json()} == {flaky, large}
        assert httpx.get(app.url + "/orders?status=lost").status_code == 400
        assert httpx.get(app.url + "/orders/nope").status_code == 404


def test_the_shop_on_a_machine_without_node(shop: Path) -> None:
    with running_app(shop, "dev", env={"MOTIA_NODE": "/nowhere/node"}) as app:
        line = app.wait_for("Their runs wait; all other steps work")
        assert "steps in TypeScript and JavaScript need Node 20 or newer" in line
        assert "pip install 'motia-nats[node]'" in line
        large = order(app, items=[{"sku": "book", "qty": 100, "price": 12.5}])
        until(in_status(app, large, "review"))
        small = order(app)
        app.wait_for("ChargeCard: no worker takes its runs")
        assert httpx.get(f"{app.url}/orders/{small}").json()["status"] == "new"
    if have_node():  # what has waited is done as soon as there is one
        with running_app(shop, "dev") as app:
            until(in_status(app, small, "paid"))
