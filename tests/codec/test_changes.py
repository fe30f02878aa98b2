"""What steps that run on changes are given: as JSON, with types, and read like any generated type."""

from __future__ import annotations

import msgspec
import pytest

from motia_runtime.handler import Model, StateChange, StreamChange


class Order(Model):
    id: str


def test_a_change_of_state_is_typed_and_a_mapping_too() -> None:
    sent = StateChange(group="orders", key="o-1", value=Order(id="o-1"), previous=None)
    text = msgspec.json.encode(sent)
    assert msgspec.json.decode(text) == {"group": "orders", "key": "o-1", "value": {"id": "o-1"}, "previous": None}
    change = msgspec.json.decode(text, type=StateChange[Order])
    assert change.value == Order(id="o-1")
    assert change["value"]["id"] == "o-1"
    assert change["previous"] is None
    assert dict(change) == {"group": "orders", "key": "o-1", "value": Order(id="o-1"), "previous": None}


def test_a_change_of_a_stream_names_stream_group_and_id() -> None:
    text = b'{"stream":"doors","group":"hall","id":"d1","value":null,"previous":{"id":"x"}}'
    change = msgspec.json.decode(text, type=StreamChange[Order])
    assert (change.stream, change.group, change.id, change.value, change.previous) == ("doors", "hall", "d1", None, Order(id="x"))  # fmt: skip


def test_values_are_held_to_their_type() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.value\.id"):
        msgspec.json.decode(b'{"group":"g","key":"k","value":{"id":1},"previous":null}', type=StateChange[Order])
    anything = msgspec.json.decode(b'{"group":"g","key":"k","value":1,"previous":null}', type=StateChange)
    assert anything.value == 1
