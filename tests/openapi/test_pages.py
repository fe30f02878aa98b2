"""The pages: complete, offline, and nothing that a spec says becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from motia_runtime.http.openapi import openapi_document
from motia_runtime.http.page import Page
from motia_runtime.http.pages.pages import build_pages
from motia_spec.model import (
    ApiStep,
    CronStep,
    Emit,
    EventStep,
    Flow,
    Handler,
    Manual,
    NoopStep,
    Project,
    StateGroup,
    Stream,
    Subscription,
    Topic,
)

HANDLER = Handler(path="steps/x.py")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='x",
    "&lt;b&gt;&",
    "\x00\u2028",
    "a/../../b?#",
]


def project(word: str = "x", cron: str = "0 9 * * *") -> Project:
    """A project of everything, with the word in every text."""
    steps: tuple[Any, ...] = (
        ApiStep(
            name=f"{word}a",
            description=word,
            handler=HANDLER,
            methods=("GET", "POST"),
            path=f"/{word}",
            emits=(Emit(topic=word),),
            uses_state=(word,),
        ),
        EventStep(
            name=f"{word}e",
            description=word,
            handler=HANDLER,
            subscribes=(Subscription(kind="topic", name=word),),
            uses_streams=(word,),
        ),
        CronStep(name=f"{word}c", description=word, handler=HANDLER, cron=cron, emits=(Emit(topic=word),)),
        NoopStep(
            name=f"{word}n",
            description=word,
            subscribes=(Subscription(kind="state", name=word),),
            manual=Manual(timeout=3600.0),
        ),
    )
    return Project(
        root=Path("."),
        files=(),
        name=word,
        description=word,
        topics={word: Topic(name=word, description=word, external="in")},
        state={word: StateGroup(name=word, description=word, history=3, ttl=60.0)},
        streams={word: Stream(name=word, description=word)},
        steps={step.name: step for step in steps},
        flows={word: Flow(name=word, description=word, steps=tuple(step.name for step in steps))},
    )


class Reader(HTMLParser):
    """The elements, and every text and attribute value as a browser would have them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def built(project: Project) -> dict[str, Page]:
    """The pages, as a request would find them."""
    pages = build_pages(project)
    return {path: page if isinstance(page, Page) else page() for path, page in pages.items()}


def test_every_page_that_a_page_asks_for_is_there() -> None:
    pages = built(project())
    for path, page in pages.items():
        text = page.body.decode()
        folder = "/" if page.content_type.startswith("text/html") else path.rpartition("/")[0] + "/"
        asked = [value for key, value in Reader(text).attributes if key in ("src", "href")] if folder == "/" else []
        asked += re.findall(r'from "\./([^"]+)"', text) + re.findall(r'new URL\("([a-z][^"]+)"', text)
        for name in asked:
            if not name.startswith(("data:", "#")):
                assert (folder + name).partition("#")[0] in pages, f"{path} asks for {name}"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    for path, page in built(project()).items():
        text = page.body.decode()
        assert not re.search(r"https?://(?!json-schema\.org/)", text), path
        if page.content_type.startswith("text/html"):
            read = Reader(text)
            assert "style" not in read.elements
            assert not [key for key, _ in read.attributes if key == "style" or key.startswith("on")]
            assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]
        if page.content_type.startswith("text/javascript"):
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser", text
            ), path


def test_the_document_is_served_as_it_is_built() -> None:
    pages = built(project())
    assert json.loads(pages["/schema/openapi.json"].body) == openapi_document(project())
    assert pages["/schema/openapi.json"].content_type == "application/json"


def test_a_hostile_spec_changes_no_page_but_the_documents() -> None:
    harmless = built(project("x"))
    for word in HOSTILE:
        hostile = built(project(word))
        assert {path for path in hostile if hostile[path] != harmless[path]} == {
            "/schema/openapi.json",
            "/schema/asyncapi.json",
        }


def test_an_empty_project_has_pages() -> None:
    assert json.loads(built(Project(root=Path("."), files=(), name="new"))["/schema/openapi.json"].body)["paths"] == {}
