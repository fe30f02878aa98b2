"""A drawing as Graphviz DOT. Looks are decided here: one shape and one hue per kind, on a light ground of its own.

User text enters DOT only through `_html`, inside HTML-like labels, and ids only through `_id`. No attribute that Graphviz
follows (URL, href, image, tooltip) is ever written.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import msgspec

from motia_generator.drawing import LINE_LIMIT, NAME_LIMIT, Arrow, Box, BoxKind, Drawing, Group, shown

FACE = 'fontname="Helvetica"'  # `render` gives SVG another measure
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
    "event": f'color="{EDGE}"',
    "virtual": 'color="#a1a1aa", fontcolor="#8b8b94", style=dotted, arrowhead=vee',
    "state": 'color="#a78bfa", fontcolor="#6d28d9", penwidth=1',
    "stream": 'color="#22b8cf", fontcolor="#0e7490", penwidth=1',
}
BADGES = {"TS": ("#3178c6", "#ffffff"), "JS": ("#f7df1e", "#1f2937")}

HEAD = f"""\
digraph {{
  graph [rankdir=LR, bgcolor="#fbfcfe", pad=0.3, nodesep=0.35, ranksep=0.65, splines=spline, {FACE}, labelloc=t, labeljust=l]
  node [{FACE}, fontsize=13, fontcolor="{INK}", penwidth=1.5]
  edge [{FACE}, fontsize=10, fontcolor="#475569", penwidth=1.3, arrowsize=0.75]
"""


def to_dot(drawing: Drawing) -> str:
    """The drawing as one DOT graph. The same drawing gives the same text."""
    grouped = {key for group in drawing.groups for key in group.boxes}
    boxes = {box.id: box for box in drawing.boxes}
    loose = [f"  {_node(box)}\n" for box in drawing.boxes if box.id not in grouped]
    clusters = [_cluster(index, group, boxes) for index, group in enumerate(drawing.groups)]
    parts = [*clusters, *loose]
    parts.reverse()  # rankdir=LR stacks from the bottom up; the first flow belongs on top
    return "".join(
        [HEAD, f"  label={_title(drawing)}\n", *parts, *[f"  {_edge(a, boxes)}\n" for a in drawing.arrows], "}\n"]
    )


def _cluster(index: int, group: Group, boxes: dict[str, Box]) -> str:
    head = (
        f"  subgraph cluster_{index} {{\n"
        f'    graph [style="filled,rounded", fillcolor="#f3f6fb", color="#d5deea", penwidth=1, margin=18, label={_heading(group)}]\n'
    )
    return head + "".join(f"    {_node(boxes[key])}\n" for key in reversed(group.boxes)) + "  }\n"


def _title(drawing: Drawing) -> str:
    rows = [f'<FONT POINT-SIZE="20" COLOR="{INK}"><B>{_html(drawing.title, 80)}</B></FONT>']
    if drawing.subtitle:
        rows.append(f'<FONT POINT-SIZE="11" COLOR="{MUTED}">{_html(drawing.subtitle, 120)}</FONT>')
    return _table([(row, "") for row in rows], below=14)


def _heading(group: Group) -> str:
    rows = [f'<FONT POINT-SIZE="12" COLOR="#334155"><B>{_html(group.name, NAME_LIMIT)}</B></FONT>']
    if group.description:
        rows.append(f'<FONT POINT-SIZE="10" COLOR="{MUTED}">{_html(group.description, LINE_LIMIT)}</FONT>')
    return _table([(row, "") for row in rows], below=6)


def _node(box: Box) -> str:
    look = OUTSIDE if box.outside else LOOKS[box.kind]
    step = box.kind in ("api", "event", "cron", "noop")
    name = _html(box.name, NAME_LIMIT)
    name = f"<B>{name}</B>" if step else f'<FONT POINT-SIZE="12">{name}</FONT>'
    line = shown(box.line, LINE_LIMIT)
    rows = [
        (name, _width(shown(box.name, NAME_LIMIT), 13)),
        (f'<FONT POINT-SIZE="10" COLOR="{look.text}">{_html(line, LINE_LIMIT)}</FONT>', _width(line, 10)),
    ]
    label = _table(rows, badge=box.badge, right=8 if look.shape == "cds" else 0)
    return (
        f'{_id(box.id)} [class="{box.kind}", shape={look.shape}, style="{look.style}", fillcolor="{look.fill}", '
        f'color="{look.border}", margin="{look.margin}", label={label}]'
    )


def _edge(arrow: Arrow, boxes: dict[str, Box]) -> str:
    source, target = boxes[arrow.source], boxes[arrow.target]
    looks = [f'class="{arrow.kind}"', ARROWS[arrow.kind]]
    if arrow.conditional:
        looks.append("style=dashed")
    if arrow.kind in ("state", "stream") and target.kind == arrow.kind:
        looks.append("arrowhead=none")  # a step uses it, both ways; the other way round, its changes start the step
    if LOOKS[source.kind].shape == "cds" and not source.outside:
        looks.append(
            "tailport=e"
        )  # from the tip: Graphviz clips other lines at the frame of this shape, not at its outline
    external = "topic" in (source.kind, target.kind)
    rows = []
    for topic, label in arrow.labels:
        if topic and not external and arrow.kind in ("event", "virtual"):  # a topic drawn as a box has its name there
            rows.append((_html(topic, NAME_LIMIT), _width(shown(topic, NAME_LIMIT), 10)))
        if label:
            text = f'<FONT COLOR="#b45309"><I>{_html(label, NAME_LIMIT)}</I></FONT>'
            rows.append((text, _width(shown(label, NAME_LIMIT), 10)))
    if rows:
        looks.append(f"label={_table(rows, align='CENTER', below=4)}")
    return f"{_id(arrow.source)} -> {_id(arrow.target)} [{', '.join(looks)}]"


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


def _width(text: str, size: int) -> str:
    """A least width, in points, for text whose letters Graphviz has no measures for: it would take them for narrow ones."""
    if text.isascii():
        return ""
    wide = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)
    return f' WIDTH="{round(wide * size)}"'


def _html(text: str, limit: int) -> str:
    """Text for an HTML-like label: numeric references for everything that could mean something. Graphviz reads backslash escapes (`\\N`)
    even there, and after the references, so a backslash is written twice."""
    return "".join(
        c if c.isalnum() or c in " .,_-/:…" else "&#92;&#92;" if c == "\\" else f"&#{ord(c)};"
        for c in shown(text, limit)
    )


def _id(id: str) -> str:
    """A quoted DOT id, one to one: what is not a plain letter, digit or one of `_.-:` is percent-encoded."""
    return f'"{quote(id, safe=":", errors="surrogatepass")}"'
