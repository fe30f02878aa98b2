"""A hundred thousand lines in the log of the Workbench: read in, and scrolled through in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from support.browser import Page, find_chromium, open_browser
from support.process import AppProcess, running_app, write_project

pytestmark = [
    pytest.mark.long,  # a hundred pages of a thousand lines are read first
    pytest.mark.skipif(find_chromium() is None, reason="needs chromium: apt-get install chromium"),
]

LINES, RUN = 100_000, 1_000
ROWS = "Number(document.querySelector('[data-test=logs]')?.getAttribute('aria-rowcount') ?? 0)"
SPEC = """
    motia: "1"
    name: talker
    steps:
      Talk: { type: api, method: POST, path: /talk, handler: steps/talk.py }
"""
TALK = """
    async def handler(request, ctx):
        for number in range(1_000):
            ctx.logger.info("a line of the log, as long as they are", number=number)
        return {"status": 204}
"""
READ = f"""new Promise((resolve, reject) => {{
    const frame = document.querySelector("[data-test=logs]");
    const ends = performance.now() + 240_000;
    const step = () => {{
        if ({ROWS} >= {LINES}) return resolve(true);
        if (performance.now() > ends) return reject(new Error("only " + {ROWS} + " lines were read"));
        frame.scrollTop = 0;
        frame.dispatchEvent(new Event("scroll"));
        setTimeout(step, 20);
    }};
    step();
}})"""
SCROLL = """new Promise((resolve) => {
    const frame = document.querySelector("[data-test=logs]");
    const found = { frames: 0, longest: 0, nodes: 0, blank: 0 };
    let [at, before] = [0, performance.now()];
    frame.scrollTop = 0;
    const step = (now) => {
        const rows = document.querySelectorAll("[data-log]").length;
        found.frames += 1;
        found.longest = Math.max(found.longest, now - before);
        found.nodes = Math.max(found.nodes, document.querySelectorAll("*").length);
        found.blank += rows === 0;
        before = now;
        at += frame.scrollHeight / 300;
        if (at > frame.scrollHeight) return resolve(found);
        frame.scrollTop = at;
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with running_app(write_project(tmp_path_factory.mktemp("talker"), SPEC, talk=TALK), "dev") as app:
        yield app


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_a_hundred_thousand_lines_scroll(talker: AppProcess, page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    with httpx.Client(base_url=talker.url, timeout=60) as client:
        for _ in range(LINES // RUN):
            assert client.post("/talk").status_code == 204
    page.open(f"{talker.url}/__workbench/logs")
    page.wait(f"{ROWS} > 0", "the first lines")
    assert page.js(READ)
    found = page.js(SCROLL)
    with capsys.disabled():
        print(
            f"\n{LINES:,} lines: {found['frames']} frames, the longest {found['longest']:.0f} ms, {found['nodes']} nodes"
        )
    assert found["frames"] >= 300
    assert found["nodes"] < 2_000  # of the whole page
    assert found["blank"] == 0
    assert found["longest"] < 5_000  # a stall, not a slow machine
    assert not page.faults
