"""One file of YAML to a tree of nodes with places, in bounded time and memory, whatever the file holds.

libyaml's scanner gives events (it doesn't recurse; its composer does, and crashes on deep nesting, so that is not used). The tree is
made here from the events, with every limit checked before the thing it limits is made. Without libyaml PyYAML's own scanner does
the same, about ten times slower.

Faults that leave the rest readable (a duplicate key, a tag, an odd number) are collected; syntax and limits stop the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from motia_spec.diagnostics import Diagnostic, error, warning
from motia_spec.limits import MAX_ALIASES, MAX_DEPTH, MAX_FILE, MAX_FINDINGS, MAX_KEY, MAX_TOTAL, MAX_VALUES
from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.place import Place
from motia_spec.scalars import YAML_1_1_BOOLEANS, BadScalar, clip, key_text, resolve
from motia_spec.sources import Sources
from motia_spec.syntax import syntax_error

_Loader: Callable[[str], Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Controls, line separators that editors and YAML count differently, surrogates, non-characters, a BOM inside, and the bidirectional
# controls that make a line look like another one (CVE-2021-42574).
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]|\r(?!\n)"
)
_DIRECTIVE = re.compile(r"^%(?!YAML )", re.MULTILINE)  # libyaml compares each %TAG with all before it
_CONFLICT = re.compile(r"^(?:<{7} |>{7} |={7}\r?$)", re.MULTILINE)  # left by git


class Budget:
    """What is left for the files of one spec. Lives for one `load_spec`."""

    def __init__(self, values: int = MAX_VALUES, size: int = MAX_TOTAL) -> None:
        self.values = values
        self.size = size  # bytes


class Unreadable(Exception):
    """Reading this file has to stop here."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def read_document(
    source: bytes | str, file: str, *, sources: Sources, budget: Budget, diagnostics: list[Diagnostic]
) -> MapNode | None:
    """The map that `source` holds; None when it can't be read. Appends findings to `diagnostics` and the text to `sources`."""
    try:
        text = _text(source, file, budget)
        lines = sources.add(file, text)
        _check_text(text, file)
        return _Composer(text, file, lines, budget, diagnostics).document()
    except Unreadable as stop:
        diagnostics.append(stop.diagnostic)
        return None


def _text(source: bytes | str, file: str, budget: Budget) -> str:
    start = Place(file, 1, 1)
    try:
        raw = source.encode() if isinstance(source, str) else source
    except UnicodeEncodeError:
        raise Unreadable(error("M003", start, "the text is not valid Unicode", hint="save it as UTF-8")) from None
    if len(raw) > MAX_FILE:
        hint = "split it with `include:`; put large data outside the spec"
        raise Unreadable(error("M002", start, f"the file is larger than {MAX_FILE >> 10} KiB", hint=hint))
    budget.size -= len(raw)
    if budget.size < 0:
        raise Unreadable(error("M002", start, f"the spec with its includes is larger than {MAX_TOTAL >> 20} MiB"))
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable(error("M003", start, "the file is UTF-16; a spec is UTF-8", hint="save it as UTF-8"))
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        before = raw[: fault.start].decode("utf-8")
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the byte 0x{raw[fault.start]:02X} is not UTF-8"
        raise Unreadable(error("M003", place, message, hint="save the file as UTF-8")) from None


def _check_text(text: str, file: str) -> None:
    def at(position: int) -> Place:
        return Place(file, text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))

    if found := _FORBIDDEN.search(text):
        message = f"the character U+{ord(found[0]):04X} is not allowed in a spec"
        hint = 'remove it; in "double quotes" it can be written as an escape'
        raise Unreadable(error("M004", at(found.start()), message, hint=hint))
    if found := _DIRECTIVE.search(text):
        raise Unreadable(error("M014", at(found.start()), "YAML directives are not supported", hint="remove the line"))
    if found := _CONFLICT.search(text):
        hint = "choose one side of the merge and remove the markers"
        raise Unreadable(error("M006", at(found.start()), "an unresolved merge conflict", hint=hint))


class _Composer:
    """Events of one file to nodes. Recursion is as deep as the document, at most MAX_DEPTH."""

    def __init__(self, text: str, file: str, lines: list[str], budget: Budget, diagnostics: list[Diagnostic]) -> None:
        self.next: Callable[[], Any] = _Loader(text).get_event
        self.file = file
        self.lines = lines
        self.budget = budget
        self.diagnostics = diagnostics
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}  # node, values, height; None while it is being read
        self.aliases = 0
        self.deepest = 0

    def document(self) -> MapNode:
        try:
            self.next()  # StreamStart
            if type(self.next()) is yaml.StreamEndEvent:
                raise self.stop("M012", Place(self.file, 1, 1), "the file is empty", "begin with `name:` and `steps:`")
            event = self.next()
            root = self.value(event, 1, self.place(event.start_mark, event.end_mark))
            self.next()  # DocumentEnd
            event = self.next()
        except yaml.YAMLError as fault:
            raise Unreadable(syntax_error(fault, self.file, self.lines)) from None
        if type(event) is not yaml.StreamEndEvent:
            place = self.place(event.start_mark, event.end_mark)
            raise self.stop(
                "M011", place, "a second document begins here", "a spec is one document; use `include:` for more files"
            )
        if isinstance(root, ScalarNode) and root.value is None:
            raise self.stop("M012", root.place, "the document is empty", "begin with `name:` and `steps:`")
        if not isinstance(root, MapNode):
            found = "a list" if isinstance(root, ListNode) else "a single value"
            raise self.stop(
                "M019", root.place, f"a spec is a map of keys, and this is {found}", "begin with `name:` and `steps:`"
            )
        return root

    def value(self, event: Any, depth: int, fallback: Place) -> Node:
        """The node that begins with `event`. `fallback` is where an empty value is shown."""
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self.alias(event, depth)
        budget = self.budget
        budget.values -= 1
        if budget.values < 0:
            raise self.stop(
                "M008", self.place(event.start_mark, event.end_mark), f"more than {MAX_VALUES:,} values", _SPLIT
            )
        if event.tag is not None:
            place = self.place(event.start_mark, event.end_mark)
            self.report(
                "M014", place, f"the tag {tag(event.tag)} is not supported", "remove it; quote a value to make it text"
            )
        anchor = event.anchor
        before, deepest = budget.values, self.deepest
        if anchor is not None:
            self.anchors[anchor] = None
            self.deepest = depth
        if kind is yaml.ScalarEvent:
            node: Node = self.scalar(event, fallback)
        else:
            if depth > MAX_DEPTH:
                place = self.place(event.start_mark, event.end_mark)
                raise self.stop("M007", place, f"maps and lists are nested deeper than {MAX_DEPTH} levels", _FLATTEN)
            if depth > self.deepest:
                self.deepest = depth
            node = self.mapping(event, depth) if kind is yaml.MappingStartEvent else self.sequence(event, depth)
        if anchor is not None:
            self.anchors[anchor] = (node, before - budget.values + 1, self.deepest - depth)
            self.deepest = max(self.deepest, deepest)
        return node

    def scalar(self, event: Any, fallback: Place) -> ScalarNode:
        text: str = event.value
        start, end = event.start_mark, event.end_mark
        if event.style:  # quoted, or a block
            return ScalarNode(text, self.place(start, end))
        place = self.place(start, end) if text else fallback
        try:
            return ScalarNode(resolve(text), place)
        except BadScalar as bad:
            self.report(bad.code, place, bad.message, bad.hint)
            return ScalarNode(None, place)

    def sequence(self, event: Any, depth: int) -> ListNode:
        start = event.start_mark
        items: list[Node] = []
        fallback = self.place(start, start)
        while type(inner := self.next()) is not yaml.SequenceEndEvent:
            items.append(self.value(inner, depth + 1, fallback))
        return ListNode(items, self.place(start, inner.end_mark) if event.flow_style else fallback)

    def mapping(self, event: Any, depth: int) -> MapNode:
        entries: dict[str, tuple[Place, Node]] = {}
        merges: list[tuple[Place, Node]] = []
        first: Place | None = None
        while type(inner := self.next()) is not yaml.MappingEndEvent:
            place = self.place(inner.start_mark, inner.end_mark)
            first = first or place
            key = self.key(inner, place, depth)
            value = self.value(self.next(), depth + 1, place)
            if key == "<<" and not inner.style:
                if merges:
                    self.report(
                        "M013",
                        place,
                        "`<<` is here twice",
                        "give it a list: `<<: [*a, *b]`",
                        (merges[0][0], "first here"),
                    )
                merges.append((place, value))
            elif key in entries:
                self.report(
                    "M013",
                    place,
                    f"duplicate key {clip(key)!r}; only one of them can count",
                    "rename or remove one",
                    (entries[key][0], "first here"),
                )
            elif key is not None:
                entries[key] = (place, value)
        for place, value in merges:
            self.merge(entries, place, value)
        start = event.start_mark
        if event.flow_style:
            return MapNode(entries, self.place(start, inner.end_mark))
        return MapNode(entries, first or self.place(start, start))

    def key(self, event: Any, place: Place, depth: int) -> str | None:
        """The text of a key; None after reporting one that isn't text."""
        if type(event) is not yaml.ScalarEvent:
            self.value(event, depth + 1, place)
            self.report("M017", place, "a key is an alias, a map or a list; keys are text", "write the key out")
            return None
        text: str = event.value
        if event.tag is not None:
            self.report("M014", place, f"the tag {tag(event.tag)} is not supported", "remove it")
        if event.anchor is not None:
            self.anchors[event.anchor] = (ScalarNode(text, place), 1, 0)
        if len(text) > MAX_KEY:
            self.report(
                "M017", place, f"a key of {len(text):,} characters; at most {MAX_KEY:,} are allowed", "shorten it"
            )
            return None
        if event.style:
            if found := _FORBIDDEN.search(text):
                self.report("M004", place, f"the character U+{ord(found[0]):04X} is not allowed in a key", "remove it")
                return None
            return text
        if text in YAML_1_1_BOOLEANS:
            hint = f'quote it: "{text}"'
            message = f"the key {text} is text here, but other YAML tools read it as a boolean"
            if len(self.diagnostics) < MAX_FINDINGS:
                self.diagnostics.append(warning("M028", place, message, hint=hint))
            return text
        try:
            return key_text(text)
        except BadScalar as bad:
            self.report(bad.code, place, bad.message, bad.hint)
            return None

    def alias(self, event: Any, depth: int) -> Node:
        place = self.place(event.start_mark, event.end_mark)
        name = clip(event.anchor)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self.stop("M008", place, f"more than {MAX_ALIASES:,} aliases", _SPLIT)
        if event.anchor not in self.anchors:
            known = ", ".join(f"&{clip(anchor)}" for anchor in sorted(self.anchors)[:10]) or "none"
            raise self.stop(
                "M010",
                place,
                f"the alias *{name} has no anchor before it; anchors here: {known}",
                f"define it with `&{name}`",
            )
        target = self.anchors[event.anchor]
        if target is None:
            raise self.stop(
                "M009", place, f"the alias *{name} stands inside its own anchor &{name}", "a value can't contain itself"
            )
        node, values, height = target
        self.budget.values -= values
        if self.budget.values < 0:
            message = f"the alias *{name} makes the spec larger than {MAX_VALUES:,} values"
            raise self.stop("M008", place, message, "aliases of aliases multiply; write out what is needed")
        if depth + height > MAX_DEPTH:
            raise self.stop("M007", place, f"the alias *{name} nests deeper than {MAX_DEPTH} levels", _FLATTEN)
        self.deepest = max(self.deepest, depth + height)
        return node

    def merge(self, entries: dict[str, tuple[Place, Node]], place: Place, value: Node) -> None:
        """Add what `<<: value` gives and the map itself doesn't have; of several maps the first that has a key counts."""
        for source in value.items if isinstance(value, ListNode) else [value]:
            if not isinstance(source, MapNode):
                self.report("M018", place, "`<<` takes a map or a list of maps", "use an alias of a map: `<<: *name`")
                return
            for key, entry in source.entries.items():
                entries.setdefault(key, entry)

    def place(self, start: Any, end: Any) -> Place:
        line, column = start.line, start.column
        width = (end.column if end.line == line else len(self.lines[line])) - column
        if width < 1:  # an empty value, or a mark behind the end of a line
            width = 1
            if line < len(self.lines):
                column = min(column, max(len(self.lines[line]) - 1, 0))
        return Place(self.file, line + 1, column + 1, width)

    def report(self, code: str, place: Place, message: str, hint: str, *related: tuple[Place, str]) -> None:
        if len(self.diagnostics) >= MAX_FINDINGS:
            raise self.stop(
                "M110", place, f"more than {MAX_FINDINGS:,} findings; the rest is left out", "mend these first"
            )
        self.diagnostics.append(error(code, place, message, hint=hint, related=related))

    def stop(self, code: str, place: Place, message: str, hint: str) -> Unreadable:
        return Unreadable(error(code, place, message, hint=hint))


def tag(name: str) -> str:
    """A tag as it is written: `!!set` rather than `tag:yaml.org,2002:set`."""
    return clip("!!" + name.removeprefix(_YAML_TAGS) if name.startswith(_YAML_TAGS) else name)


_YAML_TAGS = "tag:yaml.org,2002:"
_SPLIT = "keep large data in files of its own, outside the spec"
_FLATTEN = "move inner parts into named `schemas:` and refer to them"
