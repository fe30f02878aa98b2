"""The example app with its Workbench, started once for a module, and a client of its API."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from support.process import AppProcess, running_app
from support.waiting import wait_for

ROOT = Path(__file__).parent.parent.parent
MARK = {"x-motia-workbench": "1"}
ORDER = {"customerId": "c-1", "items": [{"sku": "book", "qty": 2, "price": 12.5}]}


class Api:
    """The Workbench's API of an app."""

    def __init__(self, app: AppProcess) -> None:
        self.app = app
        self.client = httpx.Client(base_url=app.url, headers=MARK, timeout=20)

    def ask(self, method: str, *segments: str | int, body: Any = None, **query: Any) -> httpx.Response:
        path = "/".join(quote(str(segment), safe="") for segment in segments)
        return self.client.request(method, f"/__workbench/api/{path}", json=body, params=query or None)

    def get(self, *segments: str | int, **query: Any) -> Any:
        answer = self.ask("GET", *segments, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, *segments: str | int, body: Any = None, **query: Any) -> Any:
        answer = self.ask(method, *segments, body={} if body is None and method == "POST" else body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def trace(self, trace_id: str, *steps: str) -> Any:
        """A trace, as soon as these steps have run in it."""
        found: list[Any] = []

        def there() -> bool:
            answer = self.ask("GET", "traces", trace_id)
            found[:] = [answer.json()] if answer.status_code == 200 else []
            return bool(found) and set(steps) <= {run["step"] for run in found[0]["runs"]}

        wait_for(there, f"no trace {trace_id} with {steps}")
        return found[0]

    def order(self, **fields: Any) -> str:
        """Create an order; its trace's id."""
        trace = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answer = self.client.post("/orders", json={**ORDER, **fields}, headers=headers)
        assert answer.status_code == 201, answer.text
        return trace


def copy_example(folder: Path) -> Path:
    """The example app of this repository, in a folder of its own."""
    shutil.copy(ROOT / "motia.yaml", folder)
    shutil.copytree(ROOT / "steps", folder / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = copy_example(tmp_path_factory.mktemp("shop"))
    with running_app(folder, "dev") as app:
        api = Api(app)
        yield api
        api.client.close()
