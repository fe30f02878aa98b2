"""A drawing as Graphviz DOT. Looks are decided here: one shape and one hue per kind, on a light ground of its own.

User text enters DOT only through `_html`, inside HTML-like labels, and ids only through `_id`: the `graphviz` package quotes, but takes
backslashes, `<...>` and the `:` of an edge's end as they come. No attribute that Graphviz follows (URL, href, image, tooltip) is ever written.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from motia_generator.drawing import LINE_LIMIT, NAME_LIMIT, Arrow, Box, BoxKind, Drawing, shown

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica"
FACE = f"fontname={FONT}"  # as it stands in the DOT; `render` gives SVG another measure
INK, MUTED, EDGE = "#0f172a", "#64748b", "#64748b"


class Look(msgspec.Struct, frozen=True):
    """How a kind is drawn. `style` is Graphviz's."""

    shape: str
    style: str
    fill: str
    border: str
    text: str  # colour of the kind line
    margin: str = "0.16,0.09"  # inches around the label


LOOKS: dict[BoxKind, Look] = {
    "api": Look("cds", "filled", "#e3eeff", "#2563eb", "#1d4ed8", "0.12,0.17"),
    "event": Look("box", "filled,rounded", "#e4f9ed", "#16a34a", "#15803d"),
    "cron": Look("hexagon", "filled", "#fff3d6", "#d97706", "#b45309", "0,0"),
    "noop": Look("note", "filled,dashed", "#f4f4f5", "#71717a", "#52525b"),
    "topic": Look("box", "filled,rounded,dashed", "#ffffff", "#94a3b8", "#64748b", "0.12,0.05"),
    "state": Look("cylinder", "filled", "#f1ecff", "#7c3aed", "#6d28d9", "0.14,0.08"),
    "stream": Look("parallelogram", "filled", "#defafd", "#0891b2", "#0e7490", "0,0"),
}
OUTSIDE = Look("box", "filled,rounded,dashed", "#fafafa", "#a1a1aa", "#71717a")
ARROWS = {
    "event": {"color": EDGE},
    "virtual": {"color": "#a1a1aa", "fontcolor": "#8b8b94", "style": "dotted", "arrowhead": "vee"},
    "state": {"color": "#a78bfa", "fontcolor": "#6d28d9", "penwidth": "1"},
    "stream": {"color": "#22b8cf", "fontcolor": "#0e7490", "penwidth": "1"},
}
BADGES = {"TS": ("#3178c6", "#ffffff"), "JS": ("#f7df1e", "#1f2937")}

GRAPH = {
    "rankdir": "LR", "bgcolor": "#fbfcfe", "pad": "0.3", "nodesep": "0.35", "ranksep": "0.65", "splines": "spline",
    "fontname": FONT, "labelloc": "t", "labeljust": "l",
}  # fmt: skip
NODE = {"fontname": FONT, "fontsize": "13", "fontcolor": INK, "penwidth": "1.5"}
LINE = {"fontname": FONT, "fontsize": "10", "fontcolor": "#475569", "penwidth": "1.3", "arrowsize": "0.75"}
FRAME = {"style": "filled,rounded", "fillcolor": "#f3f6fb", "color": "#d5deea", "penwidth": "1", "margin": "18"}


def to_dot(drawing: Drawing) -> str:
    """The drawing as one DOT graph. The same drawing gives the same text."""
    from graphviz import Digraph  # only who draws pays for it

    boxes = {box.id: box for box in drawing.boxes}
    grouped = {key for group in drawing.groups for key in group.boxes}
    rows = [_text(drawing.title, 80, 20, INK, "B")]
    if drawing.subtitle:
        rows.append(_text(drawing.subtitle, 120, 11, MUTED))
    graph = Digraph(graph_attr=GRAPH | {"label": _table(rows, below=14)}, node_attr=NODE, edge_attr=LINE)
    # All backwards: rankdir=LR stacks from the bottom up, and what comes first belongs on top.
    for box in reversed(drawing.boxes):
        if box.id not in grouped:
            _node(graph, box)
    for index, group in reversed([*enumerate(drawing.groups)]):
        rows = [_text(group.name, NAME_LIMIT, 12, "#334155", "B")]
        if group.description:
            rows.append(_text(group.description, LINE_LIMIT, 10, MUTED))
        frame = Digraph(f"cluster_{index}", graph_attr=FRAME | {"label": _table(rows, below=6)})
        for key in reversed(group.boxes):
            _node(frame, boxes[key])
        graph.subgraph(frame)
    for arrow in drawing.arrows:
        _edge(graph, arrow, boxes)
    return str(graph.source)


def _node(graph: Digraph, box: Box) -> None:
    look = OUTSIDE if box.outside else LOOKS[box.kind]
    step = box.kind in ("api", "event", "cron", "noop")
    name = _text(box.name, NAME_LIMIT, 13, INK, "B") if step else _text(box.name, NAME_LIMIT, 12, INK)
    rows = [name, _text(box.line, LINE_LIMIT, 10, look.text)]
    label = _table(rows, badge=box.badge, right=8 if look.shape == "cds" else 0)
    attributes = {"class": box.kind, "fillcolor": look.fill, "color": look.border, "margin": look.margin}
    graph.node(_id(box.id), label, shape=look.shape, style=look.style, **attributes)


def _edge(graph: Digraph, arrow: Arrow, boxes: dict[str, Box]) -> None:
    source, target = boxes[arrow.source], boxes[arrow.target]
    looks = {"class": arrow.kind, **ARROWS[arrow.kind]}
    if arrow.conditional:
        looks["style"] = "dashed"
    if arrow.kind in ("state", "stream") and target.kind == arrow.kind:
        looks["arrowhead"] = "none"  # a step uses it, both ways; the other way round, its changes start the step
    if LOOKS[source.kind].shape == "cds" and not source.outside:
        looks["tailport"] = "e"  # from the tip: Graphviz clips other lines at this shape's frame, not at its outline
    external = "topic" in (source.kind, target.kind)
    rows = []
    for topic, label in arrow.labels:
        if topic and not external and arrow.kind in ("event", "virtual"):  # a topic drawn as a box has its name there
            rows.append(_text(topic, NAME_LIMIT, 10))
        if label:
            rows.append(_text(label, NAME_LIMIT, 10, "#b45309", "I"))
    if rows:
        looks["label"] = _table(rows, align="CENTER", below=4)
    graph.edge(_id(arrow.source), _id(arrow.target), **looks)


def _table(rows: list[tuple[str, str]], *, align: str = "LEFT", badge: str = "", right: int = 0, below: int = 0) -> str:
    """An HTML-like label: rows of markup made here, each with its least width. `right` and `below` are points of empty space."""
    span = f' COLSPAN="{1 + bool(badge)}"' if badge else ""
    parts = []
    for index, (markup, width) in enumerate(rows):
        mark = _badge(badge) if badge and index == 0 else ""
        parts.append(f'<TR><TD ALIGN="{align}"{width}{"" if mark or not span else span}>{markup}</TD>{mark}</TR>')
    if below:
        parts.append(f'<TR><TD HEIGHT="{below}"></TD></TR>')
    inner = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{"".join(parts)}</TABLE>'
    if right:
        inner = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR><TD>{inner}</TD><TD WIDTH="{right}"></TD></TR></TABLE>'
    return f"<{inner}>"


def _badge(badge: str) -> str:
    ground, ink = BADGES[badge]
    cell = f'<TD STYLE="ROUNDED" BGCOLOR="{ground}"><FONT POINT-SIZE="8" COLOR="{ink}"><B> {badge} </B></FONT></TD>'
    return f'<TD ALIGN="RIGHT"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="2"><TR>{cell}</TR></TABLE></TD>'


def _text(text: str, limit: int, size: int, colour: str = "", tag: str = "") -> tuple[str, str]:
    """A row of text as markup, and its least width as an attribute: Graphviz has no measures for most letters and takes them for narrow ones."""
    text = shown(text, limit)
    markup = f"<{tag}>{_html(text)}</{tag}>" if tag else _html(text)
    ink = f' COLOR="{colour}"' if colour else ""
    wide = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)
    return (
        f'<FONT POINT-SIZE="{size}"{ink}>{markup}</FONT>',
        "" if text.isascii() else f' WIDTH="{round(wide * size)}"',
    )


def _html(text: str) -> str:
    """Text for an HTML-like label: numeric references for everything that could mean something. Graphviz reads backslash escapes (`\\N`)
    even there, and after the references, so a backslash is written twice."""
    return "".join(c if c.isalnum() or c in " .,_-/:…" else "&#92;&#92;" if c == "\\" else f"&#{ord(c)};" for c in text)


def _id(id: str) -> str:
    """A DOT id, one to one: "step:NAME" is `step/NAME`, what is not a plain letter, digit or one of `_.-~` percent-encoded. No colon,
    which would begin a port."""
    kind, _, name = id.partition(":")
    return f"{kind}/{quote(name, safe='', errors='surrogatepass')}"
