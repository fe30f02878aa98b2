"""What records never hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_runtime.handler import Request
from motia_runtime.http.endpoint import WireRequest
from motia_runtime.redaction import KNOWN_HEADERS, LARGEST, PAYLOAD, Redaction, is_credential
from motia_spec.compile import compile_project

SPEC = """
name: t
secrets: [API_KEY, SHORT, PIN]
schemas:
  Card: {type: object, properties: {number: {type: string, x-sensitive: true}, brand: {type: string}}}
  Node: {type: object, properties: {secret: {x-sensitive: true}, next: {$ref: "#/schemas/Node"}}}
  Plain: {type: object, properties: {n: {type: integer}}}
topics:
  paid:
    schema:
      type: object
      properties:
        card: {$ref: "#/schemas/Card"}
        cards: {type: array, items: {$ref: "#/schemas/Card"}}
        pair: {type: array, prefixItems: [{type: string}, {x-sensitive: true}]}
        person: {x-sensitive: true, type: object}
        either: {oneOf: [{type: string}, {type: object, properties: {pin: {x-sensitive: true}}}]}
        open: {type: object, additionalProperties: {x-sensitive: true}, properties: {shown: {type: string}}}
      patternProperties: {"^x_": {x-sensitive: true}}
      if: {properties: {kind: {const: a}}}
      then: {properties: {only_a: {x-sensitive: true}}}
  chain: {external: in, schema: {$ref: "#/schemas/Node"}}
  plain: {external: in, schema: {$ref: "#/schemas/Plain"}}
state: {cards: {schema: {$ref: "#/schemas/Card"}}}
streams: {live: {schema: {$ref: "#/schemas/Card"}}}
steps:
  Pay:
    {type: api, method: POST, path: /pay, emits: [paid], body: {$ref: "#/schemas/Card"}, query: {type: object, properties: {pin: {x-sensitive: true}}}}
  Ship: {type: event, subscribes: [paid, chain, plain, {state: cards}]}
"""


@pytest.fixture
def redaction(tmp_path: Path) -> Redaction:
    (tmp_path / "motia.yaml").write_text(SPEC)
    project = compile_project(tmp_path, environ={}, handlers=False).require()
    return Redaction(project, {"API_KEY": 'sk_"live\\4711', "SHORT": "abc", "PIN": "86420135"})


def shown(redaction: Redaction, value: Any, topic: str = "paid") -> Any:
    raw = redaction.payload(msgspec.json.encode(value), redaction.topics.get(topic))
    return msgspec.json.decode(raw)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"card": {"number": "4711", "brand": "v"}}, {"card": {"number": "***", "brand": "v"}}),
        ({"cards": [{"number": 1}, {"brand": "v"}, "odd"]}, {"cards": [{"number": "***"}, {"brand": "v"}, "odd"]}),
        ({"pair": ["a", "b", "c"]}, {"pair": ["a", "***", "c"]}),
        ({"person": {"name": "Zoë"}}, {"person": "***"}),
        ({"either": {"pin": 1, "n": 2}}, {"either": {"pin": "***", "n": 2}}),
        ({"open": {"shown": "a", "other": "b"}}, {"open": {"shown": "a", "other": "***"}}),
        ({"x_1": 1, "y": 2}, {"x_1": "***", "y": 2}),
        ({"only_a": 1}, {"only_a": "***"}),
        ("no object", "no object"),
    ],
)
def test_sensitive_properties_are_hidden_wherever_the_schema_says_so(
    redaction: Redaction, value: Any, kept: Any
) -> None:
    assert shown(redaction, value) == kept


def test_a_schema_that_refers_to_itself_is_followed_as_deep_as_the_value_goes(redaction: Redaction) -> None:
    value: Any = {"secret": 1}
    for _ in range(40):
        value = {"secret": 2, "next": value}
    text = str(shown(redaction, value, "chain"))
    assert text.count("***") == 41
    for _ in range(400):
        value = {"next": value}
    assert "'secret': 2" not in str(shown(redaction, value, "chain"))


def test_what_has_nothing_sensitive_costs_nothing(redaction: Redaction) -> None:
    assert set(redaction.topics) == {"paid", "chain"}
    assert (set(redaction.state), set(redaction.streams), set(redaction.bodies)) == ({"cards"}, {"live"}, {"Pay"})
    data = b'{"n":1}'
    assert bytes(redaction.payload(data)) == data


def test_changes_of_state_and_joined_events_are_hidden_like_what_they_are_of(redaction: Redaction) -> None:
    change = b'{"of":"cards","key":"k","value":{"number":"1"},"previous":{"number":"2","brand":"v"}}'
    kept = msgspec.json.decode(redaction.payload(change, redaction.input_of("state:cards")))
    assert kept == {"of": "cards", "key": "k", "value": {"number": "***"}, "previous": {"number": "***", "brand": "v"}}
    joined = b'{"plain":{"n":1},"paid":{"card":{"number":"1"}}}'
    kept = msgspec.json.decode(redaction.payload(joined, redaction.input_of("join:paid,plain")))
    assert kept == {"plain": {"n": 1}, "paid": {"card": {"number": "***"}}}
    assert redaction.input_of("state:other") is redaction.input_of(None) is None


def test_long_payloads_are_cut_and_long_ones_with_sensitive_parts_left_out(redaction: Redaction) -> None:
    long = msgspec.json.encode({"text": "é" * PAYLOAD, "card": {"number": "4711"}})
    kept = msgspec.json.decode(redaction.payload(long))
    assert kept["bytes"] == len(long)
    assert kept["$cut"].startswith('{"text":"éé')
    kept = msgspec.json.decode(redaction.payload(b'{"card":{"number":"4711"},' + long[1:], redaction.topics["paid"]))
    assert kept["$cut"].startswith('{"card":{"number":"***"}')
    huge = msgspec.json.encode({"card": {"number": "4711"}, "text": "x" * LARGEST})
    assert msgspec.json.decode(redaction.payload(huge, redaction.topics["paid"])) == {"$cut": "", "bytes": len(huge)}


@pytest.mark.parametrize("data", [b"no json", b"\xff\xfe", b'{"a":', b'"\xed\xa0\x80"', b"[" * 5000])
def test_what_is_no_json_becomes_a_line_of_json(redaction: Redaction, data: bytes) -> None:
    for rule in (None, redaction.topics["paid"]):
        raw = redaction.payload(data, rule, known=False)
        assert b"\n" not in bytes(raw)
        assert msgspec.json.decode(raw)["bytes"] == len(data)


def test_one_spelling_and_one_line(redaction: Redaction) -> None:
    assert bytes(redaction.payload(b'{\n "a": "\\u0073k"\r\n}')) == b'{"a":"sk"}'
    assert bytes(redaction.payload(b"", known=False)) == b""


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("authorization", True), ("Proxy-Authorization", True), ("cookie", True), ("set-cookie", True), ("x-api-key", True),
        ("X-Auth-Token", True), ("x-csrf-token", True), ("apikey", True), ("key", True), ("x-amz-security-token", True), ("x-signature", True),
        ("password", True), ("client_secret", True), ("content-type", False), ("user-agent", False), ("idempotency-key", False),
        ("x-keyboard", False), ("traceparent", False), ("accept", False), ("author", False),
    ],
)  # fmt: skip
def test_names_that_carry_credentials(name: str, hidden: bool) -> None:
    assert is_credential(name) is hidden


def test_headers_and_query(redaction: Redaction) -> None:
    assert redaction.headers({"cookie": "a=b", "accept": "x" * 2000}) == {"cookie": "***", "accept": "x" * 1024}
    assert redaction.query({"pin": 1, "token": "t", "page": ["1", "2"]}, "Pay") == {
        "pin": "***",
        "token": "***",
        "page": ["1", "2"],
    }


def test_a_secret_that_changes_is_hidden_as_it_was_and_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "motia.yaml").write_text(SPEC)
    environ = {"API_KEY": "first-key"}
    redaction = Redaction(compile_project(tmp_path, environ={}, handlers=False).require(), environ)
    line = b'{"trigger":{},"input":"first-key second-key"}'
    assert redaction.is_clean(b'{"input":"second-key"}')
    environ["API_KEY"] = "second-key"
    assert not redaction.is_clean(b'{"input":"second-key"}')
    assert not redaction.is_clean(b'{"input":"first-key"}')
    assert redaction.masked(line) == b'{"trigger":{},"input":"*** ***"}'


def test_headers_of_requests(redaction: Redaction) -> None:
    def of(*raw: tuple[bytes, bytes]) -> Any:
        request = WireRequest(None, {}, {}, list(raw), b"", "GET", "/")
        first = bytes(redaction.headers_of(request))
        assert bytes(redaction.headers_of(request)) == first
        return msgspec.json.decode(first)

    assert of() == {}
    assert of((b"host", b"a"), (b"cookie", b"s=1"), (b"x-long", b"x" * 2000)) == {
        "host": "a",
        "cookie": "***",
        "x-long": "x" * 1024,
    }
    assert of((b"host", b"b"), (b"cookie", b"s=2")) == {"host": "b", "cookie": "***"}
    assert of((b"x-odd", b'"\xff\\'), (b"x-even", "\u00e9".encode())) == {"x-odd": '"\u00ff\\', "x-even": "\u00e9"}
    assert of((b"accept", b"a"), (b"host", b"a"), (b"accept", b"b")) == {"accept": "a, b", "host": "a"}
    for n in range(2 * KNOWN_HEADERS):
        assert of((b"host", b"a"), (b"x-request-id", b"%d" % n)) == {"host": "a", "x-request-id": str(n)}
    assert len(redaction._lines) <= KNOWN_HEADERS
    own = Request[Any, Any, Any](body=None, path_params={}, query_params={}, headers={"x": "\ud800"}, raw_body=b"", method="GET", path="/")  # fmt: skip
    assert msgspec.json.decode(redaction.headers_of(own)) == {"'x'": "'\\ud800'"}


def test_values_of_secrets_are_hidden_in_what_users_have_said_and_nowhere_else(redaction: Redaction) -> None:
    record = {
        "trace_id": "86420135", "step": "86420135", "trigger": {"type": "api", "path": "/86420135"}, "started": 86420135.5,
        "input": {"pin": 86420135, 'sk_"live\\4711': [1.5, True, None, "abc"], "text": 'my sk_"live\\4711!'},
        "error": {"type": "E", "message": "nats://user:pass@host said 86420135"},
        "emits": [{"topic": "t", "size": 86420135, "data": 186420135}],
    }  # fmt: skip
    line = msgspec.json.encode(record)
    assert not redaction.is_clean(line)
    kept = redaction.masked(line)
    assert redaction.is_clean(msgspec.json.encode(msgspec.json.decode(kept)["input"]))
    assert msgspec.json.decode(kept) == {
        **record,
        "trigger": {"type": "api", "path": "/***"},
        "input": {"pin": "***", "***": [1.5, True, None, "abc"], "text": "my ***!"},
        "error": {"type": "E", "message": "nats://***@host said ***"},
        "emits": [{"topic": "t", "size": 86420135, "data": "***"}],
    }
    assert redaction.is_clean(b'{"a":"sk_live abc http://host/x@y"}')
