"""The keys of event steps that say when they run, and together or alone: what they mean, what fits them, what excludes what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from motia_spec.model import Batch, EventStep, Join

Check = Callable[..., Any]

TOPICS = """\
topics:
  a: { external: in, schema: { type: object, properties: { id: { type: string }, n: { type: [integer, "null"] } } } }
  b: { external: in, schema: { type: object, properties: { id: { type: string }, n: { type: string } } } }
  c: { external: in }
state: { carts: { schema: { type: object, properties: { total: { type: number }, owner: { type: string } } } } }
streams: { doors: {} }
steps:
"""


def event(**keys: str) -> str:
    return f"{TOPICS}  S: {{ type: event, " + ", ".join(f"{key}: {value}" for key, value in keys.items()) + " }\n"


def step(check: Check, **keys: str) -> EventStep:
    found = check(event(**keys))
    assert found.errors == [], found.describe()
    made = found.compiled.require().steps["S"]
    assert isinstance(made, EventStep)
    return made


def test_what_they_mean(check: Check) -> None:
    many = step(check, subscribes="[a, c]", batch="{ size: 50, wait: 2s }", priority="data.n")
    assert (many.batch, many.priority) == (Batch(size=50, wait=2.0), "data.n")
    assert step(check, subscribes="[a]", batch="{ size: 50 }").batch == Batch(size=50, wait=1.0)
    join = step(check, subscribes="[a, b]", join="{ by: data.id, timeout: 1h }").join
    assert join == Join(topics=("a", "b"), by="data.id", timeout=3600.0)
    assert step(check, subscribes="[a, b]", join="{ topics: [b, a], by: data.id }").join == Join(
        topics=("a", "b"), by="data.id", timeout=None
    )


@pytest.mark.parametrize(
    ("written", "blocks"),
    [
        ("data.id", True),
        ("{ key: data.id }", True),
        ("{ key: data.id, onFailure: block }", True),
        ("{ key: data.id, onFailure: skip }", False),
    ],
)
def test_order_in_its_short_form_and_its_long_one(written: str, blocks: bool, check: Check) -> None:
    made = step(check, subscribes="[a]", orderBy=written)
    assert (made.order_by, made.order_blocks) == ("data.id", blocks)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"orderBy": "{ key: data.idd }"}, "/steps/S/orderBy/key"),
        ({"priority": "data.nn"}, "/steps/S/priority"),
        ({"join": "{ by: data.owner }", "subscribes": "[a, c]"}, "/steps/S/join/by"),
    ],
)
def test_their_keys_are_looked_for_in_every_topic(keys: dict[str, str], path: str, check: Check) -> None:
    assert check(event(**{"subscribes": "[a]", **keys})).only("M410").path == path


@pytest.mark.parametrize(
    ("subscribes", "key", "words"),
    [
        ("[{ state: carts }]", "data.key", None),
        ("[{ state: carts }]", "data.value.owner", None),
        ("[{ state: carts }]", "data.previous.owner", None),
        ("[{ state: carts }]", "data.owner", "changes of 'carts' have no 'owner'; there is: group, key, previous, value"),
        ("[{ state: carts }]", "data.value.woner", "changes of 'carts' have no 'woner'; there is: owner, total"),
        ("[{ stream: doors }]", "data.id", None),
        ("[{ stream: doors }]", "data.value.anything", None),
        ("[{ stream: doors }]", "data.key", "changes of 'doors' have no 'key'; there is: group, id, previous, stream, value"),
        ("[a, { stream: doors }]", "data.n", "changes of 'doors' have no 'n'"),
    ],
)  # fmt: skip
def test_keys_of_changes(subscribes: str, key: str, words: str | None, check: Check) -> None:
    found = check(event(subscribes=subscribes, orderBy=key))
    if words is None:
        assert found.errors == [], found.describe()
    else:
        assert words in found.only("M410").message


@pytest.mark.parametrize(
    ("subscribes", "key", "fits"),
    [
        ("[a]", "data.n", True),
        ("[c]", "data.n", True),
        ("[{ state: carts }]", "data.value.total", True),
        ("[b]", "data.n", False),
        ("[a, b]", "data.n", False),
        ("[{ state: carts }]", "data.value.owner", False),
    ],
)
def test_a_priority_is_a_number(subscribes: str, key: str, fits: bool, check: Check) -> None:
    found = check(event(subscribes=subscribes, priority=key))
    assert found.errors == ([] if fits else ["M420"]), found.describe()


@pytest.mark.parametrize(
    ("subscribes", "join", "place", "words"),
    [
        ("[a]", "{ by: data.id }", "/join", "S subscribes to 1 topic: a join needs two or more"),
        ("[a, b, { stream: doors }]", "{ by: data.id }", "/subscribes/2", "a change of 'doors' is no event of one"),
        ("[a, b]", "{ by: data.id, topics: [a, bb] }", "/join/topics/1", "does not subscribe to 'bb'; it subscribes to: a, b"),
        ("[a, b, c]", "{ by: data.id, topics: [a, c] }", "/join/topics", "the join of S leaves out b"),
    ],
)  # fmt: skip
def test_a_join_that_does_not_fit_its_topics(subscribes: str, join: str, place: str, words: str, check: Check) -> None:
    found = [d for d in check(event(subscribes=subscribes, join=join)).all("M418") if d.path == f"/steps/S{place}"]
    assert len(found) == 1
    assert words in found[0].message


CONTROLS = {
    "join": "{ by: data.id }",
    "batch": "{ size: 2 }",
    "dedupe": "{ key: data.id, window: 1h }",
    "debounce": "{ wait: 1s }",
    "orderBy": "data.id",
    "priority": "data.n",
    "condition": "steps/x.py:is_it",
    "delay": "5s",
    "isolation": "process",
    "concurrency": "{ limit: 2, key: data.id }",
}
EXCLUDED = {
    *(("join", other) for other in ("batch", "dedupe", "debounce", "orderBy", "priority", "concurrency")),
    *(("batch", other) for other in ("orderBy", "debounce", "concurrency")),
    ("priority", "orderBy"),
}


@pytest.mark.parametrize("first", CONTROLS)
@pytest.mark.parametrize("second", CONTROLS)
def test_which_keys_exclude_each_other(first: str, second: str, check: Check) -> None:
    keys = {"subscribes": "[a, c]", first: CONTROLS[first], second: CONTROLS[second]}
    found = check(event(**keys))
    excluded = {(first, second), (second, first)} & EXCLUDED
    assert found.errors == (["M419"] if excluded else []), found.describe()
    for finding in found.all("M419"):
        assert finding.related[0][0] != finding.place
        assert finding.hint


def test_a_limit_without_a_key_goes_with_all(check: Check) -> None:
    for other in ("join", "batch"):
        step(check, subscribes="[a, c]", concurrency="{ limit: 2 }", **{other: CONTROLS[other]})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("dedupe", "{ key: data.id, window: 0s }", "window is 0, so no event would ever be a duplicate"),
        ("join", "{ by: data.id, timeout: 0s }", "timeout is 0, so no join would ever be complete"),
    ],
)
def test_durations_that_must_not_be_0(key: str, value: str, words: str, check: Check) -> None:
    assert words in check(event(subscribes="[a, c]", **{key: value})).only("M416").message
