"""Values as headers (the binding, 3.1.3.2), and the headers that events are stored with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_runtime.cloudevents.attributes import decode_value, encode_value
from motia_runtime.cloudevents.incoming import read_cloudevent
from motia_runtime.cloudevents.outgoing import LONGEST_ID, Tails
from motia_runtime.nats.wire import decode_head, encode_head


def test_the_example_of_the_binding():
    assert encode_value("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a%2fb", "a/b"),
        ("%41", "A"),
        ('"with space and \\" and \\\\"', 'with space and " and \\'),
        ('"Euro%20"', "Euro "),
        ("100%", "100%"),
        ('"', '"'),
    ],
)
def test_what_others_write_is_understood(header, value):
    assert decode_value(header) == value


@pytest.mark.parametrize("header", ["%C0%A0", "%ff", "a%E2%82"])
def test_what_is_no_utf_8_is_refused(header):
    with pytest.raises(ValueError, match="utf-8"):
        decode_value(header)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_fits_into_a_header_and_comes_back(text):
    header = encode_value(text)
    assert header.isascii()
    assert all("!" <= character <= "~" and character != '"' for character in header)
    assert decode_value(header) == text


def headers_of(tails: Tails, topic: str, id: str, time: float) -> dict[str, str]:
    """As a reader sees them, who gets the block of the wire."""
    return decode_head(encode_head({"traceparent": "x"}, tails.tail(f"ev.{topic}", id, time)))[1]


def test_an_event_says_what_it_is():
    tails = Tails("shop")
    for time, shown in (
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795391999.9996, "2026-11-22T23:59:59.999Z"),
        (1795392000.25, "2026-11-23T00:00:00.250Z"),
    ):
        assert headers_of(tails, "order.created", "Take:7:e0", time) == {
            "traceparent": "x",
            "ce-specversion": "1.0",
            "ce-source": "/shop",
            "ce-type": "order.created",
            "ce-datacontenttype": "application/json",
            "ce-id": "Take:7:e0",
            "ce-time": shown,
        }


@pytest.mark.parametrize(
    "id", ["Überweisung:7:e0", 'a"b c%d', "line\r\nNats-Rollup: all", "x" * (LONGEST_ID + 1), "😀" * 100]
)
def test_whatever_an_id_is_it_stays_in_its_line_and_one_of_its_own(id):
    tails = Tails("shop")
    found = headers_of(tails, "t", id, 0.0)
    assert len(found) == 7
    assert len(found["ce-id"]) <= LONGEST_ID
    assert found["ce-id"] != headers_of(tails, "t", id + "'", 0.0)["ce-id"]
    if len(id) < LONGEST_ID / 12:
        assert decode_value(found["ce-id"]) == id


def test_what_an_app_tells_an_app_takes_in():
    event = read_cloudevent(headers_of(Tails("shop"), "order.created", "Take:7:e0", 0.5), b"{}")
    assert event is not None
    assert event.attributes["id"] == "Take:7:e0"
    assert event.data == b"{}"
