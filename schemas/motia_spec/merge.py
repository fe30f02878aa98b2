"""Several files to one spec: includes add, an overlay changes."""

from __future__ import annotations

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.interpolate import escape
from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.place import Place
from motia_spec.scalars import clip

_MAX_LEVEL = 2  # a key of a section, or of a section of it (policies.retry.NAME): below that a value has one owner


def include(base: MapNode, added: MapNode, diagnostics: list[Diagnostic]) -> MapNode:
    """`base` with what an included file adds. A name that both have is an error naming both places."""
    return _include(base, added, "", 0, diagnostics)


def _include(base: MapNode, added: MapNode, path: str, level: int, diagnostics: list[Diagnostic]) -> MapNode:
    entries = dict(base.entries)
    for key, (place, value) in added.entries.items():
        if level == 0 and key == "include":
            continue
        if key not in entries:
            entries[key] = (place, value)
            continue
        first, old = entries[key]
        if level == 0 and key.startswith("x-"):
            continue  # anchors are local to their file
        here = f"{path}/{escape(key)}"
        sections = level == 0 or here in ("/policies/retry", "/defaults/api")
        if sections and level < _MAX_LEVEL and isinstance(old, MapNode) and isinstance(value, MapNode):
            entries[key] = (first, _include(old, value, here, level + 1, diagnostics))
        elif here == "/secrets" and isinstance(old, ListNode) and isinstance(value, ListNode):
            entries[key] = (first, _union(old, value))
        elif not _equal_scalars(old, value):
            message = f"{clip(key)!r} is in {_two_files(first, place)}; a name has one owner"
            diagnostics.append(
                error("M025", place, message, hint="rename or remove one", path=here, related=((first, "first here"),))
            )
    return MapNode(entries, base.place)


def overlay(base: MapNode, over: MapNode) -> MapNode:
    """`base` as `over` changes it: maps merge, lists and scalars replace, null removes. Null for a key that isn't there stays,
    so that the schema can object to it."""
    entries = dict(base.entries)
    for key, (place, value) in over.entries.items():
        if key not in entries:
            entries[key] = (place, value)
            continue
        first, old = entries[key]
        if isinstance(value, ScalarNode) and value.value is None:
            del entries[key]
        elif isinstance(old, MapNode) and isinstance(value, MapNode):
            entries[key] = (first, overlay(old, value))
        else:
            entries[key] = (place, value)
    return MapNode(entries, base.place)


def _union(old: ListNode, added: ListNode) -> ListNode:
    known = {item.value for item in old.items if isinstance(item, ScalarNode)}
    return ListNode(
        [*old.items, *(i for i in added.items if not (isinstance(i, ScalarNode) and i.value in known))], old.place
    )


def _equal_scalars(a: Node, b: Node) -> bool:
    return isinstance(a, ScalarNode) and isinstance(b, ScalarNode) and a.value == b.value


def _two_files(first: Place, second: Place) -> str:
    return f"{first.file} twice" if first.file == second.file else f"both {first.file} and {second.file}"
