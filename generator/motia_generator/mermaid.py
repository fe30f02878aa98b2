"""A drawing as a Mermaid flowchart, as GitHub and many editors show it.

User text enters only through `_text`, which leaves letters and digits and turns the rest into Mermaid's numeric entities;
ids only through `_ids`. No directive, click or image of Mermaid can be written that way.
"""

from __future__ import annotations

import re

from motia_generator.dot import LOOKS, OUTSIDE, Look
from motia_generator.drawing import LINE_LIMIT, NAME_LIMIT, Arrow, Box, Drawing, shown

BRACKETS = {
    "api": ("[[", "]]"),
    "event": ("(", ")"),
    "cron": ("{{", "}}"),
    "noop": ("[", "]"),
    "topic": ("([", "])"),
    "state": ("[(", ")]"),
    "stream": ("[/", "/]"),
}


def to_mermaid(drawing: Drawing) -> str:
    """The drawing as `flowchart LR`. The same drawing gives the same text."""
    ids = _ids(drawing)
    boxes = {box.id: box for box in drawing.boxes}
    grouped = {key for group in drawing.groups for key in group.boxes}
    lines = ["---", f"title: {_quoted(drawing.title)}", "---", "flowchart LR"]
    for index, group in enumerate(drawing.groups):
        lines.append(f'  subgraph flow_{index}["{_text(group.name, NAME_LIMIT)}"]')
        lines += [f"    {_node(ids, boxes[key])}" for key in group.boxes]
        lines.append("  end")
        lines.append(f"  style flow_{index} fill:#f3f6fb,stroke:#d5deea,color:#334155")
    lines += [f"  {_node(ids, box)}" for box in drawing.boxes if box.id not in grouped]
    for index, arrow in enumerate(drawing.arrows):
        lines.append(f"  {_edge(ids, boxes, arrow)}")
        if arrow.kind == "virtual":
            lines.append(f"  linkStyle {index} stroke:#a1a1aa,stroke-dasharray:2 4")
    used = {_class(box) for box in drawing.boxes}
    looks: list[tuple[str, Look]] = [*LOOKS.items(), ("outside", OUTSIDE)]
    for kind, look in looks:
        if kind in used:
            dashes = ",stroke-dasharray:5 3" if "dashed" in look.style else ""
            lines.append(f"  classDef {kind} fill:{look.fill},stroke:{look.border},color:#0f172a{dashes}")
    return "\n".join(lines) + "\n"


def _class(box: Box) -> str:
    return "outside" if box.outside else box.kind


def _node(ids: dict[str, str], box: Box) -> str:
    left, right = BRACKETS[box.kind]
    line = " ".join(part for part in (box.line, box.badge and f"({box.badge})") if part)
    small = f"<br/><small>{_text(line, LINE_LIMIT)}</small>" if line else ""
    return f'{ids[box.id]}{left}"<b>{_text(box.name, NAME_LIMIT)}</b>{small}"{right}:::{_class(box)}'


def _edge(ids: dict[str, str], boxes: dict[str, Box], arrow: Arrow) -> str:
    external = "topic" in (boxes[arrow.source].kind, boxes[arrow.target].kind)
    parts = []
    for topic, label in arrow.labels:
        if topic and not external and arrow.kind in ("event", "virtual"):
            parts.append(_text(topic, NAME_LIMIT))
        if label:
            parts.append(f"<i>{_text(label, NAME_LIMIT)}</i>")
    if arrow.conditional or arrow.kind == "virtual":
        line = "-.->"
    else:
        line = "---" if boxes[arrow.target].kind in ("state", "stream") else "-->"
    text = f'|"{"<br/>".join(parts)}"|' if parts else ""
    return f"{ids[arrow.source]} {line}{text} {ids[arrow.target]}"


def _ids(drawing: Drawing) -> dict[str, str]:
    """Readable ids: "step:CreateOrder" is `step_CreateOrder`; those that would coincide get a number."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for box in drawing.boxes:
        plain = re.sub(r"[^A-Za-z0-9]", "_", box.id)[:64]
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name)
        given[box.id] = name
    return given


def _text(text: str, limit: int) -> str:
    line = shown(text, limit)
    head = line[0] if line[0].isalpha() else f"#{ord(line[0])};"  # "1. x" and "- x" would be lists in Markdown
    return head + "".join(c if c.isalnum() or c in " .,_-/…" else f"#{ord(c)};" for c in line[1:])


def _quoted(text: str) -> str:
    """A YAML string for the front matter, with all but letters, digits and spaces escaped: Mermaid looks for directives everywhere."""
    plain = shown(text, 80)
    return '"' + "".join(c if c.isalnum() or c == " " else _escape(c) for c in plain) + '"'


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
