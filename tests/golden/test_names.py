"""Python names from any text."""

from __future__ import annotations

import keyword

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_generator.names import CLASS_RESERVED, FIELD_RESERVED, LONGEST, Scope, class_name, field_name, field_names
from motia_runtime.handler import Model


@pytest.mark.parametrize(
    ("text", "field", "cls"),
    [
        ("customerId", "customer_id", "CustomerId"),
        ("orderID", "order_id", "OrderID"),
        ("HTTPError", "http_error", "HTTPError"),
        ("x-y", "x_y", "XY"),
        ("1st", "x1st", "X1st"),
        ("line_2", "line_2", "Line2"),
        ("class", "class_", "Class"),
        ("None", "none", "None_"),
        ("str", "str_", "Str"),
        ("Meta", "meta", "Meta_"),
        ("type", "type", "Type"),
        ("_id", "id", "Id"),
        ("__init__", "init", "Init"),
        ("größe", "grosse", "Grosse"),
        ("ﬁ", "fi", "Fi"),
        ("日本", "u65e5_u672c", "U65e5U672c"),
        ("😀", "u1f600", "U1f600"),
        ("", "empty", "Empty"),
        ("order.created", "order_created", "OrderCreated"),
    ],
)
def test_names(text: str, field: str, cls: str) -> None:
    assert (field_name(text), class_name(text)) == (field, cls)


@given(st.text())
def test_any_text_gives_a_safe_name(text: str) -> None:
    for name, reserved in ((field_name(text), FIELD_RESERVED), (class_name(text), CLASS_RESERVED)):
        assert name.isascii()
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert name not in reserved
        assert len(name) <= LONGEST
    assert field_name(text)[0].islower()
    assert class_name(text)[0].isupper()


@given(st.lists(st.text(max_size=3), unique=True, max_size=8))
def test_names_never_collide_and_do_not_depend_on_later_ones(wires: list[str]) -> None:
    names = field_names(wires)
    assert list(names) == wires
    assert len(set(names.values())) == len(wires)
    assert field_names(wires) == names
    assert all(names[w] == w for w in wires if field_name(w) == w)


def test_a_scope_prefers_alternatives_to_numbers() -> None:
    scope = Scope({"Order"})
    assert [scope.unique("Order", "OrderStep") for _ in range(3)] == ["OrderStep", "Order_2", "Order_3"]


def test_no_field_hides_what_a_model_has() -> None:
    for name in dir(Model):
        if not name.startswith("_"):
            assert field_name(name) != name


@given(
    st.dictionaries(
        st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\')), st.integers(), max_size=5
    )
)
def test_wire_names_survive(values: dict[str, int]) -> None:
    names = field_names(list(values))
    fields = [(names[w], int, msgspec.field(name=w)) for w in values]
    made = msgspec.defstruct("Made", fields, bases=(Model,), kw_only=True)
    decoded = msgspec.json.decode(msgspec.json.encode(values), type=made)
    assert {w: decoded[w] for w in values} == values
