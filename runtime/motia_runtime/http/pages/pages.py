"""The pages beside an app's own routes: the API page under /schema, and under /__workbench the overview of the app.

Nothing is fetched from elsewhere, nothing is inline, so the strictest Content-Security-Policy fits: default-src 'self'.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from importlib.resources import files

import msgspec

from motia_runtime.http.openapi import openapi_document
from motia_runtime.http.page import AnyPage, Page
from motia_runtime.http.pages.overview import Picture, overview
from motia_spec.model import Project

HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
JS, JSON, SVG = "text/javascript; charset=utf-8", "application/json", "image/svg+xml"
_SIZE = re.compile(r'<svg width="(\d{1,6})pt"')  # as Graphviz writes it
STATIC = {  # path -> (file, media type)
    "/schema": ("schema.html", HTML),
    "/schema/style.css": ("style.css", CSS),
    "/schema/api.js": ("api.js", JS),
    "/schema/dom.js": ("dom.js", JS),
    "/schema/schema.js": ("schema.js", JS),
    "/schema/try.js": ("try.js", JS),
    "/__workbench/overview.js": ("overview.js", JS),
}


def build_pages(project: Project, *, diagrams: Mapping[str, str]) -> dict[str, AnyPage]:
    """Path -> page. `diagrams`: flow -> SVG text, shown only as images, so that nothing in one can run; flows without one are listed
    without a picture. The overview is made at each request, since it says when schedules are due next."""
    folder = files("motia_runtime.http.pages")
    pages: dict[str, AnyPage]
    pages = {path: Page(kind, folder.joinpath(name).read_bytes()) for path, (name, kind) in STATIC.items()}
    pages["/schema/openapi.json"] = Page(JSON, msgspec.json.encode(openapi_document(project)))
    pictures: dict[str, Picture] = {}
    for number, flow in enumerate((flow for flow in project.flows if flow in diagrams), start=1):
        size = _SIZE.search(diagrams[flow])
        pictures[flow] = Picture(f"__workbench/flow-{number}.svg", int(size[1]) if size else None)
        pages[f"/{pictures[flow].address}"] = Page(SVG, diagrams[flow].encode())
    pages["/__workbench"] = partial(_overview, project, pictures)
    return pages


def _overview(project: Project, pictures: Mapping[str, Picture]) -> Page:
    return Page(HTML, overview(project, pictures, time.time()).encode())
