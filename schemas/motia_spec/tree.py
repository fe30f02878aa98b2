"""Reading a tree that the spec's schema has accepted: the value that is there and its place, or the default.

Values of another type than asked for read as absent: the schema has reported them, and nothing here may raise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.place import NOWHERE, Place


class Word(NamedTuple):
    """A string of the spec, its place, and its JSON Pointer in the merged spec."""

    text: str
    place: Place
    path: str


class Cursor:
    """A mapping of the spec and its JSON Pointer. An absent mapping is an empty one at its parent's place."""

    __slots__ = ("node", "path")

    def __init__(self, node: Node | None, path: str = "", place: Place = NOWHERE) -> None:
        self.node = node if isinstance(node, MapNode) else MapNode({}, place if node is None else node.place)
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self.node.entries

    def get(self, key: str) -> Node | None:
        return self.node.get(key)

    def at(self, key: str | int) -> str:
        """The JSON Pointer of a member."""
        return f"{self.path}/{escape(str(key))}"

    def place(self, key: str) -> Place:
        """Where the value of `key` stands; the mapping's own place when it is absent."""
        value = self.node.get(key)
        return self.node.place if value is None else value.place

    def key_place(self, key: str) -> Place:
        return self.node.key_place(key) if key in self.node.entries else self.node.place

    def map(self, key: str) -> Cursor:
        return Cursor(self.node.get(key), self.at(key), self.node.place)

    def maps(self) -> Iterator[tuple[str, Place, Cursor]]:
        """Each member as (key, place of the key, the mapping under it)."""
        for key, place, value in self.node.items():
            yield key, place, Cursor(value, self.at(key))

    def text(self, key: str, default: str = "") -> str:
        value = self.node.get(key)
        return value.value if isinstance(value, ScalarNode) and isinstance(value.value, str) else default

    def word(self, key: str) -> Word | None:
        value = self.node.get(key)
        if isinstance(value, ScalarNode) and isinstance(value.value, str):
            return Word(value.value, value.place, self.at(key))
        return None

    def flag(self, key: str, default: bool) -> bool:
        value = self.node.get(key)
        return value.value if isinstance(value, ScalarNode) and isinstance(value.value, bool) else default

    def whole(self, key: str, default: int) -> int:
        value = self.node.get(key)
        if isinstance(value, ScalarNode) and isinstance(value.value, int) and not isinstance(value.value, bool):
            return value.value
        return default

    def items(self, key: str) -> list[tuple[Node, str]]:
        """The items of a list with their JSON Pointers; a single value is a list of one."""
        value = self.node.get(key)
        if value is None:
            return []
        if not isinstance(value, ListNode):
            return [(value, self.at(key))]
        path = self.at(key)
        return [(item, f"{path}/{index}") for index, item in enumerate(value.items)]

    def words(self, key: str) -> list[Word]:
        """The strings of a list of strings, or of a single one."""
        return [
            Word(item.value, item.place, path)
            for item, path in self.items(key)
            if isinstance(item, ScalarNode) and isinstance(item.value, str)
        ]


def escape(token: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1") if "~" in token or "/" in token else token


def unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def pointers(node: Node, places: Collection[Place]) -> dict[Place, str]:
    """The JSON Pointers of the values, or of the keys, that stand at these places. The first one where aliases make several."""
    found: dict[Place, str] = {}
    waiting: list[tuple[Node, str]] = [(node, "")]
    while waiting:
        value, path = waiting.pop()
        if value.place in places:
            found.setdefault(value.place, path)
        if isinstance(value, MapNode):
            for key, place, inner in value.items():
                below = f"{path}/{escape(key)}"
                if place in places:
                    found.setdefault(place, below)
                waiting.append((inner, below))
        elif isinstance(value, ListNode):
            waiting += [(item, f"{path}/{index}") for index, item in enumerate(value.items)]
    return found
