"""Messages of other programs: which are CloudEvents, what is taken from them, and why others are refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_runtime.cloudevents.incoming import LARGEST, InvalidCloudEvent, read_cloudevent

REQUIRED = {"specversion": "1.0", "id": "7", "source": "/till", "type": "sold"}
BINARY = {f"ce-{name}": value for name, value in REQUIRED.items()}
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}


def envelope(**members: Any) -> bytes:
    """A structured event; a member of `...` is left out."""
    return json.dumps(
        {name: value for name, value in {**REQUIRED, "data": {"a": 1}, **members}.items() if value is not ...}
    ).encode()


# -- which ones


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "application/json"}, {"traceparent": "x"}, {"ce-extension": "x"}]
)
def test_a_message_that_says_nothing_is_none(headers):
    assert read_cloudevent(headers, envelope()) is None


def test_binary_mode_has_attributes_in_headers_and_the_data_as_it_is():
    headers = {**BINARY, "CE-Subject": "a%20b", "ce-comexample": "1", "Nats-Msg-Id": "x", "traceparent": "t"}
    event = read_cloudevent(headers, b' {"a": 1.0} ')
    assert event is not None
    assert event.data == b' {"a": 1.0} '
    assert event.attributes == {**REQUIRED, "subject": "a b", "comexample": "1", "datacontenttype": "application/json"}


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+json", "application/cloudevents", "Application/CloudEvents+JSON;charset=utf-8"]
)
def test_structured_mode_has_all_in_the_body(kind):
    body = b'{"specversion":"1.0","id":"7","source":"/till","type":"sold","time":null,"n":-5,"yes":true,"data":{"a": 1.0, "b": [12345678901234567890]}}'
    event = read_cloudevent({"content-type": kind, "ce-id": "other"}, body)
    assert event is not None
    assert event.data == b'{"a": 1.0, "b": [12345678901234567890]}'
    assert event.attributes == {**REQUIRED, "n": "-5", "yes": "true", "datacontenttype": "application/json"}
    assert next(iter(event.headers)) == "ce-specversion"
    again = read_cloudevent(event.headers, event.data)
    assert again == event


@pytest.mark.parametrize("data", ["null", '"text"', "[1]", "0"])
def test_data_is_any_json(data):
    event = read_cloudevent(STRUCTURED, envelope(data=json.loads(data)))
    assert event is not None
    assert event.data == data.encode()


def test_data_in_base64_is_decoded():
    body = envelope(data=..., data_base64=base64.b64encode(b'{"a": 1}').decode(), datacontenttype="text/json")
    event = read_cloudevent(STRUCTURED, body)
    assert event is not None
    assert event.data == b'{"a": 1}'
    assert event.attributes["datacontenttype"] == "text/json"


def test_the_identity_is_id_and_source_and_topic():
    def identity(topic: str = "t", **changed: str) -> str:
        event = read_cloudevent(STRUCTURED, envelope(**changed))
        assert event is not None
        return event.identity(topic)

    assert identity() == identity(type="other", data="other", time="2026-11-22T10:00:00Z")
    assert (
        len({identity(), identity(id="8"), identity(source="/other"), identity("u"), identity(id='7","', source="/")})
        == 5
    )


# -- why not


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        (STRUCTURED, b"", "is not valid JSON"),
        (STRUCTURED, b"\xff", "is not valid JSON"),
        (STRUCTURED, b"[]", "expected object, found array"),
        (STRUCTURED, b'{"a": 1}', "it lacks specversion, id, source, type"),
        (STRUCTURED, b'{"id": ' + b"[" * 100_000, "nested too deeply"),
        (STRUCTURED, envelope()[:-1] + b',"data":2}', "has the name 'data' twice"),
        (STRUCTURED, envelope(id=""), "it lacks id"),
        (STRUCTURED, envelope(source=None), "it lacks source"),
        (STRUCTURED, envelope(specversion="0.3"), "specversion is '0.3'; events of version 1.0"),
        (STRUCTURED, envelope(data=...), "it has no data"),
        (STRUCTURED, envelope(data_base64="e30="), "both data and data_base64"),
        (STRUCTURED, envelope(data=None, data_base64="e30="), "both data and data_base64"),
        (STRUCTURED, envelope(data=..., data_base64="e30="), "data_base64 without a datacontenttype"),
        (STRUCTURED, envelope(data=..., data_base64="e3=0", datacontenttype="a/json"), "no base64"),
        (STRUCTURED, envelope(data=..., data_base64="é", datacontenttype="a/json"), "no base64"),
        (STRUCTURED, envelope(data=..., data_base64=7, datacontenttype="a/json"), "no base64"),
        (STRUCTURED, envelope(data="<a/>", datacontenttype="application/xml"), "datacontenttype is 'application/xml'; topics take JSON"),
        (STRUCTURED, envelope(extra={"a": 1}), "attribute 'extra' is neither text"),
        (STRUCTURED, envelope(extra=1.5), "attribute 'extra' is neither text"),
        (STRUCTURED, envelope(extra=2**31), "attribute 'extra' is neither text"),
        (STRUCTURED, envelope(Extra="1"), "an attribute 'Extra'; names are lower-case"),
        (STRUCTURED, envelope(**{"x-y": "1"}), "an attribute 'x-y'"),
        (STRUCTURED, envelope(id="a\nb"), "its id holds U+000A"),
        (STRUCTURED, envelope(id="a\x85b"), "its id holds U+0085"),
        (STRUCTURED, envelope(subject="\U0001ffff"), "its subject holds U+1FFFF"),
        (STRUCTURED, envelope(subject=""), "its subject is empty"),
        (STRUCTURED, envelope(source="a b"), "its source is 'a b', which is no URI reference"),
        (STRUCTURED, envelope(source="%zz"), "no URI reference"),
        (STRUCTURED, envelope(dataschema="/relative"), "no URI"),
        (STRUCTURED, envelope(time="2026-11-22"), "its time is '2026-11-22', which is no time of RFC 3339"),
        (STRUCTURED, envelope(time=1795391999), "no time of RFC 3339"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "'application/cloudevents-batch+json'"),
        ({"content-type": "application/cloudevents+avro"}, b"", "'application/cloudevents+avro'"),
        ({"ce-id": "7"}, b"{}", "it lacks specversion, source, type"),
        ({**BINARY, "ce-specversion": "2.0"}, b"{}", "specversion is '2.0'"),
        ({**BINARY, "ce-subject": "%C0%A0"}, b"{}", "ce-subject is no UTF-8"),
        ({**BINARY, "ce-subject": "a%0D%0Ab"}, b"{}", "its subject holds U+000D"),
        ({**BINARY, "ce-a_b": "1"}, b"{}", "an attribute 'a_b'"),
        ({**BINARY, "ce-data": "1"}, b"{}", "an attribute 'data'"),
        ({**BINARY, "ce-": "1"}, b"{}", "an attribute ''"),
        ({**BINARY, "Content-Type": "text/plain"}, b"{}", "datacontenttype is 'text/plain'"),
        ({**BINARY, "ce-datacontenttype": "image/png"}, b"{}", "datacontenttype is 'image/png'"),
    ],
)  # fmt: skip
def test_a_message_that_is_not_what_it_says_is_refused_with_the_reason(headers, body, why):
    with pytest.raises(InvalidCloudEvent) as caught:
        read_cloudevent(headers, body)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "headers", [{**BINARY, "ce-note": "x" * LARGEST}, {**BINARY, **{f"ce-n{n}": "x" for n in range(LARGEST)}}]
)
def test_attributes_have_room_and_no_more(headers):
    with pytest.raises(InvalidCloudEvent, match=r"take [0-9,]+ bytes as headers; at most 4,096"):
        read_cloudevent(headers, b"{}")
    read_cloudevent({**BINARY, "ce-note": "x" * (LARGEST - 200)}, b"{}")


def test_no_message_of_an_error_is_longer_than_needs_be():
    for headers, body in (
        ({**BINARY, "ce-source": "ä" * 5_000}, b""),
        ({**BINARY, "ce-" + "Ä" * 5_000: ""}, b""),
        ({"content-type": "application/cloudevents" + "x" * 5_000}, b""),
        (STRUCTURED, envelope(**{"a" * 5_000: 1.5})),
    ):
        with pytest.raises(InvalidCloudEvent) as caught:
            read_cloudevent(headers, body)
        assert len(str(caught.value)) < 250


@given(
    st.dictionaries(
        st.sampled_from([*BINARY, "ce-time", "ce-datacontenttype", "content-type", "ce-x"]),
        st.one_of(st.text(), st.sampled_from(["1.0", "application/cloudevents", '"', "%"])),
    ),
    st.one_of(st.binary(), st.sampled_from([envelope(), b'{"data_base64": "', b"{}"])),
)
def test_whatever_comes_is_an_event_or_is_refused(headers, body):
    try:
        event = read_cloudevent(headers, body)
    except InvalidCloudEvent:
        return
    if event is not None:
        assert read_cloudevent(event.headers, event.data) == event
