"""What a diagram shows, before any format: boxes, arrows, groups. Pure; `diagram` writes it as DOT, Mermaid and JSON.

Texts here are still the user's own words. Each format escapes them itself, with `shown` as the common first step.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec

from motia_spec.durations import spell
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, Flow, NoopStep, Project

if TYPE_CHECKING:
    from motia_spec.graph import Edge, Graph

BoxKind = Literal["api", "event", "cron", "noop", "topic", "state", "stream"]
ArrowKind = Literal["event", "virtual", "state", "stream"]
LANGUAGES = {
    ".ts": "TS",
    ".mts": "TS",
    ".js": "JS",
    ".mjs": "JS",
    ".cjs": "JS",
}  # Python, the common case, has no badge
NAME_LIMIT = 48  # characters
LINE_LIMIT = 56  # characters
_PRINTED = {"Cc": " ", "Cf": "", "Cs": " ", "Zl": " ", "Zp": " "}  # by Unicode category; all others as they are


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `line` is the small second line: what starts the step, or what the node is."""

    id: str
    kind: BoxKind
    name: str
    line: str = ""
    badge: str = ""
    outside: bool = False  # belongs to another flow than the one that is drawn


class Arrow(msgspec.Struct, frozen=True, kw_only=True):
    """One line between two boxes: all edges of the same look between the same two, so that pictures stay readable."""

    source: str
    target: str
    kind: ArrowKind
    conditional: bool
    labels: tuple[tuple[str, str], ...]  # (topic, the user's label), without repetition


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A flow, drawn as a frame around its boxes."""

    name: str
    description: str
    boxes: tuple[str, ...]


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    subtitle: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    groups: tuple[Group, ...]


class NoSuchFlow(LookupError):
    """The project has no flow of that name. The message lists those it has."""

    def __init__(self, name: str, names: Iterable[str]) -> None:
        known = ", ".join(sorted(names)) or "none"
        super().__init__(f"no flow named {name!r}; flows: {known}")


def draw(project: Project, graph: Graph, *, flow: str | None = None) -> Drawing:
    """The whole project with its flows as groups, or one flow with the neighbours its events come from and go to.

    Raises `NoSuchFlow`.
    """
    if flow is not None and flow not in graph.flows:
        raise NoSuchFlow(flow, graph.flows)
    only = graph.flows[flow] if flow is not None else None
    inside = {f"step:{name}" for name in (only.steps if only else project.steps)}
    loose = [e for e in _loose_ends(project, graph.edges) if e.source in inside or e.target in inside]
    edges = [e for e in graph.edges if e.source in inside or e.target in inside] + loose
    ends = {end for e in edges for end in (e.source, e.target)}
    keys = [
        key for key in graph.nodes if key in inside or key in ends or (only is None and not key.startswith("step:"))
    ]
    keys += dict.fromkeys(end for e in loose for end in (e.source, e.target) if end not in graph.nodes)
    return Drawing(
        title=only.name if only else project.name,
        subtitle=only.description if only else project.description,
        boxes=tuple(_box(project, key, outside=only is not None and key not in inside) for key in keys),
        arrows=_arrows(edges),
        groups=() if only else tuple(_groups([f for f in graph.flows.values() if f.explicit], edges, keys)),
    )


def _loose_ends(project: Project, edges: Iterable[Edge]) -> Iterable[Edge]:
    """Virtual topics that lead to no step or come from none: the graph leaves them out, the picture is what they are for."""
    from motia_spec.graph import Edge  # with the graph, not before

    sent = {(e.source, e.topic) for e in edges}
    received = {(e.target, e.topic) for e in edges}
    for step in project.steps.values():
        own = f"step:{step.name}"
        for emit in step.virtual_emits:
            if (own, emit.topic) not in sent:
                yield Edge(own, f"topic:{emit.topic}", "virtual", emit.topic, emit.label, emit.conditional)
        for topic in step.virtual_subscribes:
            if (own, topic) not in received:
                yield Edge(f"topic:{topic}", own, "virtual", topic)


def _box(project: Project, id: str, *, outside: bool) -> Box:
    part, _, name = id.partition(":")
    if part == "step":
        step = project.steps[name]
        kind: BoxKind = step.__struct_config__.tag  # type: ignore[assignment]  # the four tags are four of the kinds
        return Box(id=id, kind=kind, name=name, line=kind_line(step), badge=language(step), outside=outside)
    if part == "topic":
        topic = project.topics.get(name)
        line = {"in": "from outside", "out": "to outside"}.get((topic and topic.external) or "", "virtual")
        return Box(id=id, kind="topic", name=name, line=line)
    if part == "state":
        return Box(id=id, kind="state", name=name, line="state")
    return Box(id=id, kind="stream", name=name, line="stream")


def kind_line(step: AnyStep) -> str:
    """What starts the step, in a few words: "POST /orders", "cron 0 2 * * *", "event, after 5s"."""
    match step:
        case ApiStep():
            return f"{'|'.join(step.methods)} {step.path}"
        case CronStep():
            return f"cron {step.cron}" + ("" if step.timezone == "UTC" else f", {step.timezone}")
        case EventStep():
            sources = [f"on {s.kind} {s.name}" for s in step.subscribes if s.kind != "topic"]
            return ", ".join(sources or ["event"]) + (f", after {spell(step.delay)}" if step.delay else "")
        case NoopStep(manual=None):
            return "noop"
        case NoopStep(manual=manual):
            return "by hand" + (f", within {spell(manual.timeout)}" if manual and manual.timeout else "")


def language(step: AnyStep) -> str:
    """ "TS" or "JS" for steps in those languages, else ""."""
    return "" if isinstance(step, NoopStep) else LANGUAGES.get(PurePosixPath(step.handler.path).suffix, "")


def _arrows(edges: list[Edge]) -> tuple[Arrow, ...]:
    merged: dict[tuple[str, str, ArrowKind, bool], dict[tuple[str, str], None]] = {}
    for e in edges:
        labels = merged.setdefault((e.source, e.target, e.kind, e.conditional), {})
        if e.topic or e.label:
            labels[(e.topic, e.label)] = None
    return tuple(
        Arrow(source=source, target=target, kind=kind, conditional=conditional, labels=tuple(labels))
        for (source, target, kind, conditional), labels in merged.items()
    )


def _groups(flows: list[Flow], edges: list[Edge], keys: list[str]) -> Iterable[Group]:
    """The flows that the spec names. A step of several flows stands in the first; a topic, group or stream that only one flow touches stands in that one."""
    home: dict[str, str] = {}
    for flow in flows:
        for name in flow.steps:
            home.setdefault(f"step:{name}", flow.name)
    touched: dict[str, set[str]] = {}
    for e in edges:
        for here, there in ((e.source, e.target), (e.target, e.source)):
            if not here.startswith("step:"):
                touched.setdefault(here, set()).add(home.get(there, ""))
    home |= {key: min(names) for key, names in touched.items() if len(names) == 1 and "" not in names}
    for flow in flows:
        boxes = tuple(key for key in keys if home.get(key) == flow.name)
        if boxes:
            yield Group(name=flow.name, description=flow.description, boxes=boxes)


def shown(text: str, limit: int) -> str:
    """One line that prints: controls, line ends and what XML can't hold become spaces, invisible formatting (bidi overrides among
    it) goes, spaces are joined, and what is longer than `limit` characters ends in an ellipsis. Never empty."""
    line = (
        " ".join("".join(_PRINTED.get(unicodedata.category(c), c) for c in text if c not in "\ufffe\uffff").split())
        or "?"
    )
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
