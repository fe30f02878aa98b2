"""The checks that a compiled schema is made of, one factory for scalars, lists, maps and unions, and the report they write to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from motia_spec import suggest, wording
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.limits import MAX_FINDINGS
from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.place import Place
from motia_spec.scalars import clip
from motia_spec.wording import Path

Schema = dict[str, Any]


class Report:
    """Findings of one validation. A value that several aliases share is reported once. Stops taking findings at MAX_FINDINGS."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Place, str], Diagnostic] = {}
        self.more = 0

    def add(
        self, code: str, place: Place, message: str, path: Path | None, hint: str = "", *related: tuple[Place, str]
    ) -> None:
        if len(self._found) >= MAX_FINDINGS:
            self.more += 1
            return
        found = error(code, place, message, hint=hint, path=wording.pointer(path), related=related)
        self._found.setdefault((code, place, message), found)

    def wrong_type(
        self, node: Node, path: Path | None, key: Place | None, types: frozenset[str], wanted: str = ""
    ) -> None:
        """`wanted` says what text must look like, where that is known."""
        message = f"{wording.subject(path)} takes {wording.allowed(types)}, not {wording.found(node)}"
        place = key if key is not None and not isinstance(node, ScalarNode) else node.place
        self.add("M103", place, message, path, wording.type_hint(node, types, wanted))

    @property
    def full(self) -> bool:
        return len(self._found) >= MAX_FINDINGS

    def diagnostics(self) -> list[Diagnostic]:
        found = list(self._found.values())
        if self.more:
            last = max(found, key=lambda d: d.place)
            found.append(
                error("M110", last.place, f"{self.more:,} more findings are left out", hint="mend these first")
            )
        return found


Check = Callable[[Node, Path | None, Place | None, Report], None]  # value, path, place of its key if it has one


def scalar_check(schema: Schema) -> Check:
    """enum, const, pattern, lengths and bounds. The type is checked before."""
    enum: list[str] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    pattern = re.compile(schema["pattern"]).search if "pattern" in schema else None
    wanted: str = schema.get("x-motia-error", "")
    code: str = schema.get("x-motia-code", "")
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    letters = schema.get("x-motia-letters", False)
    low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if enum is not None and not all(isinstance(value, str) for value in enum):
        raise ValueError("enum in the schema of the spec holds something else than text")
    if pattern and not wanted:
        raise ValueError(f"the pattern {schema['pattern']} in the schema of the spec has no x-motia-error")

    def text(node: ScalarNode, value: str, path: Path | None, report: Report) -> None:
        if enum is not None and value not in enum:
            message = wanted or f"{wording.shown(node)} is not one of {wording.listed(enum)}"
            report.add(code or "M104", node.place, message, path, suggest.hint(value, enum))
        elif not shortest <= len(value) <= (longest or len(value)):
            bound = f"at least {shortest}" if len(value) < shortest else f"at most {longest}"
            message = f"{wording.subject(path)} has {len(value):,} characters; {bound} are allowed"
            report.add(code or "M106", node.place, message, path)
        elif (pattern is not None and not pattern(value)) or (letters and not wording.letters_only(value)):
            report.add(code or "M105", node.place, f"{wording.shown(node)} is not allowed: {wanted}", path)

    def number(node: ScalarNode, value: float, path: Path | None, report: Report) -> None:
        if low is not None and value < low:
            bound = f"at least {low:,}"
        elif high is not None and value > high:
            bound = f"at most {high:,}"
        elif above is not None and value <= above:
            bound = f"more than {above:,}"
        else:
            return
        report.add("M106", node.place, f"{wording.subject(path)} must be {bound}, not {wording.found(node)}", path)

    def check(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
        assert isinstance(node, ScalarNode)
        value = node.value
        if isinstance(value, str):
            text(node, value, path, report)
        elif enum is not None:
            report.add(code or "M104", node.place, f"{wording.found(node)} is not one of {wording.listed(enum)}", path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number(node, value, path, report)

    return check


def sequence_check(schema: Schema, items: Check | None) -> Check:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    unique = schema.get("uniqueItems", False)

    def check(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
        assert isinstance(node, ListNode)
        count = len(node.items)
        if count < fewest or (most is not None and count > most):
            bound = f"at least {fewest}" if count < fewest else f"at most {most:,}"
            message = f"{wording.subject(path)} has {count:,} items; {bound} are allowed"
            report.add("M106", key or node.place, message, path)
        if items is not None:
            for index, item in enumerate(node.items):
                items(item, (path, index), None, report)
        if unique and count > 1:
            first: dict[str, Place] = {}
            for index, item in enumerate(node.items):
                text = json.dumps(item.plain(), sort_keys=True)
                if text in first:
                    message = f"{wording.subject(path)} has {wording.found(item)} twice"
                    report.add("M109", item.place, message, (path, index), "remove one", (first[text], "first here"))
                first.setdefault(text, item.place)

    return check


def map_check(
    schema: Schema,
    properties: dict[str, Check],
    patterns: dict[str, Check],
    others: Check | None,
    names: Check | None,
    example: Callable[[Schema], object],
    elsewhere: dict[str, str],
) -> Check:
    """Keys and values of a map. `elsewhere` says who has a key that this map doesn't have."""
    required: list[str] = schema.get("required", [])
    closed = schema.get("additionalProperties", True) is False
    searches = [(re.compile(pattern).search, check) for pattern, check in patterns.items()]
    fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
    distinct: bool = schema.get("x-motia-distinct", False)
    wanted: str = schema.get("x-motia-key", "")
    instead: dict[str, str] = schema.get("x-motia-instead", {})
    examples = {key: example(value) for key, value in schema.get("properties", {}).items()}

    def unknown(node: MapNode, key: str, place: Place, path: Path | None, report: Report) -> str | None:
        """Report a key that isn't allowed; the key that was probably meant."""
        if wanted:
            report.add("M101", place, f"{wording.quote(key)} is not {wanted}", (path, key))
            return None
        free = [name for name in properties if name not in node.entries]
        meant = None if report.full else suggest.near(key, properties)
        message = f"unknown key {wording.quote(key)}"
        if key in instead:
            hint = instead[key]
        elif key in elsewhere:
            hint = f"{elsewhere[key]} have it"
            meant = None
        elif meant in node.entries:
            hint = f'"{meant}" is here already: join the two'
        elif meant is not None:
            hint = f'did you mean "{meant}"?'
        else:
            hint = f"allowed here: {wording.listed(free)}" if free else "all keys that are allowed here are there"
        report.add("M101", place, message, (path, key), hint)
        return meant

    def missing(node: MapNode, key: str, path: Path | None, at: Place, report: Report) -> None:
        sample = examples.get(key)
        hint = f"add it, for example `{key}: {sample}`" if isinstance(sample, (str, int)) else "add it"
        slip = None if closed else suggest.near(key, [name for name in node.entries if name not in properties])
        if slip is not None:
            hint = f'did you mean "{key}" by "{clip(slip)}"?'
        report.add("M102", at, f"{wording.subject(path)} has no {wording.quote(key)}, which it needs", path, hint)

    def check(node: Node, path: Path | None, key_place: Place | None, report: Report) -> None:
        assert isinstance(node, MapNode)
        meant: set[str | None] = set()
        for key, (place, value) in node.entries.items():
            inner = properties.get(key)
            if names is not None:
                names(ScalarNode(key, place), (path, key), place, report)
            if inner is not None:
                inner(value, (path, key), place, report)
            matched = inner is not None
            for search, by_pattern in searches:
                if search(key):
                    matched = True
                    by_pattern(value, (path, key), place, report)
            if not matched:
                if others is not None:
                    others(value, (path, key), place, report)
                elif closed:
                    meant.add(unknown(node, key, place, path, report))
        for key in required:
            if key not in node.entries and key not in meant:
                missing(node, key, path, key_place or node.place, report)
        count = len(node.entries)
        if count < fewest or (most is not None and count > most):
            bound = f"one of {wording.listed(properties)}" if fewest == most == 1 else f"{fewest} to {most} keys"
            message = f"{wording.subject(path)} has {count} keys; it takes {bound}"
            report.add("M106", node.place, message, path)
        if distinct and count > 1:
            alike(node, path, report)

    return check


def alike(node: MapNode, path: Path | None, report: Report) -> None:
    """Report names that some file systems take for the same."""
    first: dict[str, str] = {}
    for key, (place, _) in node.entries.items():
        other = first.setdefault(wording.folded(key), key)
        if other != key:
            message = f"{wording.quote(key)} and {wording.quote(other)} differ only by case"
            hint = "rename one: on macOS and Windows their files would be the same"
            report.add("M108", place, message, (path, key), hint, (node.key_place(other), "first here"))


def any_of(by_type: dict[str, Check]) -> Check:
    """The one branch that is for the value's type."""
    types = frozenset(by_type)

    def check(node: Node, path: Path | None, key: Place | None, report: Report) -> None:
        branch = by_type.get(wording.json_type(node))
        if branch is None:
            report.wrong_type(node, path, key, types)
        else:
            branch(node, path, key, report)

    return check
