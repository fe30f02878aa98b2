"""One module per step, `motia_types/steps/create_order.py`, seen by handlers as a namespace: `CreateOrder.Request`, `CreateOrder.Context`.

What the types stand for at run time: `Request` is the runtime's own request, `Context` its own context; only type checkers see the emits,
state and streams of the step. Response classes are real, handlers make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from motia_generator.module import module
from motia_generator.names import class_name
from motia_generator.schemas_module import Sites, typed_dict
from motia_generator.source import INDENT, WIDTH, Expr, assignment, columns, either, index, literal, text
from motia_generator.statuses import status_name
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, NoopStep, Project

WHEN = ("delay: float | None = None", "at: float | None = None", "key: str | None = None")
BODILESS = (204, 205, 304)


class StepNames(msgspec.Struct, frozen=True):
    """Names that the package has given to what a step uses."""

    export: str  # CreateOrder
    module: str  # create_order
    event: Expr  # of an event step: what it gets for one event or change
    state: str | None  # class in motia_types.groups; None: untyped
    streams: str | None
    events: dict[str, str]  # topic -> class in motia_types.events
    payloads: dict[str, Expr]  # topic -> type


def step_module(project: Project, step: AnyStep, names: StepNames, sites: Sites) -> str:
    blocks: list[str] = []
    if isinstance(step, ApiStep):
        blocks += _api(step, names, sites)
        first = "Request, "
        result = "Response"
    elif isinstance(step, EventStep):
        blocks += _event(step, names)
        first, result = "Input, ", "None"
    else:
        first, result = "", "None"
    blocks.append(_contexts(step, names))
    results = [("Context", f"Awaitable[{result}]"), ("SyncContext", result)]
    if isinstance(step, ApiStep) and step.idempotency is None:  # it may stream its answer
        results += [("Context", "AsyncIterator[handler.Piece]"), ("SyncContext", "Iterator[handler.Piece]")]
    kinds = [text(f"Callable[[{first}{context}], {gives}]") for context, gives in results]
    blocks.append(assignment("Handler", text("TypeAlias"), either(kinds)))
    body = _join(blocks)
    return module(_doc(step), body, modules=("context", "handler", "events", "groups", "schemas"))


def _doc(step: AnyStep) -> list[str]:
    if isinstance(step, ApiStep):
        what = f"{step.name}: {', '.join(step.methods)} {step.path}"
    elif isinstance(step, EventStep):
        what = f"{step.name}: on {', '.join(s.name for s in step.subscribes)}"
    elif isinstance(step, CronStep):
        what = f"{step.name}: at {step.cron} ({step.timezone})"
    else:
        what = step.name
    return [what, step.description]


def _join(blocks: list[str]) -> str:
    """Blocks with the blank lines between them that the formatter wants: two around classes, one between statements."""
    out = blocks[0]
    for before, block in pairwise(blocks):
        wide = block.startswith(("class ", "def ")) or before.startswith(("class ", "def "))
        tight = not wide and ": TypeAlias" in before.partition("\n")[0] and ": TypeAlias" in block.partition("\n")[0]
        out += ("\n\n\n" if wide else "\n" if tight else "\n\n") + block
    return out


# -- api -------------------------------------------------------------------------------------------------------------


def _api(step: ApiStep, names: StepNames, sites: Sites) -> list[str]:
    blocks = []
    path: Expr = index("dict", text("str"), text("str"))
    if step.path_params:
        blocks.append(
            typed_dict("PathParams", tuple((name, text("str"), True) for name in dict.fromkeys(step.path_params)))
        )
        path = text("PathParams")
    body = sites.of(step.body, f"{names.export}Body")
    query = sites.query(step.query, f"{names.export}Query") if step.query else index("dict", text("str"), text("Any"))
    request = index("handler.Request", body, path, query)
    blocks.append(assignment("Request", text("TypeAlias"), request))
    plain, results = [], []
    for status, schema in sorted(step.responses.items()):
        name, typ = status_name(status), sites.of(schema, f"{names.export}Response{status}")
        blocks.append(_response(name, status, typ))
        keys = (("status", index("Literal", text(str(status))), True), ("body", typ, not _optional(status, typ)))
        headers = ("headers", text("Mapping[str, str]"), False)
        blocks.append(typed_dict(f"{name}Dict", (*keys, headers)))
        results += [text(name), text(f"{name}Dict")]
        if 200 <= status < 300:
            plain.append(typ)
    if len(plain) == 1:
        results += [plain[0]]
    blocks.append(assignment("Response", text("TypeAlias"), either(results) if results else text("Any")))
    return blocks


def _optional(status: int, typ: Expr) -> bool:
    return status in BODILESS or typ.flat() in ("Any", "None")


def _response(name: str, status: int, typ: Expr) -> str:
    default = " = None" if _optional(status, typ) else ""
    annotation = typ.flat() if not default or typ.flat() == "Any" else either([typ, text("None")]).flat()
    head = index(f"class {name}(handler.Response", text(annotation)).flat() + "):"
    arguments = [text("self"), text(f"body: {annotation}{default}"), text("headers: Mapping[str, str] | None = None")]
    return "\n".join(
        [
            head,
            f'{INDENT}"""{status}"""',
            "",
            *signature("def __init__", arguments, "None", INDENT, body=""),
            f"{INDENT * 2}super().__init__(body, {status}, headers)",
        ]
    )


def signature(head: str, arguments: Sequence[Expr], result: str, indent: str, body: str = " ...") -> list[str]:
    """The lines of a function's head, broken as the formatter does."""
    end = f" -> {result}:{body}"
    flat = f"{indent}{head}({', '.join(a.flat() for a in arguments)}){end}"
    if columns(flat) <= WIDTH:
        return [flat]
    head_end = f"{indent}) -> {result}:{body}"
    return [
        f"{indent}{head}(",
        *(f"{indent}{INDENT}{a.flat()}," if a.head != "*" else f"{indent}{INDENT}*," for a in arguments),
        head_end,
    ]


# -- event -----------------------------------------------------------------------------------------------------------


def _event(step: EventStep, names: StepNames) -> list[str]:
    """`Input`, what the handler is given; in a batch step also `Event`, one of its list."""
    if step.join is not None:
        joined = tuple((topic, names.payloads[topic], True) for topic in step.join.topics)
        return [typed_dict("Joined", joined), assignment("Input", text("TypeAlias"), text("Joined"))]
    if step.batch is not None:
        each = assignment("Event", text("TypeAlias"), names.event)
        return [each, assignment("Input", text("TypeAlias"), index("list", text("Event")))]
    return [assignment("Input", text("TypeAlias"), names.event)]


# -- contexts --------------------------------------------------------------------------------------------------------


def _contexts(step: AnyStep, names: StepNames) -> str:
    lines = ["if TYPE_CHECKING:", ""]
    for is_async in (True, False):
        lines += _context(step, names, is_async=is_async)
    lines += ["else:", f"{INDENT}Context = context.Context", f"{INDENT}SyncContext = context.SyncContext"]
    return "\n".join(lines)


def _context(step: AnyStep, names: StepNames, *, is_async: bool) -> list[str]:
    prefix, word = ("", "async def") if is_async else ("Sync", "def")
    inner = INDENT * 2
    lines = [f"{INDENT}class {prefix}Context(context.Base{prefix}Context):"]
    topics = list(dict.fromkeys(e.topic for e in step.emits))
    when = [text(w) for w in WHEN]
    if topics:
        for topic in topics:
            data = Expr(f"data: {names.payloads[topic].flat()}")
            named = [text("self"), text(f"topic: Literal[{literal(topic).head}]"), data, Expr("*"), *when]
            lines += [f"{inner}@overload", *signature(f"{word} emit", named, "None", inner)]
            event = [text("self"), text(f"topic: events.{names.events[topic]}"), Expr("*"), *when]
            lines += [f"{inner}@overload", *signature(f"{word} emit", event, "None", inner)]
        whole = [text("self"), text("*args: Any"), text("**kwargs: Any")]
        lines += signature(f"{word} emit", whole, "None", inner)
        one = index("Literal", *[text(literal(topic).head) for topic in topics])
        waiting = [text("self"), text(f"topic: {one.flat()}"), text("key: str")]
        lines += signature(f"{word} cancel_emit", waiting, "None", inner)
    else:
        lines += signature(f"{word} emit", [text("self"), text("topic: Never")], "None", inner)
    for member, typed, untyped in (
        ("state", names.state, f"context.{prefix}State"),
        ("streams", names.streams, f"context.{prefix}Streams"),
    ):
        result = f"groups.{prefix}{typed}" if typed else untyped
        lines += [f"{inner}@property", *signature(f"def {member}", [text("self")], result, inner)]
    lines += signature(f"{word} flush", [text("self")], "None", inner)
    return [*lines, ""]


def event_type(project: Project, step: AnyStep, sites: Sites, payloads: dict[str, Expr]) -> Expr:
    """The type of one event of an event step: a union over what it subscribes to."""
    parts = []
    for subscription in step.subscribes if isinstance(step, EventStep) else ():
        name = subscription.name
        if subscription.kind == "topic":
            parts.append(payloads[name])
        elif subscription.kind == "state":
            value = sites.of(project.state[name].schema, f"{class_name(name)}Value")
            parts.append(index("handler.StateChange", value))
        else:
            value = sites.of(project.streams[name].schema, f"{class_name(name)}Item")
            parts.append(index("handler.StreamChange", value))
    return either(parts) if parts else text("None")


def is_handled(step: AnyStep) -> bool:
    """Has the step a handler? (A noop step has none.)"""
    return not isinstance(step, NoopStep)
