"""`motia_types/types.d.ts`: `declare module "motia"` with `Handlers`, the shapes of the app's data, and what handlers are given.

The file is a script, without import or export of its own: so it is the module "motia" whole, whether or not a package of that name is
installed. A pure function of the project, like `package.generate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from motia_generator.names import CLASS_RESERVED, Scope, class_name
from motia_generator.typescript.schema_types import SchemaTypes
from motia_generator.typescript.text import ANY, INDENT, Type, after, array, comment, key, members, name, quote, union
from motia_spec.model import AnyStep, ApiStep, EventStep, Handler, NoopStep, Project
from motia_spec.stamp import SCRIPT_HEADER

_LIBRARY = files("motia_generator.typescript").joinpath("library.d.ts").read_text("utf-8")
_RESERVED = frozenset(
    word
    for line in _LIBRARY.splitlines()
    for word in [line.removeprefix("  export ").partition(" ")[2].partition("<")[0].partition(" ")[0]]
    if line.startswith("  export ")
) | {
    "Exactly",
    "Required",
    "Pick",
    "FlowContextStateStreams",
    "Array",
    "Promise",
    "Record",
    "String",
    "Number",
    "Boolean",
    "Object",
    "Symbol",
}
_BODILESS = (204, 205, 304)


def wanted(project: Project) -> bool:
    """Has the app a handler in TypeScript or JavaScript?"""
    return any(handler.language == "node" for handler in handlers(project))


def handlers(project: Project) -> Iterable[Handler]:
    """Every function that the spec names."""
    for step in project.steps.values():
        if not isinstance(step, NoopStep):
            yield step.handler
        if isinstance(step, ApiStep):
            yield from step.middleware
        if isinstance(step, EventStep) and step.condition:
            yield step.condition
    yield from (stream.access for stream in project.streams.values() if stream.access)
    if project.server.stream_auth:
        yield project.server.stream_auth


def declarations(project: Project) -> str:
    """The text of the file."""
    app = _App(project)
    entries = [(key(step.name), app.handler(step), step.description) for step in app.steps]
    streams = [
        (key(s.name), app.generic("MotiaStream", app.stream(s.name)), s.description) for s in project.streams.values()
    ]
    blocks = [
        "\n".join(
            [*_indented(comment(doc)), f"{INDENT}export type {alias} ={after(found.render(INDENT, len(alias) + 16))};"]
        )
        for alias, (doc, found) in app.types.aliases.items()
    ]
    blocks += [
        _interface("FlowContextStateStreams", "The app's streams.", streams),
        _interface("Handlers", "What each step's handler is, by the name of the step.", entries),
    ]
    title = comment([f"Types of {project.name}.", project.description])
    return "\n".join(
        [
            SCRIPT_HEADER,
            "/* eslint-disable */",
            *title,
            'declare module "motia" {',
            _LIBRARY.rstrip("\n"),
            "",
            "\n\n".join(blocks),
            "}",
            "",
        ]
    )


class _App:
    """The types of one app's steps. Lives as long as one generation."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.types = SchemaTypes(project, Scope(CLASS_RESERVED | _RESERVED))
        self.steps = [step for step in project.steps.values() if not isinstance(step, NoopStep)]
        for topic in project.topics.values():
            self.topic(topic.name)
        for group in project.state.values():
            self.state(group.name)
        for stream in project.streams.values():
            self.stream(stream.name)

    def topic(self, topic: str) -> Type:
        """What may be emitted to it."""
        found = self._project.topics.get(topic)
        return self.types.site(found.schema, f"{class_name(topic)}Data") if found else ANY

    def event(self, topic: str) -> Type:
        """What comes of it."""
        found = self._project.topics.get(topic)
        return self.types.given(found.schema, f"{class_name(topic)}Data") if found else ANY

    def state(self, group: str) -> Type:
        found = self._project.state.get(group)
        return self.types.site(found.schema, f"{class_name(group)}Value") if found else ANY

    def stream(self, stream: str) -> Type:
        found = self._project.streams.get(stream)
        return self.types.site(found.schema, f"{class_name(stream)}Item") if found else ANY

    def generic(self, head: str, *arguments: Type) -> Type:
        """`Head<A, B>`, each argument on one line."""
        return name(f"{head}<{', '.join(a.flat() for a in arguments)}>")

    def handler(self, step: AnyStep) -> Type:
        emits = union(
            members([("topic", name(quote(t)), ()), ("data", self.topic(t), ())])
            for t in dict.fromkeys(e.topic for e in step.emits)
        )
        sees = self._sees(step)
        if isinstance(step, ApiStep):
            export = class_name(step.name)
            path = [(key(p), name("string"), ()) for p in dict.fromkeys(step.path_params)]
            query = self.types.query(step.query) if step.query else name("Record<string, any>")
            arguments = [
                self.types.given(step.body, f"{export}Body"),
                self._responses(step, export),
                emits,
                members(path) if path else name("Record<string, string>"),
                query,
            ]
            return _applied("ApiRouteHandler", [*arguments, *sees])
        if isinstance(step, EventStep):
            return _applied("EventHandler", [self._input(step), emits, *sees])
        return _applied("CronHandler", [emits, *sees])

    def _responses(self, step: ApiStep, export: str) -> Type:
        found = []
        for status, schema in sorted(step.responses.items()):
            body = self.types.site(schema, f"{export}Response{status}")
            if status in _BODILESS and body is not ANY:
                body = union([body, name("undefined")])
            found.append(self.generic("ApiResponse", name(str(status)), body))
        return union(found) if found else name("ApiResponse")

    def _input(self, step: EventStep) -> Type:
        if step.join is not None:
            return members([(key(topic), self.event(topic), ()) for topic in step.join.topics])
        one = []
        for subscription in step.subscribes:
            if subscription.kind == "topic":
                one.append(self.event(subscription.name))
            elif subscription.kind == "state":
                one.append(self.generic("StateChange", self.state(subscription.name)))
            else:
                one.append(self.generic("StreamChange", self.stream(subscription.name)))
        found = union(one)
        return array(found) if step.batch is not None else found

    def _sees(self, step: AnyStep) -> list[Type]:
        """State and streams of a step's context; what the step does not restrict is left to the defaults."""
        groups = [(key(g), self.state(g), ()) for g in dict.fromkeys(step.uses_state)]
        streams = [(key(s), self.generic("MotiaStream", self.stream(s)), ()) for s in dict.fromkeys(step.uses_streams)]
        found = [self.generic("TypedState", members(groups)) if groups else name("State")]
        if streams:
            found.append(members(streams))
        return found if groups or streams else []


def _applied(head: str, arguments: list[Type]) -> Type:
    return Type(head, "generic", tuple(arguments))


def _interface(head: str, what: str, rows: list[tuple[str, Type, str]]) -> str:
    lines = [*_indented(comment([what])), f"{INDENT}export interface {head} {{"]
    inner = INDENT * 2
    for left, found, doc in rows:
        lines += comment([doc], inner)
        lines.append(f"{inner}{left}:{after(found.render(inner, len(inner) + len(left) + 2))};")
    return "\n".join([*lines, f"{INDENT}}}"])


def _indented(lines: list[str]) -> list[str]:
    return [INDENT + line for line in lines]
