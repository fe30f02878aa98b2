"""What holds for every name, whoever chose it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motia_runtime import naming
from motia_runtime.handler import InvalidKey, InvalidTopic

ANY = st.text(st.characters(), max_size=600)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
TOKEN = re.compile(r"[A-Za-z0-9_=-]+")
DURABLE = re.compile(r"[A-Za-z0-9_-]{1,255}")


@given(KEYS)
@example(".")
@example("=")
@example("=h")
@example("*")
@example("a\r\nPUB b")
@example("订单😀")
def test_a_name_survives_the_round_trip_in_one_token(name: str) -> None:
    token = naming.encode(name)
    assert TOKEN.fullmatch(token)
    assert naming.decode(token) == name
    assert naming.state_names(naming.state_subject(name, name)) == (name, name)


@given(ANY)
def test_any_string_at_all_gives_a_legal_token_and_durable(name: str) -> None:
    token = naming.encode(name)
    assert TOKEN.fullmatch(token)
    assert len(token) <= naming.MAX_TOKEN
    assert DURABLE.fullmatch(naming.durable(name))


@given(ANY, ANY)
@example("a_b", "a-b")
@example("a_2E", "a.")
@example("a=2E", "a.")
@example("A", "a")
@example("", "=")
@example("", "_")
@example("x" * 2000, "x" * 2001)
def test_different_names_never_meet(a: str, b: str) -> None:
    assert (naming.encode(a) == naming.encode(b)) == (a == b)
    assert (naming.durable(a) == naming.durable(b)) == (a == b)
    assert (naming.event_subject(a) == naming.event_subject(b)) == (a == b)


@given(st.tuples(KEYS, KEYS), st.tuples(KEYS, KEYS))
@example(("a", "b.c"), ("a.b", "c"))
def test_pairs_never_meet_and_groups_do_not_leak(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (naming.state_subject(*one) == naming.state_subject(*two)) == (one == two)
    prefix = naming.state_pattern(one[0]).removesuffix("*")
    assert naming.state_subject(*two).startswith(prefix) == (one[0] == two[0])


@given(st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{1,20}){0,5}", fullmatch=True))
def test_topics_keep_their_dots(topic: str) -> None:
    assert naming.check_topic(topic) == topic
    assert naming.event_subject(topic) == f"ev.{topic}"
    assert naming.topic_of(naming.event_subject(topic)) == topic


@given(st.text(alphabet="aé=hX0159.ABF ", max_size=12))
def test_only_what_encode_gives_decodes(token: str) -> None:
    try:
        name = naming.decode(token)
    except ValueError:
        return
    assert naming.encode(name) == token


def test_names_that_pass_the_checks_are_never_hashed() -> None:
    key = naming.check_key("\x00" * naming.MAX_KEY)
    group = naming.check_group("\x00" * naming.MAX_GROUP)
    assert naming.state_names(naming.state_subject(group, key)) == (group, key)
    assert len(naming.state_subject(group, key)) < 2000
    with pytest.raises(ValueError, match="not an encoded name"):
        naming.decode(naming.encode("x" * 2000))


@pytest.mark.parametrize(
    "topic",
    ["", "a b", "a.*", "a.>", "a..b", ".a", "a.", "a\x00", "ä.ö", "$JS.API.X", "a%2eb", "a" * 201, 7, None, "a\n"],
)
def test_what_is_no_topic(topic: object) -> None:
    with pytest.raises(InvalidTopic):
        naming.check_topic(topic)


@pytest.mark.parametrize("key", ["", "x" * 513, "ä" * 257, "\ud800", 7, None, b"a"])
def test_what_is_no_key(key: object) -> None:
    with pytest.raises(InvalidKey):
        naming.check_key(key)
    with pytest.raises(InvalidKey):
        naming.check_group(key)
