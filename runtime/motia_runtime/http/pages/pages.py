"""The pages beside an app's own routes: the API page under /schema.

Nothing is fetched from elsewhere, nothing is inline, so the strictest Content-Security-Policy fits: default-src 'self'.
"""

from __future__ import annotations

from importlib.resources import files

import msgspec

from motia_runtime.http.asyncapi import asyncapi_document
from motia_runtime.http.openapi import openapi_document
from motia_runtime.http.page import AnyPage, Page
from motia_spec.model import Project

HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
JS, JSON = "text/javascript; charset=utf-8", "application/json"
STATIC = {  # path -> (file, media type)
    "/schema": ("schema.html", HTML),
    "/schema/style.css": ("style.css", CSS),
    "/schema/api.js": ("api.js", JS),
    "/schema/dom.js": ("dom.js", JS),
    "/schema/schema.js": ("schema.js", JS),
    "/schema/try.js": ("try.js", JS),
}


def build_pages(project: Project) -> dict[str, AnyPage]:
    """Path -> page."""
    folder = files("motia_runtime.http.pages")
    pages: dict[str, AnyPage]
    pages = {path: Page(kind, folder.joinpath(name).read_bytes()) for path, (name, kind) in STATIC.items()}
    pages["/schema/openapi.json"] = Page(JSON, msgspec.json.encode(openapi_document(project)))
    pages["/schema/asyncapi.json"] = Page(JSON, msgspec.json.encode(asyncapi_document(project)))
    return pages
