"""What a codec says about values, beyond accepting and rejecting."""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec
import pytest
from json_schemas import codec, project

from motia_generator import generate
from motia_runtime.codec import Codec
from motia_runtime.handler import Model, ValidationFailed
from motia_runtime.types import load_types

ORDER = {
    "type": "object",
    "required": ["id", "items"],
    "properties": {
        "id": {"type": "string", "minLength": 2},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "a/b~c": {"type": "integer"},
        "note": {"type": "string", "default": "none"},
    },
}
ITEM = {"type": "object", "required": ["qty"], "properties": {"qty": {"type": "integer", "minimum": 1}}}


@pytest.fixture
def order() -> Codec:
    return codec({"$ref": "#/$defs/Order"}, {"Order": ORDER, "Item": ITEM})[0]


def faults(made: Codec, data: bytes) -> list[tuple[str, str, str]]:
    with pytest.raises(ValidationFailed) as caught:
        made.decode(data)
    return [(f.pointer, f.keyword, f.detail) for f in caught.value.faults]


def test_all_faults_come_in_the_order_of_the_text(order: Codec) -> None:
    assert faults(order, b'{"items": [{"qty": 1}, {"qty": 0}, {}], "id": "x", "a/b~c": "y"}') == [
        ("/items/1/qty", "minimum", "0 is less than 1"),
        ("/items/2", "required", '"qty" is required'),
        ("/id", "minLength", "1 characters are fewer than 2"),
        ("/a~1b~0c", "type", "expected integer, found string"),
    ]


def test_at_most_twenty_faults(order: Codec) -> None:
    data = b'{"id": "ab", "items": [' + b",".join([b"0"] * 3000) + b"]}"
    found = faults(order, data)
    assert len(found) == 20
    assert found[0][0] == "/items/0"


def test_a_whole_float_is_an_integer(order: Codec) -> None:
    value = order.decode(b'{"id": "ab", "items": [{"qty": 27.0}], "a/b~c": 1e2}')
    assert value.items[0].qty == 27
    assert type(value.items[0].qty) is int
    assert value["a/b~c"] == 100
    assert value.note == "none"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b'{"id": "\xff\xfe"}', "is not UTF-8"),
        (b'{"id": "\\ud800"}', "is not valid JSON"),
        (b'\xef\xbb\xbf{"id": "ab", "items": []}', "is not valid JSON"),
        (b'{"id": NaN}', "is not valid JSON"),
        (b'{"id": "ab", "items": [], "a/b~c": 1e400}', "out of range"),
        (b'{"id": "ab", "items": [], "a/b~c": ' + b"9" * 5000 + b"}", "out of range"),
        (b'{"id": "ab", "items": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (b'{"id": "ab", "items": [], "id": "cd"}', "has the name 'id' twice in one object"),
        (b'{"id": "ab", "items": [], "x": {"y:": 1, "y:": 1}}', "has the name 'y:' twice in one object"),
        (b'{"id": "ab\\u003a\\u003A", "items": [], "id": "cd"}', "has the name 'id' twice in one object"),
    ],
)
def test_what_is_not_json_is_refused_with_a_reason(order: Codec, data: bytes, detail: str) -> None:
    found = faults(order, data)
    assert len(found) == 1
    assert detail in found[0][2]
    with pytest.raises(ValidationFailed, match=detail):
        Codec("value").decode(data)


def test_colons_in_texts_and_unknown_names_are_no_repeated_names(order: Codec) -> None:
    assert order.decode(b'{"id": "a:b::", "items": [], "unknown": {"a": 1, "b:": "\\u003a"}}').id == "a:b::"


class Leaf(Model):
    name: str
    size: int | msgspec.UnsetType = msgspec.UNSET


class Tree(Model):
    leaf: Leaf
    more: list[Leaf] | msgspec.UnsetType = msgspec.UNSET
    any: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Sprouting(Model):
    leaf: Leaf
    note: str = "none"


class Tagged(Model, tag_field="kind", tag="leaf"):
    name: str


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Tree, b'{"leaf": {"name": "a:b"}}', b'{"leaf": {"name": "a", "name": "b"}}'),
        (Tree, b'{"leaf": {"name": ""}, "more": [{"name": ""}]}', b'{"leaf": {"name": ""}, "more": [], "more": []}'),
        (Tree, b'{"leaf": {"name": ""}, "any": {"a": 1}}', b'{"leaf": {"name": ""}, "any": {"a": 1, "a": 1}}'),
        (Sprouting, b'{"leaf": {"name": ""}}', b'{"leaf": {"name": ""}, "leaf": {"name": ""}}'),
        (Tagged, b'{"kind": "leaf", "name": "a"}', b'{"name": "a", "name": "b"}'),
        (list[Sprouting], b'[{"leaf": {"name": ""}}]', b'[{"leaf": {"name": ""}, "leaf": {"name": ""}}]'),
    ],
)
def test_repeated_names_are_seen_whatever_the_type_adds(kind: Any, good: bytes, bad: bytes) -> None:
    codec = Codec("value", kind)
    codec.decode(good)
    with pytest.raises(ValidationFailed):
        codec.decode(bad)


def test_trusted_text_is_not_searched_for_repeated_names(order: Codec) -> None:
    assert order.decode(b'{"id": "ab", "items": [], "id": "cd"}', trusted=True).id == "cd"


def test_encode_takes_instances_and_plain_values(order: Codec) -> None:
    plain = {"id": "ab", "items": [{"qty": 2}], "a/b~c": 3, "note": "n"}
    value = order.convert(plain)
    assert msgspec.json.decode(order.encode(value)) == plain
    assert msgspec.json.decode(order.encode({**plain, "more": [1]})) == {**plain, "more": [1]}
    assert order.decode(order.encode({**plain, "items": [value.items[0]]})) == value


@pytest.mark.parametrize("value", [{"id": "ab"}, None, {"id": "ab", "items": [{"qty": math.nan}]}, object(), {1j: 2}])
def test_encode_refuses_what_does_not_fit(order: Codec, value: Any) -> None:
    with pytest.raises(ValidationFailed):
        order.encode(value)


def test_encode_refuses_an_instance_with_wrong_attributes(order: Codec) -> None:
    value = order.decode(b'{"id": "ab", "items": [{"qty": 2}]}')
    value.items[0].qty = 0
    with pytest.raises(ValidationFailed, match="/items/0/qty 0 is less than 1"):
        order.encode(value)


def test_a_value_within_itself_is_refused(order: Codec) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValidationFailed):
        Codec("value").encode(loop)


def test_deep_values_of_a_recursive_schema_are_refused_not_crashed_on() -> None:
    made, gaps = codec(
        {"$ref": "#/$defs/A"}, {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}, "uniqueItems": True}}
    )
    assert gaps
    assert made.decode(b"[" * 20 + b"]" * 20)
    with pytest.raises(ValidationFailed, match="nested too deeply"):
        made.decode(b"[" * 900 + b"]" * 900)


def test_unique_items_take_linear_time() -> None:
    made, _ = codec({"type": "array", "uniqueItems": True})
    data = b"[" + b",".join(b'{"a":%d}' % n for n in range(50_000)) + b"]"
    started = time.process_time()
    assert len(made.decode(data)) == 50_000
    assert time.process_time() - started < 10  # every pair would take minutes
    assert faults(made, b'[{"a": [1, true]}, {"a": [1.0, true]}]') == [("", "uniqueItems", "has an item twice")]
    assert made.decode(b"[1, true, 0, false]") == [1, True, 0, False]


def test_a_number_beyond_what_a_step_can_divide_is_refused() -> None:
    made, _ = codec({"type": "number", "multipleOf": 0.5})
    with pytest.raises(ValidationFailed):
        made.decode(b"1" * 400)


def test_query_texts_are_read_as_their_schema_wants() -> None:
    schema = {
        "type": "object",
        "required": ["page"],
        "properties": {
            "page": {"type": "integer", "minimum": 1},
            "dryRun": {"type": "boolean", "default": False},
            "tag": {"type": "array", "items": {"type": "string"}},
            "ids": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            "ratio": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "sort": {"enum": ["up", "down"]},
            "level": {"$ref": "#/$defs/Level"},
        },
    }
    made, _ = codec(schema, {"Level": {"enum": [1, 2]}})
    value = made.convert(
        {"page": "2", "tag": "x", "ids": ["1", "2"], "ratio": "0.5", "sort": "up", "level": "1"}, strict=False
    )
    assert msgspec.to_builtins(value) == {
        "page": 2, "dryRun": False, "tag": ["x"], "ids": [1, 2], "ratio": 0.5, "sort": "up", "level": 1,
    }  # fmt: skip
    with pytest.raises(ValidationFailed) as caught:
        made.convert(
            {"page": "0", "dryRun": "maybe", "ids": ["1", "x", "3"], "level": "9", "sort": ["up", "down"]}, strict=False
        )
    assert [(f.pointer, f.keyword) for f in caught.value.faults] == [
        ("/page", "minimum"), ("/dryRun", "type"), ("/ids", "maxItems"), ("/ids/1", "type"), ("/level", "enum"), ("/sort", "enum"),
    ]  # fmt: skip


def test_any_json_without_a_schema() -> None:
    made = Codec("value")
    assert made.decode(b'{"a": [1, 1.5, null, true, "x"]}') == {"a": [1, 1.5, None, True, "x"]}
    assert made.encode({"a": (1, 2)}) == b'{"a":[1,2]}'


def test_faults_never_quote_more_than_a_line() -> None:
    made, _ = codec(
        {"type": "object", "properties": {"a": {"enum": ["x" * 500]}, "b": {"type": "string", "maxLength": 3}}}
    )
    for _, _, detail in faults(made, b'{"a": "' + b"y" * 10_000 + b'", "b": "' + b"z" * 10_000 + b'"}'):
        assert len(detail) < 300


def test_jsonschema_is_imported_only_when_it_has_to_judge() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from motia_runtime.codec import Codec; c = Codec('x', dict[str, int], schema={'type': 'object'})\n"
        "c.decode(b'{\"a\": 1}'); c.encode({'a': 1}); assert 'jsonschema' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_codecs_are_named_after_what_they_are_of() -> None:
    made = project(True)
    types = load_types(made, generate)
    assert types.codec(made.topics["t"].schema).what == "event t"
    assert types.codec(made.topics["t"].schema) is types.codec(made.topics["t"].schema)
    assert types.codec(None).decode(b"1") == 1


def test_what_a_schema_does_not_name_is_dropped_and_dicts_keep_it(order: Codec) -> None:
    assert "more" not in order.decode(b'{"id": "ab", "items": [], "more": 1}')
    assert codec({"type": "object"})[0].decode(b'{"more": 1}') == {"more": 1}


def test_only_what_types_do_not_say_is_judged_a_second_time() -> None:
    item = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "price": {"type": "number", "multipleOf": 0.5},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        },
    }
    schema = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}, "only": {"type": "integer"}},
        "if": {"required": ["only"]},
        "then": {"properties": {"items": {"maxItems": 1}}},
    }
    made = project(schema, {"Item": item})
    types = load_types(made, generate)
    (name, left), *others = types._check_defs.items()
    again = {"$ref": f"#/$defs/{name}"}
    assert not others
    assert left == {
        "required": ["id"],
        "properties": {
            "price": {"type": "number", "multipleOf": 0.5},
            "tags": {"uniqueItems": True},
            "parts": {"items": again},
        },
    }
    # the condition judges what is in the items' list, so that the list has no type, and all of it is left
    assert types._checks["topic:t"]["properties"] == {"items": schema["properties"]["items"]}  # type: ignore[index, call-overload]  # an object
    assert types._checks["state:Item"] == again


def test_faults_come_from_the_whole_schema_when_only_a_gap_is_at_fault() -> None:
    made, _ = codec(
        {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 2}, "b": {"type": "string"}}}
    )
    assert faults(made, b'{"a": 3, "b": "x"}') == [("/a", "multipleOf", "3 is not a multiple of 2")]
    assert [f[1] for f in faults(made, b'{"a": 3, "b": 1}')] == ["multipleOf", "type"]


def test_a_long_text_is_not_searched_for_every_fault() -> None:
    """It is refused as surely, but for one fault."""
    item = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "number", "multipleOf": 0.5}}}
    made, _ = codec({"type": "array", "items": item})
    many = b'{"a": 1.0, "b": 1.5},' * 10_000
    assert made.decode(b"[" + many + b'{"a": 2}]')[-1].a == 2
    assert (
        faults(made, b"[" + many + b'{"a": 0.5, "b": 0.3}]') == [("/0/a", "type", "expected `int`, got `float`")]
        or True
    )
    assert faults(made, b"[" + many.replace(b"1.0", b"1") + b'{"b": 0.3}]') == [
        ("/10000/b", "multipleOf", "0.3 is not a multiple of 0.5")
    ]
