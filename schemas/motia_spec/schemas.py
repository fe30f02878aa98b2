"""JSON Schemas of the spec, made self-contained: each shared schema once in `defs`, every `$ref` as `#/$defs/KEY`, each keyword checked.

Keys: a schema under `schemas:` keeps its name. One that is only a `$ref` to a file gives its name to what that file holds. Everything
else that is referred to is named after its file (`order-item.json` is OrderItem) or the last segment of its pointer, with a number
when that name is taken. Order decides nothing but the numbers, and the order is that of the spec.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import msgspec

from motia_spec import keywords, suggest
from motia_spec.diagnostics import Diagnostic, error, warning
from motia_spec.model import Schema
from motia_spec.names import pascal, unused
from motia_spec.node import JSON, ListNode, MapNode, Node, ScalarNode
from motia_spec.place import Place
from motia_spec.references import Document, Fault, Read, References, Target
from motia_spec.tree import escape

MOST_NODES = 200_000  # values in all schemas together
MOST_FAULTS = 200  # references that lead nowhere and are reported
MOST_TOGETHER = 10_000  # schemas that apply to the same value, through $ref, allOf, anyOf, ...

_DUNDER = re.compile(r"__\w+__", re.ASCII)


class Sample(msgspec.Struct, frozen=True):
    """A default or an example, to be held against the schema it stands in."""

    keyword: str
    value: JSON
    schema: dict[str, JSON]
    place: Place


class Schemas:
    """Collects the schemas of one project. Use: `named` once, `site` for each place, then `finish`."""

    def __init__(self, root: Path, section: Node | None, spec_files: tuple[str, ...], read: Read) -> None:
        named = section if isinstance(section, MapNode) else None
        self.references = References(root, named, spec_files, read)
        self.defs: dict[str, JSON] = {}
        self.samples: list[Sample] = []
        self._found: list[Diagnostic] = []
        self._keys: dict[tuple[str, tuple[str, ...]], str] = {}
        self._waiting: deque[tuple[str, Target]] = deque()
        self._in_place: dict[str, list[tuple[str, Place]]] = {}  # key -> keys whose schemas apply to the same value
        self._nodes = 0
        self._faults = 0  # references that lead nowhere

    def named(self) -> dict[str, Schema]:
        """The `schemas:` section. First of all calls, since it gives the names away."""
        for name, document in self.references.named.items():
            self._keys[document.name, ()] = name
            self.defs[name] = True
        for name, document in self.references.named.items():
            target = self._behind(document) or Target(document, (), document.root)
            self._keys.setdefault(target.key, name)
            owner = self._keys[target.key]  # a second name of the same file is a reference to the first
            self._waiting.append((name, target if owner == name else Target(document, (), document.root)))
        return {
            name: Schema(id=f"def:{name}", value={"$ref": f"#/$defs/{escape(name)}"}, place=document.root.place)
            for name, document in self.references.named.items()
        }

    def site(self, id: str, label: str, node: Node, path: str) -> Schema:
        """The schema at one place of the spec. `path`: its JSON Pointer; `label` names it when it refers to itself."""
        document = Document(f"#{path}", node, label=label, in_spec=True, file=node.place.file)
        return Schema(id=id, value=self._lower(node, document, (), None), place=node.place)

    def finish(self) -> list[Diagnostic]:
        """Lower all that was referred to. Every finding about schemas, each once."""
        while self._waiting:
            key, target = self._waiting.popleft()
            self.defs[key] = self._lower(target.node, target.document, target.tokens, key)
        self._cycles()
        unique = {(d.code, d.place, d.message): d for d in [*self.references.diagnostics, *self._found]}
        return list(unique.values())

    def _behind(self, document: Document) -> Target | None:
        """What a named schema that is only a `$ref` to a file stands for."""
        node = document.root
        if not isinstance(node, MapNode) or list(node.entries) != ["$ref"]:
            return None
        ref = node.get("$ref")
        if not isinstance(ref, ScalarNode) or not isinstance(ref.value, str) or ref.value.startswith("#"):
            return None
        try:
            target = self.references.resolve(ref.value, ref.place, document)
        except Fault:
            return None  # found again, and reported, when the schema is lowered
        return None if target.key in self._keys and target.document.in_spec else target

    def _lower(self, node: Node, document: Document, tokens: tuple[str, ...], owner: str | None) -> JSON:
        """A schema without anchors and with canonical references. `owner`: key of the def whose own value this still applies to."""
        self._nodes += 1
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        if not isinstance(node, MapNode):
            self._error("M210", node.place, f"a schema must be a mapping, true or false, not {keywords.kind(node)}")
            return True
        if self._nodes > MOST_NODES:
            self._error("M214", document.root.place, f"the schemas hold more than {MOST_NODES:,} values together")
            return True
        result: dict[str, JSON] = {}
        refs: list[JSON] = []
        for key, place, value in node.items():
            fault = keywords.fault(key, value)
            if fault is not None:
                self._error("M210", value.place, fault)
                continue
            if key in ("$ref", "$dynamicRef"):
                refs.append(self._reference(value, document, owner))
            elif key in keywords.ONE:
                inside = owner if key in keywords.IN_PLACE else None
                result[key] = self._lower(value, document, (*tokens, key), inside)
            elif key in keywords.MANY and isinstance(value, ListNode):
                inside = owner if key in keywords.IN_PLACE else None
                result[key] = [
                    self._lower(item, document, (*tokens, key, str(index)), inside)
                    for index, item in enumerate(value.items)
                ]
            elif key in keywords.NAMED and isinstance(value, MapNode):
                result[key] = self._members(key, value, document, (*tokens, key), owner)
            elif key in keywords.DROPPED:
                self._identity(key, value, document, tokens)
            else:
                self._other(key, place, value, result)
        return self._complete(node, result, refs)

    def _complete(self, node: MapNode, result: dict[str, JSON], refs: list[JSON]) -> JSON:
        wrong = keywords.disorder(node)
        if wrong is not None:
            value = node.get(wrong[0])
            self._error("M210", value.place if value else node.place, wrong[1])
        if refs:
            result = {"$ref": refs[0], **result}
        if len(refs) > 1:  # $ref beside $dynamicRef: both apply
            others = result.get("allOf")
            result["allOf"] = [*(others if isinstance(others, list) else []), {"$ref": refs[1]}]
        for keyword in ("default", "examples"):
            sample = node.get(keyword)
            if sample is None or keyword not in result:
                continue
            each = sample.items if keyword == "examples" and isinstance(sample, ListNode) else [sample]
            self.samples += [Sample(keyword, item.plain(), result, item.place) for item in each]
        return result

    def _members(
        self, key: str, value: MapNode, document: Document, tokens: tuple[str, ...], owner: str | None
    ) -> dict[str, JSON]:
        """The schemas under properties, patternProperties or dependentSchemas."""
        result: dict[str, JSON] = {}
        inside = owner if key in keywords.IN_PLACE else None
        for name, place, schema in value.items():
            if key == "patternProperties":
                self._pattern(name, place)
            elif key == "properties" and _DUNDER.fullmatch(name):
                self._error(
                    "M218",
                    place,
                    f"the property {name!r} has a name that Python and JavaScript keep for themselves",
                    hint="give it another name, or leave it to additionalProperties",
                )
            if not keywords.is_schema(schema):
                self._error("M210", schema.place, f"{key} of {name!r} must be a schema, not {keywords.kind(schema)}")
                continue
            result[name] = self._lower(schema, document, (*tokens, name), inside)
        return result

    def _reference(self, value: Node, document: Document, owner: str | None) -> str:
        """The canonical form of a `$ref`; its target gets a key and waits to be lowered."""
        ref = str(value.plain())
        if self._faults >= MOST_FAULTS:
            return "#"  # nobody reads more of them, and each costs a search for what was meant
        try:
            target = self.references.resolve(ref, value.place, document)
        except Fault as fault:
            self._found.append(fault.diagnostic)
            self._faults += 1
            return "#"
        key = self._keys.get(target.key)
        if key is None:
            last = target.tokens[-1] if target.tokens else target.document.label
            key = unused(pascal(last), self.defs)
            self._keys[target.key] = key
            self.defs[key] = True  # its place in the order
            self._waiting.append((key, target))
        if owner is not None:
            self._in_place.setdefault(owner, []).append((key, value.place))
        return f"#/$defs/{escape(key)}"

    def _identity(self, key: str, value: Node, document: Document, tokens: tuple[str, ...]) -> None:
        """Keywords that say what a schema is called. They are dropped, so they must not matter."""
        text = str(value.plain()) if isinstance(value, ScalarNode) else ""
        if key == "$schema" and text not in keywords.DIALECTS:
            self._error(
                "M211",
                value.place,
                f"$schema {text!r} is another dialect; schemas are JSON Schema 2020-12",
                hint=f"write {keywords.DIALECTS[0]}, or leave $schema out",
            )
        if key != "$id":
            return
        if text.startswith("file:") or "\\" in text:
            self._error("M201", value.place, f"$id {text!r} is a path of a machine", hint="leave $id out")
        elif tokens:
            self._error(
                "M206",
                value.place,
                f"$id {text!r} inside of a schema would change what $ref means below it",
                hint="use $anchor",
            )
        else:
            ref = _relative_ref(document.root)
            if ref is not None and re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/", text):
                self._error(
                    "M201" if ":" in text else "M206",
                    value.place,
                    f"$id {text!r} would make $ref {ref.value!r} lead to the network",
                    hint="leave $id out: references are relative to the file",
                )

    def _other(self, key: str, place: Place, value: Node, result: dict[str, JSON]) -> None:
        """Keywords without schemas in them, and words that are no keywords."""
        if key not in keywords.ALL:
            if key in keywords.FOREIGN:
                self._warn("M217", place, f"{key} means nothing in JSON Schema 2020-12", hint=keywords.FOREIGN[key])
            else:
                # of words of others' only one that was meant for ours is a mistake, and would show what shall be hidden
                meant = suggest.near(key, {keywords.SENSITIVE} if key.startswith("x-") else keywords.ALL)
                if meant is not None:
                    self._warn("M217", place, f"{key} is not a keyword of JSON Schema", hint=f'did you mean "{meant}"?')
            return
        if key == "enum" and isinstance(value, ListNode):
            self._nodes += len(value.items)
            if len(value.items) > keywords.MOST_ENUM:
                self._error(
                    "M214",
                    value.place,
                    f"enum has {len(value.items):,} values; at most {keywords.MOST_ENUM:,} are allowed",
                )
                return
        plain = value.plain()
        if key == "pattern":
            self._pattern(str(plain), value.place)
        elif key == "format" and plain not in keywords.CHECKED_FORMATS:
            meant = suggest.near(str(plain), keywords.CHECKED_FORMATS)
            self._warn(
                "M216",
                value.place,
                f"format {plain!r} is not checked; checked are {', '.join(keywords.CHECKED_FORMATS)}",
                hint=f'did you mean "{meant}"?' if meant else "add a pattern where it matters",
            )
        result[key] = plain

    def _pattern(self, pattern: str, place: Place) -> None:
        fault = keywords.pattern_fault(pattern)
        if fault is None:
            return
        if fault[0] == "invalid":
            self._error(
                "M212",
                place,
                f"the pattern {pattern[:80]!r} can't be read: {fault[1]}",
                hint="patterns are those of Python's re",
            )
        else:
            self._error(
                "M213",
                place,
                f"the pattern {pattern[:80]!r} is not safe: {fault[1]}",
                hint="let a separator decide, or use maxLength",
            )

    def _cycles(self) -> None:
        """References that only lead back to themselves describe nothing: A is B, B is A. References that fan out again and again,
        as A is one of B and B, B one of C and C, take exponential time."""
        costs: dict[str, int] = {}  # of what is done: schemas that apply to one value, each as often as it is reached
        for start in self._in_place:
            path: dict[str, None] = {}  # ordered, and quick to ask
            stack: list[tuple[str, int]] = [(start, 0)]
            while stack:
                key, index = stack.pop()
                if index == 0:
                    if key in costs:
                        continue
                    path[key] = None
                onward = self._in_place.get(key, [])
                if index == len(onward):
                    costs[key] = 1 + sum(costs.get(other, 0) for other, _ in onward)
                    if costs[key] > MOST_TOGETHER and all(costs.get(other, 0) <= MOST_TOGETHER for other, _ in onward):
                        message = f"more than {MOST_TOGETHER:,} schemas would be tried on one value of {key}"
                        self._error("M214", onward[0][1], message, hint="refer to a schema once, not from every branch")
                    del path[key]
                    continue
                stack.append((key, index + 1))
                following, place = onward[index]
                if following in path:
                    keys = list(path)
                    self._circle([*keys[keys.index(following) :], following], place)
                elif following not in costs:
                    stack.append((following, 0))

    def _circle(self, keys: list[str], place: Place) -> None:
        shown = keys if len(keys) <= 10 else [*keys[:8], "...", keys[-1]]
        self._error(
            "M204",
            place,
            f"the reference goes round in a circle and describes nothing: {' -> '.join(shown)}",
            hint="describe one of them",
        )

    def _error(self, code: str, place: Place, message: str, hint: str = "") -> None:
        self._found.append(error(code, place, message, hint=hint))

    def _warn(self, code: str, place: Place, message: str, hint: str = "") -> None:
        self._found.append(warning(code, place, message, hint=hint))


def _relative_ref(node: Node) -> ScalarNode | None:
    """A `$ref` below that is no mere fragment."""
    if isinstance(node, MapNode):
        ref = node.get("$ref")
        if isinstance(ref, ScalarNode) and isinstance(ref.value, str) and not ref.value.startswith("#"):
            return ref
        inner = (value for key, _, value in node.items() if key not in ("enum", "const", "default", "examples"))
        return next((found for value in inner if (found := _relative_ref(value))), None)
    if isinstance(node, ListNode):
        return next((found for item in node.items if (found := _relative_ref(item))), None)
    return None
