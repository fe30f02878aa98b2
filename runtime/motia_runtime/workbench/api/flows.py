"""The graph: where its boxes and arrows are, and where people have dragged them to."""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from motia_runtime.http.problems import Refused
from motia_runtime.watch import POSITIONS
from motia_runtime.workbench.bench import Bench, Missing
from motia_runtime.workbench.call import Call

LARGEST = 1 << 20  # bytes of that file
FURTHEST = 100_000.0  # pixels


class Position(msgspec.Struct, frozen=True):
    """Of a box's upper left corner, in pixels."""

    x: float
    y: float


class Positions(msgspec.Struct, frozen=True):
    positions: dict[str, Position] = {}  # by id of the box; what is not here stays where Graphviz puts it


async def get_flow(call: Call) -> Any:
    """One flow, laid out."""
    (name,) = call.values
    bench = call.bench
    if name not in bench.project.flows:
        raise Missing(f"there is no flow {name!r} in the spec that runs")
    drawn = await asyncio.to_thread(bench.layout, bench.project, name, _with_data(call))
    kept = await asyncio.to_thread(_read, bench.project.root)
    return {"name": name, **drawn, "positions": kept.get(name, {})}


async def get_whole(call: Call) -> Any:
    """All steps on one sheet."""
    bench = call.bench
    drawn = await asyncio.to_thread(bench.layout, bench.project, None, _with_data(call))
    return {"name": None, **drawn, "positions": {}}


def _with_data(call: Call) -> bool:
    """`?data=1`: with state groups and streams."""
    return call.query("data").get("data", "0") == "1"


async def put_positions(call: Call) -> Any:
    """Keep where boxes were dragged to; none: as Graphviz has them."""
    (name,) = call.values
    bench = call.bench
    if not bench.dev:
        raise Refused(403, "Positions are kept in the project's folder, which only `motia dev` writes to.")
    if name not in bench.project.flows:
        raise Missing(f"there is no flow {name!r} in the spec that runs")
    given = await call.body(Positions)
    for box, each in given.positions.items():
        if not (math.isfinite(each.x) and math.isfinite(each.y)) or max(abs(each.x), abs(each.y)) > FURTHEST:
            raise Refused(400, f"The position of {box[:80]!r} is too far away.")
    rounded = {box: {"x": round(p.x, 1), "y": round(p.y, 1)} for box, p in sorted(given.positions.items())}
    await asyncio.to_thread(_write, bench, name, rounded)
    return {"positions": rounded}


def _read(root: Path) -> dict[str, Any]:
    """Positions by flow. A file that can't be read counts as none: it only says where boxes stand."""
    path = root / POSITIONS
    try:
        if path.stat().st_size > LARGEST:
            return {}
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Position]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return msgspec.to_builtins(found)  # type: ignore[no-any-return]  # a dict stays one


def _write(bench: Bench, flow: str, positions: dict[str, Any]) -> None:
    """All at once, so that a reader finds the old file or the new one."""
    root = bench.project.root
    every = {name: value for name, value in _read(root).items() if name in bench.project.flows and name != flow}
    if positions:
        every[flow] = positions
    target = root / POSITIONS
    if not every:
        target.unlink(missing_ok=True)
        return
    text = json.dumps(dict(sorted(every.items())), indent=2) + "\n"
    if len(text.encode()) > LARGEST:
        raise Refused(413, f"{POSITIONS} would have more than {LARGEST:,} bytes.")
    handle, name = tempfile.mkstemp(dir=root, prefix=".motia-workbench-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.chmod(name, 0o644)  # as an editor would write it
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


ROUTES = {
    "flows": {"GET": get_whole},
    "flows/{flow}": {"GET": get_flow},
    "flows/{flow}/positions": {"PUT": put_positions},
}
