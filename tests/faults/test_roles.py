"""`motia start --role`: requests and events in processes of their own."""

from __future__ import annotations

import httpx

from support.ledger import check_ledger, ledger_project, ordering, read_ledger
from support.process import running_app


def test_what_http_takes_before_any_engine_ever_ran_waits_for_one(tmp_path, nats_server):
    folder = ledger_project(tmp_path)
    env = {"NATS_URL": nats_server.url, "NATS_TOKEN": nats_server.token}
    folder.joinpath("motia.yaml").write_text(folder.joinpath("motia.yaml").read_text().replace("ledger", "roles", 1))
    with running_app(folder, "start", "--role", "http", env=env) as http:
        with ordering(lambda: [http.url]) as orders:
            orders.await_more(200, "by http alone")
        assert read_ledger(http.url) == {"orders": {}, "ledger": {}}, "http has consumed events"
        with running_app(folder, "start", "--role", "engine", env=env) as engine:
            assert httpx.get(engine.url + "/healthz").status_code == 200
            assert httpx.get(engine.url + "/readyz").status_code == 200
            assert httpx.post(engine.url + "/orders", json="x").status_code == 404, "an engine has no routes"
            assert httpx.get(engine.url + "/schema").status_code == 404
            check_ledger(http.url, orders.accepted)
        assert '"role":"engine"' in engine.wait_for('"ready"')
