"""The spec as it is understood: findings of the last save, and every value with the place that it comes from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from motia_runtime.workbench.call import Call
from motia_spec.load import load_spec
from motia_spec.node import ListNode, MapNode, Node, ScalarNode

DEEPEST = 1_000  # levels; the language has its own bound


async def get_spec(call: Call) -> Any:
    """`values`: leaves in the order of the spec, as `motia config show --origins`."""
    bench = call.bench
    loaded = await asyncio.to_thread(load_spec, bench.project.root, os.environ, bench.overlay, None)
    rows: list[dict[str, Any]] = []
    if loaded.node is not None:
        for path, node in _leaves(loaded.node, ()):
            value = bench.mask.value(node.plain(), -DEEPEST)
            rows.append({"path": path, "value": value, "file": node.place.file, "line": node.place.line})
    return {
        "files": loaded.files,
        "values": rows,
        "merged": None if loaded.node is None else bench.mask.value(loaded.node.plain(), -DEEPEST),
        "board": bench.board.plain(),
    }


def _leaves(node: Node, path: tuple[str | int, ...]) -> Iterator[tuple[list[str | int], Node]]:
    if isinstance(node, MapNode) and node.entries:
        for key, _, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, ListNode) and any(not isinstance(item, ScalarNode) for item in node.items):
        for index, item in enumerate(node.items):
            yield from _leaves(item, (*path, index))
    else:
        yield list(path), node


ROUTES = {"spec": {"GET": get_spec}}
