"""The example app with its Workbench, started once for a module, and a client of its API."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from support.browser import Page, open_browser
from support.nodejs import needs_node
from support.process import AppProcess, running_app
from support.waiting import wait_for

ROOT = Path(__file__).parent.parent.parent
PAGES = "/__workbench"
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
        """A trace, as soon as a run of each of these steps has ended in it."""
        found: list[Any] = []

        def there() -> bool:
            answer = self.ask("GET", "traces", trace_id)
            found[:] = [answer.json()] if answer.status_code == 200 else []
            return bool(found) and set(steps) <= {r["step"] for r in found[0]["runs"] if r["outcome"] != "running"}

        wait_for(there, f"no trace {trace_id} with {steps}")
        return found[0]

    def order(self, **fields: Any) -> str:
        """Create an order; its trace's id."""
        trace = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answer = self.client.post("/orders", json={**ORDER, **fields}, headers=headers)
        assert answer.status_code == 201, answer.text
        return trace


MORE = """
    topics: { quote.asked: { external: in, schema: { type: object, required: [n], properties: { n: { type: integer } } } } }
    streams: { progress: { schema: { type: object, required: [percent], properties: { percent: { type: integer } } } } }
    steps:
      SetProgress: { type: api, method: PUT, path: "/progress/{id}", uses: { streams: [progress] } }
      Quote: { type: event, subscribes: [quote.asked], retry: { attempts: 1 } }
"""
SET_PROGRESS = """
    async def handler(request, ctx):
        await ctx.streams.progress.set("all", request.path_params["id"], {"percent": 40})
        return {"status": 204}
"""
QUOTE = """
    async def handler(data, ctx):
        ctx.logger.info("quoting", n=data["n"])
        discount = 100 // (data["n"] % 50)  # nobody has thought of multiples of fifty
        ctx.logger.info("quoted", discount=discount)
"""


def copy_example(folder: Path) -> Path:
    """The example app of this repository, in a folder of its own, and beside it a stream and a step that fails for one event in fifty."""
    shutil.copytree(ROOT / "steps", folder / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    spec = (ROOT / "motia.yaml").read_text()
    (folder / "motia.yaml").write_text(spec.replace("name: shop", "name: shop\ninclude: [more.yaml]"))
    (folder / "more.yaml").write_text(dedent(MORE))
    (folder / "steps" / "set_progress.py").write_text(dedent(SET_PROGRESS))
    (folder / "steps" / "quote.py").write_text(dedent(QUOTE))
    return folder


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    needs_node()  # the example charges cards in TypeScript
    folder = copy_example(tmp_path_factory.mktemp("shop"))
    with running_app(folder, "dev") as app:
        api = Api(app)
        yield api
        api.client.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The tab, which must not have had any fault of its own when the test ends."""
    browser.faults.clear()
    yield browser
    assert not [fault for fault in browser.faults if "status of 4" not in fault], browser.faults


def visit(page: Page, api: Api, path: str = "") -> None:
    page.open(f"{api.app.url}{PAGES}{path}")
    page.wait("document.querySelector('[data-test=connection]')?.innerText.includes('live')", "live")
