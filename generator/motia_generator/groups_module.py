"""`motia_types/groups.py` (typed `ctx.state` and `ctx.streams`, one class for each set of groups that some step uses) and
`motia_types/events.py` (the dict form of each emit). Only type checkers look at the former; at run time contexts are the runtime's own."""

from __future__ import annotations

import keyword
import re

from motia_generator.module import module
from motia_generator.names import Scope, class_name
from motia_generator.schemas_module import Sites, typed_dict
from motia_generator.source import INDENT, Expr, index, literal, text
from motia_generator.steps_types import signature
from motia_spec.model import Project

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_METHODS = frozenset({"get", "set", "update", "delete", "list", "get_group", "items", "keys", "clear", "history"})
_EMPTY = "if TYPE_CHECKING:\n"

# Methods of `ctx.state` with the group first: name, further arguments, result. T is the group's type.
_STATE_METHODS = (
    ("get", ("key: str",), "T | None"),
    ("set", ("key: str", "value: T", "*", "ttl: float | None = None"), "T"),
    ("update", ("key: str", "change: Callable[[T | None], T]"), "T"),
    ("delete", ("key: str",), "bool"),
    ("list", (), "list[T]"),
    ("get_group", (), "list[T]"),
    ("items", (), "dict[str, T]"),
    ("keys", (), "list[str]"),
    ("clear", (), "None"),
    ("history", ("key: str",), "list[T]"),
)


class Groups:
    """Classes of state groups and streams, made when first asked for. Lives as long as one generation."""

    def __init__(self, project: Project, sites: Sites) -> None:
        self._project = project
        self._sites = sites
        self._scope = Scope()
        self._made: dict[tuple[str, tuple[str, ...]], str] = {}

    def state(self, names: tuple[str, ...]) -> str | None:
        """The class for these state groups; None for none: then state has no types."""
        return self._class("State", names)

    def streams(self, names: tuple[str, ...]) -> str | None:
        return self._class("Streams", names)

    def _class(self, kind: str, names: tuple[str, ...]) -> str | None:
        if not names:
            return None
        key = kind, tuple(sorted(set(names)))
        if key not in self._made:
            self._made[key] = self._scope.unique(class_name(" ".join([*key[1], kind])))
        return self._made[key]

    def module(self) -> str:
        lines: list[str] = []
        for (kind, groups), name in self._made.items():
            for is_async in (True, False):
                lines += ["", *self._lines(kind, groups, name, is_async=is_async)]
        doc = ["Typed `ctx.state` and `ctx.streams` of the steps, by the groups that they use."]
        body = _EMPTY + "\n".join(lines) if lines else ""
        return module(doc, body, modules=("context", "schemas"))

    def _lines(self, kind: str, groups: tuple[str, ...], name: str, *, is_async: bool) -> list[str]:
        prefix = "" if is_async else "Sync"
        item = f"{prefix}{'StateGroup' if kind == 'State' else 'StreamItems'}"
        lines = [f"{INDENT}class {prefix}{name}:"]
        types = {group: self._type(kind, group) for group in groups}
        inner = INDENT * 2
        for group, typ in types.items():
            if _ATTRIBUTE.fullmatch(group) and not keyword.iskeyword(group) and group not in _METHODS:
                result = index(f"context.{item}", typ).flat()
                lines += [f"{inner}@property", *signature(f"def {group}", [text("self")], result, inner)]
        at = [self._item(group, index(f"context.{item}", typ), inner, len(types) > 1) for group, typ in types.items()]
        lines += [line for one in at for line in one]
        if len(types) > 1:
            lines += signature("def __getitem__", [text("self"), text("group: Any")], "Any", inner)
        if kind == "State":
            word = "async def" if is_async else "def"
            for method, rest, result in _STATE_METHODS:
                for group, typ in types.items():
                    lines += self._method(word, method, group, typ, rest, result, overloaded=len(types) > 1)
                if len(types) > 1:
                    whole = [text("self"), text("*args: Any"), text("**kwargs: Any")]
                    lines += signature(f"{word} {method}", whole, "Any", inner)
        return lines

    def _item(self, group: str, typ: Expr, indent: str, overloaded: bool) -> list[str]:
        arguments = [text("self"), text(f"group: Literal[{literal(group).head}]")]
        head = [f"{indent}@overload"] if overloaded else []
        return [*head, *signature("def __getitem__", arguments, typ.flat(), indent)]

    def _method(
        self, word: str, method: str, group: str, typ: Expr, rest: tuple[str, ...], result: str, *, overloaded: bool
    ) -> list[str]:
        indent = INDENT * 2
        arguments = [text("self"), text(f"group: Literal[{literal(group).head}]")]
        arguments += [Expr("*") if part == "*" else text(_with_type(part, typ)) for part in rest]
        head = [f"{indent}@overload"] if overloaded else []
        return [*head, *signature(f"{word} {method}", arguments, _with_type(result, typ), indent)]

    def _type(self, kind: str, group: str) -> Expr:
        found = self._project.state.get(group) if kind == "State" else self._project.streams.get(group)
        return self._sites.of(
            found.schema if found else None, class_name(group) + ("Value" if kind == "State" else "Item")
        )


def _with_type(template: str, typ: Expr) -> str:
    """T filled in. The class has a method `list`, which hides the builtin."""
    return re.sub(r"\bT\b", lambda _: typ.flat(), template).replace("list[", "builtins.list[")


class Events:
    """The dict form of emits: `{"topic": "order.created", "data": order}`. One TypedDict per topic that some step emits."""

    def __init__(self) -> None:
        self._scope = Scope()
        self.names: dict[str, str] = {}
        self._payloads: dict[str, Expr] = {}

    def of(self, topic: str, payload: Expr) -> str:
        if topic not in self.names:
            self.names[topic] = self._scope.unique(class_name(topic))
            self._payloads[topic] = payload
        return self.names[topic]

    def module(self) -> str:
        blocks = []
        for topic, name in self.names.items():
            payload = self._payloads[topic]
            keys = (("topic", index("Literal", literal(topic)), True), ("data", payload, payload.flat() != "Any"))
            blocks.append(typed_dict(name, keys))
        return module(["Events as the steps emit them in dict form."], "\n\n\n".join(blocks), modules=("schemas",))
