"""The overview of an app: what it consists of, on one page, with its flows drawn. Rendered here; a script only keeps due times current.

Markup is made by `_tag` and `_join` alone, which escape every text, so that no name or description becomes an element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

import msgspec

from motia_runtime.http.openapi import operation_ids
from motia_spec.cron import parse
from motia_spec.durations import spell
from motia_spec.model import ApiStep, CronStep, EventStep, NoopStep, Project

AHEAD = 30 * 86400.0  # seconds that the next runs of a schedule are worked out for
DUE_LISTED = 60  # of them at most, for a page that stays open; 5 ms
DUE_IN_ALL = 600  # of all schedules together
DUE_SHOWN = 3  # as in overview.js
COMMANDS = (
    ("motia trace ls", "the newest runs"),
    ("motia trace show ID", "a trace as a tree, with durations, logs and errors"),
    ("motia dlq ls", "events that no attempt could handle"),
    ("motia dlq redrive ID", "give one of them back to its step"),
    ("motia state ls GROUP", "what a state group holds"),
    ("motia emit TOPIC JSON", "an event by hand"),
    ("motia check", "everything that is wrong with the spec"),
    ("motia graph -o flows.svg", "the diagrams, as files"),
)


class Picture(msgspec.Struct, frozen=True):
    """Where the diagram of a flow is, relative to the site's root, and how wide to show it at most."""

    address: str
    width: int | None = None  # CSS pixels; None: as wide as it says itself


class Markup(str):
    """HTML that is complete and safe as it is."""

    __slots__ = ()


def _tag(name: str, *children: str | None, **attributes: str | None) -> Markup:
    """One element. Children that are not Markup are text; attributes that are None are left out, `cls` is class, `_` in names is `-`."""
    written = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{_join(*children)}</{name}>")


def _join(*children: str | None) -> Markup:
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children if c is not None))


def overview(project: Project, pictures: Mapping[str, Picture], now: float) -> str:
    """The page. `pictures`: by flow; `now`: seconds since the epoch."""
    body = _join(
        _header(project),
        _counts(project),
        _flows(project, pictures),
        _endpoints(project),
        _events(project),
        _schedules(project, now),
        _noops(project),
        _topics(project),
        _data(project),
        _commands(),
    )
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(project.name)}</title>\n"
        '<link rel="icon" href="data:,">\n<link rel="stylesheet" href="schema/style.css">\n'
        '<script type="module" src="__workbench/overview.js"></script>\n</head>\n'
    )
    return f'{head}<body><div class="page">{body}</div></body>\n</html>\n'


def _header(project: Project) -> Markup:
    who = _tag("div", _tag("h1", project.name), _tag("p", project.description, cls="muted"), cls="who")
    links = _tag(
        "nav", _tag("a", "API", href="schema"), _tag("a", "openapi.json", href="schema/openapi.json"), cls="links"
    )
    return _tag("header", who, links, cls="top")


def _counts(project: Project) -> Markup:
    steps = list(project.steps.values())
    shown = (
        ("endpoints", "endpoint", "endpoints", "api", sum(isinstance(s, ApiStep) for s in steps)),
        ("events", "event step", "event steps", "event", sum(isinstance(s, EventStep) for s in steps)),
        ("schedules", "schedule", "schedules", "cron", sum(isinstance(s, CronStep) for s in steps)),
        ("noops", "noop step", "noop steps", "noop", sum(isinstance(s, NoopStep) for s in steps)),
        ("topics", "topic", "topics", "topic", len(project.topics)),
        ("state", "state group", "state groups", "state", len(project.state)),
        ("streams", "live stream", "live streams", "stream", len(project.streams)),
    )
    return _tag(
        "div",
        *(
            _tag("a", _tag("b", str(n)), one if n == 1 else many, href=f"#{anchor}", cls=f"panel {kind}-kind")
            for anchor, one, many, kind, n in shown
            if n
        ),
        cls="counts",
    )


def _flows(project: Project, pictures: Mapping[str, Picture]) -> Markup:
    drawn = []
    for flow in project.flows.values():
        picture = pictures.get(flow.name)
        if picture is None:
            continue
        size = f' width="{picture.width}"' if picture.width else ""
        text = escape(f"Diagram of the flow {flow.name}")  # its title is in it
        image = Markup(f'<img src="{escape(picture.address)}" alt="{text}"{size}>')
        drawn.append(_tag("a", image, href=picture.address, cls="panel flow"))
    return _tag("section", *drawn, cls="block", id="flows") if drawn else Markup("")


def _endpoints(project: Project) -> Markup:
    ids = operation_ids(project)
    rows = [
        (
            _tag("span", method, cls=f"method {method.lower()}" if method.isalpha() else "method"),
            _tag("a", step.path, href=f"schema#{quote(ids[step.name, method], safe='', errors='replace')}", cls="path"),
            _named(step.name, step.description),
            _chips(emit.topic for emit in step.emits),
        )
        for step in project.steps.values()
        if isinstance(step, ApiStep)
        for method in step.methods
    ]
    return _table("endpoints", "Endpoints", ("", "Path", "Step", "Emits"), rows)


def _events(project: Project) -> Markup:
    rows = [
        (
            _named(step.name, step.description),
            _chips(s.name if s.kind == "topic" else f"{s.kind} {s.name}" for s in step.subscribes),
            _chips(emit.topic for emit in step.emits),
            f"{step.retry.attempts}, {step.retry.backoff} from {spell(step.retry.delay)}",
            _tag("code", step.handler.path),
        )
        for step in project.steps.values()
        if isinstance(step, EventStep)
    ]
    return _table("events", "Event steps", ("Step", "On", "Emits", "Attempts", "Handler"), rows)


def _schedules(project: Project, now: float) -> Markup:
    steps = [step for step in project.steps.values() if isinstance(step, CronStep)]
    most = max(DUE_SHOWN, min(DUE_LISTED, DUE_IN_ALL // max(1, len(steps))))
    rows = [
        (
            _named(step.name, step.description),
            _join(_tag("code", step.cron), _tag("span", step.timezone, cls="says")),
            _due(step, now, most),
            _chips(emit.topic for emit in step.emits),
        )
        for step in steps
    ]
    return _table("schedules", "Schedules", ("Step", "Cron", "Next runs", "Emits"), rows)


def _due(step: CronStep, now: float, most: int) -> Markup:
    """The next times in UTC, and as of when they are the next. The script puts in their place, by the reader's clock, those that are next
    while the page is read, from up to `most`, and says so when none is left."""
    schedule = parse(step.cron, step.timezone)
    times = schedule.between(now, now + AHEAD, most)
    if len(times) < DUE_SHOWN:
        times = schedule.between(now, now + 50 * 366 * 86400, DUE_SHOWN)
    if not times:
        return _tag("span", "never", cls="muted")
    lines = [_tag("div", _utc(t)) for t in times[:DUE_SHOWN]]
    as_of = _tag("div", f"as of {_utc(now)}", cls="muted small")
    return _tag("div", *lines, as_of, data_due=" ".join(str(round(t)) for t in times))


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _noops(project: Project) -> Markup:
    rows = [
        (
            _named(step.name, step.description),
            _chips(s.name for s in step.subscribes),
            _chips(emit.topic for emit in (*step.emits, *step.virtual_emits)),
        )
        for step in project.steps.values()
        if isinstance(step, NoopStep)
    ]
    return _table("noops", "People and outside systems", ("Step", "On", "Emits"), rows)


def _topics(project: Project) -> Markup:
    emitters: dict[str, list[str]] = {}
    subscribers: dict[str, list[str]] = {}
    for step in project.steps.values():
        for emit in step.emits:
            emitters.setdefault(emit.topic, []).append(step.name)
        if isinstance(step, EventStep | NoopStep):
            for subscription in step.subscribes:
                if subscription.kind == "topic":
                    subscribers.setdefault(subscription.name, []).append(step.name)
    rows = [
        (
            _named(topic.name, topic.description),
            _chips(emitters.get(topic.name, ()), "outside" if topic.external == "in" else None),
            _chips(subscribers.get(topic.name, ()), "outside" if topic.external == "out" else None),
        )
        for topic in project.topics.values()
    ]
    return _table("topics", "Topics", ("Topic", "From", "To"), rows)


def _data(project: Project) -> Markup:
    def users(name: str, streams: bool) -> list[str]:
        return [s.name for s in project.steps.values() if name in (s.uses_streams if streams else s.uses_state)]

    def kept(ttl: float | None) -> str:
        return f"for {spell(ttl)}" if ttl else "until deleted"

    groups = [
        (
            _named(group.name, group.description),
            _chips(users(group.name, False)),
            kept(group.ttl) + (f", {group.history} revisions" if group.history > 1 else ""),
        )
        for group in project.state.values()
    ]
    streams = [
        (_named(stream.name, stream.description), _chips(users(stream.name, True)), kept(stream.ttl))
        for stream in project.streams.values()
    ]
    return _join(
        _table("state", "State groups", ("Group", "Used by", "Kept"), groups),
        _table("streams", "Live streams", ("Stream", "Used by", "Kept"), streams),
    )


def _commands() -> Markup:
    lines = [_tag("div", _tag("code", command), _tag("span", what, cls="muted small")) for command, what in COMMANDS]
    head = _tag("h2", "In the terminal")
    return _tag("section", head, _tag("div", *lines, cls="panel commands"), cls="block", id="commands")


def _table(id: str, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Markup:
    """A section with a table; nothing when there are no rows."""
    if not rows:
        return Markup("")
    head = _tag("thead", _tag("tr", *(_tag("th", column, scope="col") for column in columns)))
    body = _tag("tbody", *(_tag("tr", *(_tag("td", cell) for cell in row)) for row in rows))
    table = _tag("div", _tag("table", head, body), cls="panel scroll")
    return _tag("section", _tag("h2", title), table, cls="block", id=id)


def _named(name: str, description: str) -> Markup:
    return _join(_tag("b", name), _tag("span", description, cls="says") if description else None)


def _chips(names: Iterable[str], last: str | None = None) -> Markup:
    chips = [_tag("span", name, cls="chip mono") for name in dict.fromkeys(names)]
    return _join(*chips, _tag("span", last, cls="chip") if last else None)
