"""The pages: complete, offline, and nothing that a spec says becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from motia_runtime.http.openapi import openapi_document
from motia_runtime.http.page import Page
from motia_runtime.http.pages.overview import Picture, overview
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
NOON = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
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


def built(project: Project, *, diagrams: dict[str, str]) -> dict[str, Page]:
    """The pages, as a request would find them."""
    pages = build_pages(project, diagrams=diagrams)
    return {path: page if isinstance(page, Page) else page() for path, page in pages.items()}


def test_every_page_that_a_page_asks_for_is_there() -> None:
    pages = built(project(), diagrams={"x": "<svg/>"})
    for path, page in pages.items():
        text = page.body.decode()
        folder = "/" if page.content_type.startswith("text/html") else path.rpartition("/")[0] + "/"
        asked = [value for key, value in Reader(text).attributes if key in ("src", "href")] if folder == "/" else []
        asked += re.findall(r'from "\./([^"]+)"', text) + re.findall(r'new URL\("([a-z][^"]+)"', text)
        for name in asked:
            if not name.startswith(("data:", "#")):
                assert (folder + name).partition("#")[0] in pages, f"{path} asks for {name}"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    for path, page in built(project(), diagrams={}).items():
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
    pages = built(project(), diagrams={})
    assert json.loads(pages["/schema/openapi.json"].body) == openapi_document(project())
    assert pages["/schema/openapi.json"].content_type == "application/json"


def test_diagrams_are_images() -> None:
    pages = built(project(), diagrams={"x": '<svg width="469pt" height="1pt"/>', "unknown": "<svg/>"})
    assert pages["/__workbench/flow-1.svg"].body == b'<svg width="469pt" height="1pt"/>'
    assert pages["/__workbench/flow-1.svg"].content_type == "image/svg+xml"
    assert b"<svg" not in pages["/__workbench"].body
    assert b'<img src="__workbench/flow-1.svg" alt="Diagram of the flow x" width="469">' in pages["/__workbench"].body
    assert "/__workbench/flow-2.svg" not in pages


@pytest.mark.parametrize("word", HOSTILE)
def test_a_hostile_spec_has_the_same_elements_as_a_harmless_one(word: str) -> None:
    picture = Picture("__workbench/flow-1.svg")
    hostile = Reader(overview(project(word), {word: picture}, NOON))
    harmless = Reader(overview(project("x"), {"x": picture}, NOON))
    assert hostile.elements == harmless.elements
    assert [key for key, _ in hostile.attributes] == [key for key, _ in harmless.attributes]
    assert [t.replace(word, "x") for t in hostile.texts] == harmless.texts


def test_the_overview_names_all_there_is() -> None:
    text = " ".join(Reader(overview(project("shop"), {}, NOON)).texts)
    for words in (
        "Endpoints",
        "Event steps",
        "Schedules",
        "People and outside systems",
        "Topics",
        "outside",
        "for 1m, 3 revisions",
        "Live streams",
        "motia trace ls",
        "motia dlq ls",
    ):
        assert words in text


def test_endpoints_link_to_their_operation() -> None:
    spec = project("shop")
    ids = {op["operationId"] for item in openapi_document(spec)["paths"].values() for op in item.values()}
    links = {
        v.removeprefix("schema#") for k, v in Reader(overview(spec, {}, NOON)).attributes if v.startswith("schema#")
    }
    assert links == ids == {"shopa_get", "shopa_post"}


@pytest.mark.parametrize(
    ("cron", "count", "first"),
    [
        ("0 9 * * *", 30, "2027-01-15 09:00:00 UTC"),
        ("*/30 * * * *", 60, "2027-01-15 08:30:00 UTC"),
        ("* * * * * *", 60, "2027-01-15 08:00:01 UTC"),
        ("0 0 29 2 *", 3, "2028-02-29 00:00:00 UTC"),
    ],
)
def test_due_times_are_worked_out(cron: str, count: int, first: str) -> None:
    read = Reader(overview(project("shop", cron), {}, NOON))
    (due,) = [value for key, value in read.attributes if key == "data-due"]
    times = [int(stamp) for stamp in due.split()]
    assert len(times) == count
    assert times == sorted(times)
    assert times[0] > NOON
    assert first in read.texts
    assert "as of 2027-01-15 08:00:00 UTC" in read.texts


def test_due_times_are_those_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    page = build_pages(project("shop", "0 9 * * *"), diagrams={})["/__workbench"]
    assert not isinstance(page, Page)
    for now, day in ((NOON, "15"), (NOON + 86400, "16")):
        monkeypatch.setattr("time.time", lambda now=now: now)
        read = Reader(page().body.decode())
        assert f"2027-01-{day} 09:00:00 UTC" in read.texts
        assert f"as of 2027-01-{day} 08:00:00 UTC" in read.texts


def test_due_times_of_many_schedules_stay_few() -> None:
    every = {f"c{n}": CronStep(name=f"c{n}", handler=HANDLER, cron="* * * * *") for n in range(400)}
    many = Project(root=Path("."), files=(), name="many", steps=dict(every))
    due = [value.split() for key, value in Reader(overview(many, {}, NOON)).attributes if key == "data-due"]
    assert {len(times) for times in due} == {3}


def test_a_schedule_that_never_fires_says_so() -> None:
    read = Reader(overview(project("shop", "0 0 31 2 *"), {}, NOON))
    assert "never" in read.texts
    assert "data-due" not in [key for key, _ in read.attributes]


def test_an_empty_project_has_pages() -> None:
    pages = built(Project(root=Path("."), files=(), name="new"), diagrams={})
    assert "new" in Reader(pages["/__workbench"].body.decode()).texts
