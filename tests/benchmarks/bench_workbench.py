"""How soon the Workbench is there, as a person sees it: of `make bench`.

The example app with `motia dev`, and a headless Chromium with an empty cache each time: from the beginning of the navigation until the first flow is drawn.
`python tests/benchmarks/bench_workbench.py [--rounds N]`
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from support.browser import find_chromium, open_browser  # noqa: E402
from support.process import running_app  # noqa: E402
from workbench.conftest import copy_example  # noqa: E402

GOAL = 1_000  # ms
WATCH = """
    new MutationObserver((_, watch) => {
        if (!document.querySelector("[data-box]")) return;
        watch.disconnect();
        requestAnimationFrame(() => { globalThis.drawn = performance.now(); });
    }).observe(document, { childList: true, subtree: true });
"""
SIZE = "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.encodedBodySize, 0)"


def measure(url: str) -> tuple[float, int, int]:
    """ms until a flow is drawn; how many files, and their bytes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open_browser(Path(profile)) as page:
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.open(url)
        drawn = page.wait("globalThis.drawn", "a flow that is drawn")
        return drawn, page.js("performance.getEntriesByType('resource').length"), page.js(SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if find_chromium() is None:
        print("the Workbench is not measured: there is no chromium here (apt-get install chromium)")
        return
    with tempfile.TemporaryDirectory() as folder, running_app(copy_example(Path(folder)), "dev") as app:
        found = [measure(f"{app.url}/__workbench/flows/orders") for _ in range(rounds)]
    times = sorted(drawn for drawn, _, _ in found)
    print(
        f"the first flow is drawn after {statistics.median(times):.0f} ms (median of {rounds}; {times[0]:.0f} to {times[-1]:.0f})"
    )
    print(f"{found[0][1]} files, {found[0][2] / 1024:.0f} KiB; the goal is {GOAL:,} ms")


if __name__ == "__main__":
    main()
