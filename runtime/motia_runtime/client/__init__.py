"""Our own client of streams, for browsers and Node: files as they are shipped, and as an app with streams serves them (docs/stream-client.md)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from motia_runtime.http.page import Page

FOLDER = Path(__file__).parent  # an npm package as well: `npm install` takes it
SERVED = "/__motia/client/"
JS, TS = "text/javascript; charset=utf-8", "text/plain; charset=utf-8"  # no browser asks for the latter
FILES = {"motia-stream.js": JS, "motia-stream.d.ts": TS, "react.js": JS, "react.d.ts": TS}


def client_pages() -> dict[str, Page]:
    """Path -> page."""
    folder = files("motia_runtime.client")
    return {SERVED + name: Page(kind, folder.joinpath(name).read_bytes()) for name, kind in FILES.items()}
