"""Where the boxes and arrows of a drawing are, as Graphviz lays them out: for the Workbench, which draws them itself.

Graphviz gets sizes and ids made here, and no text of the user's.
"""

from __future__ import annotations

import subprocess
from typing import Any

from motia_generator.drawing import LINE_LIMIT, NAME_LIMIT, Arrow, Box, Drawing, shown
from motia_generator.render import RenderError, find_renderer

TIMEOUT = 60.0  # seconds
POINTS = 72.0  # to the inch; a point here is a CSS pixel there
STEP_HEIGHT, DATA_HEIGHT = 58, 40
NAME_WIDTH, LINE_WIDTH, LABEL_WIDTH = 8.6, 6.6, 6.3  # of a letter, in the Workbench's sizes
NARROW, WIDE = 150, 330  # of a step's box
SIDE = 62  # of it that is no text

STEPS = ("api", "event", "cron", "noop")


def layout(drawing: Drawing) -> dict[str, Any]:
    """Boxes with place and size, arrows with the points of their Bezier curves, in pixels from the upper left corner. The same drawing
    gives the same layout. Raises `RenderError`."""
    names = {box.id: f"n{number}" for number, box in enumerate(drawing.boxes)}
    sizes = {box.id: _size(box) for box in drawing.boxes}
    lines = [
        "digraph{graph[rankdir=LR nodesep=0.36 ranksep=0.55 splines=spline pad=0.1]",
        'node[shape=box fixedsize=true label=""] edge[arrowsize=0.7]',
    ]
    # backwards: rankdir=LR stacks from the bottom up, and what comes first belongs on top
    for box in reversed(drawing.boxes):
        width, height = sizes[box.id]
        lines.append(f"{names[box.id]}[width={width / POINTS:.4f} height={height / POINTS:.4f}]")
    labels = [_labels(arrow) for arrow in drawing.arrows]
    lines += [
        f"{names[a.source]}->{names[a.target]}[{_label(label)}{'' if _has_head(a) else ' dir=none'}]"
        for a, label in zip(drawing.arrows, labels, strict=True)
    ]
    places, curves, whole_width, whole_height = _run("\n".join([*lines, "}"]))
    boxes = [
        {
            "id": box.id,
            "kind": box.kind,
            "name": box.name,
            "line": shown(box.line, LINE_LIMIT),
            "badge": box.badge,
            "outside": box.outside,
            "x": round(places[names[box.id]][0] - sizes[box.id][0] / 2, 1),
            "y": round(places[names[box.id]][1] - sizes[box.id][1] / 2, 1),
            "width": sizes[box.id][0],
            "height": sizes[box.id][1],
        }
        for box in drawing.boxes
    ]
    arrows = [
        _arrow(arrow, label, *_next(curves, names[arrow.source], names[arrow.target]))
        for arrow, label in zip(drawing.arrows, labels, strict=True)
    ]
    return {"width": whole_width, "height": whole_height, "boxes": boxes, "arrows": arrows}


def _size(box: Box) -> tuple[int, int]:
    name, line = len(shown(box.name, NAME_LIMIT)) * NAME_WIDTH, len(shown(box.line, LINE_LIMIT)) * LINE_WIDTH
    width = round(min(WIDE, max(NARROW, max(name, line) + SIDE)))
    return width, STEP_HEIGHT if box.kind in STEPS else DATA_HEIGHT


def _labels(arrow: Arrow) -> list[str]:
    """The texts at an arrow: topics, and below each what its emit is labelled with."""
    texts = [text for pair in arrow.labels for text in pair if text]
    return [shown(text, NAME_LIMIT) for text in texts]


def _has_head(arrow: Arrow) -> bool:
    """What a step does with data is a line: it may read and write."""
    return arrow.kind not in ("state", "stream") or not arrow.target.startswith(arrow.kind)


def _label(texts: list[str]) -> str:
    if not texts:
        return ""
    width = round(max(len(text) for text in texts) * LABEL_WIDTH) + 14
    height = len(texts) * 15 + 6
    return f'label=<<TABLE BORDER="0" FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}"><TR><TD></TD></TR></TABLE>>'


Curve = tuple[list[list[float]], list[float] | None]


def _arrow(arrow: Arrow, texts: list[str], points: list[list[float]], at: list[float] | None) -> dict[str, Any]:
    return {
        "source": arrow.source,
        "target": arrow.target,
        "kind": arrow.kind,
        "conditional": arrow.conditional,
        "head": _has_head(arrow),
        "topics": [topic for topic, _ in arrow.labels if topic],
        "labels": [
            {"topic": shown(topic, NAME_LIMIT) if topic else "", "label": label} for topic, label in arrow.labels
        ],
        "points": points,
        "at": at if texts else None,
    }


def _next(curves: dict[tuple[str, str], list[Curve]], source: str, target: str) -> Curve:
    """Arrows between the same two boxes come in the order in which they were given."""
    return curves[source, target].pop(0)


def _run(dot: str) -> tuple[dict[str, tuple[float, float]], dict[tuple[str, str], list[Curve]], float, float]:
    program = find_renderer()
    try:
        done = subprocess.run(  # noqa: S603  # no shell; a fixed program
            [str(program), "-Tplain"], input=dot.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as fault:
        raise RenderError(f"{program.name} could not lay out the graph: {fault}") from fault
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RenderError(f"{program.name} could not lay out the graph: {said[-1] if said else 'it said nothing'}")
    return _read(done.stdout.decode())


def _read(text: str) -> tuple[dict[str, tuple[float, float]], dict[tuple[str, str], list[Curve]], float, float]:
    """Graphviz's `plain` format: https://graphviz.org/docs/outputs/plain/. Its y grows upwards, in inches."""
    places: dict[str, tuple[float, float]] = {}
    curves: dict[tuple[str, str], list[Curve]] = {}
    width = height = 0.0

    def point(x: str, y: str) -> list[float]:
        return [round(float(x) * POINTS, 1), round(height - float(y) * POINTS, 1)]

    for line in text.splitlines():
        parts = line.split()
        if parts[0] == "graph":
            width, height = float(parts[2]) * POINTS, float(parts[3]) * POINTS
        elif parts[0] == "node":
            x, y = point(parts[2], parts[3])
            places[parts[1]] = (x, y)
        elif parts[0] == "edge":
            count = int(parts[3])
            numbers = parts[4 : 4 + 2 * count]
            points = [point(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            rest = parts[4 + 2 * count :]  # label and its place, when there is one; then style and colour
            at = point(rest[1], rest[2]) if len(rest) == 5 else None
            curves.setdefault((parts[1], parts[2]), []).append((points, at))
    return places, curves, round(width, 1), round(height, 1)
