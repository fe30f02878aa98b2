"""YAML as read: values that know where they stand. Built by `document`, merged by `load`, read by `validate` and `lower`.

A node is immutable once `load` has returned it. Mapping keys keep their own place, so that a finding about a key
underlines the key and one about a value underlines the value.
"""

from __future__ import annotations

from collections.abc import Iterator

from motia_spec.place import Place

Scalar = str | int | float | bool | None
JSON = Scalar | list["JSON"] | dict[str, "JSON"]


class Node:
    """One YAML value. Exactly one of the three subclasses below."""

    __slots__ = ("place",)
    place: Place

    def plain(self) -> JSON:
        """The value without places, as `json.loads` would give it. A fresh copy."""
        raise AssertionError("Node is abstract")


class ScalarNode(Node):
    __slots__ = ("value",)

    def __init__(self, value: Scalar, place: Place) -> None:
        self.value = value
        self.place = place

    def plain(self) -> JSON:
        return self.value


class ListNode(Node):
    __slots__ = ("items",)

    def __init__(self, items: list[Node], place: Place) -> None:
        self.items = items
        self.place = place

    def plain(self) -> JSON:
        return [item.plain() for item in self.items]


class MapNode(Node):
    """`entries` maps a key to (place of the key, value). Keys are strings, unique, in file order."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, tuple[Place, Node]], place: Place) -> None:
        self.entries = entries
        self.place = place

    def plain(self) -> JSON:
        return {key: value.plain() for key, (_, value) in self.entries.items()}

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return None if entry is None else entry[1]

    def key_place(self, key: str) -> Place:
        """Place of the key. KeyError when the key is not there."""
        return self.entries[key][0]

    def items(self) -> Iterator[tuple[str, Place, Node]]:
        for key, (place, value) in self.entries.items():
            yield key, place, value
