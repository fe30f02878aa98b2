"""Where a `$ref` leads: to a schema of the spec, or of a file inside the project. Nothing is ever fetched.

A document is what `#` stands for: a whole file, or one schema of the spec (each is a document of its own, so that a JSON Schema
pasted under `schemas:` keeps its `#/$defs/X`). `#/schemas/Name` in the spec always means the spec's `schemas:` section.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

from motia_spec import suggest
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.keywords import is_schema
from motia_spec.node import ListNode, MapNode, Node, ScalarNode
from motia_spec.place import Place
from motia_spec.suggest import listing
from motia_spec.tree import escape, unescape

Read = Callable[[str], tuple[Node | None, list[Diagnostic]]]  # a file's tree, by its path relative to the root

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"[A-Za-z]:")
_HOPS = 64  # references followed inside one pointer
MOST_FILES = 1_000  # schema files of a project


class Document:
    """One JSON Schema document. `name` is its key: `schemas/Order` or `schemas/order.json` (a file) or a site's JSON Pointer."""

    __slots__ = ("_anchors", "file", "folder", "in_spec", "label", "name", "root")

    def __init__(self, name: str, root: Node, *, label: str, in_spec: bool, file: str) -> None:
        self.name = name
        self.root = root
        self.label = label  # what its key is made from when somebody refers to the whole of it
        self.in_spec = in_spec
        self.file = file
        self.folder = posixpath.dirname(file)
        self._anchors: dict[str, tuple[str, ...]] | None = None

    @property
    def anchors(self) -> dict[str, tuple[str, ...]]:
        """Where each `$anchor` and `$dynamicAnchor` of the document stands."""
        if self._anchors is None:
            self._anchors = {}
            self._collect(self.root, ())
        return self._anchors

    def _collect(self, node: Node, tokens: tuple[str, ...]) -> None:
        assert self._anchors is not None
        if isinstance(node, MapNode):
            for key, _, value in node.items():
                if (
                    key in ("$anchor", "$dynamicAnchor")
                    and isinstance(value, ScalarNode)
                    and isinstance(value.value, str)
                ):
                    self._anchors.setdefault(value.value, tokens)
                elif key not in ("enum", "const", "default", "examples"):
                    self._collect(value, (*tokens, key))
        elif isinstance(node, ListNode):
            for index, item in enumerate(node.items):
                self._collect(item, (*tokens, str(index)))


class Target:
    """A schema that something refers to."""

    __slots__ = ("document", "node", "tokens")

    def __init__(self, document: Document, tokens: tuple[str, ...], node: Node) -> None:
        self.document = document
        self.tokens = tokens
        self.node = node

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        return self.document.name, self.tokens


class Fault(Exception):
    """A reference that leads nowhere, or where it must not. Carries the diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class References:
    """All documents of a project, read when first referred to. Lives as long as one compilation."""

    def __init__(self, root: Path, named: MapNode | None, spec_files: tuple[str, ...], read: Read) -> None:
        self._root = os.path.realpath(root)
        self._spec_files = frozenset(spec_files)
        self._read = read
        self._files: dict[str, Document | None] = {}
        self.diagnostics: list[Diagnostic] = []  # of reading files
        self._hints = 200  # that are still worth their time
        self.named: dict[str, Document] = {}
        for name, _, node in named.items() if named else ():
            self.named[name] = Document(
                f"#/schemas/{escape(name)}", node, label=name, in_spec=True, file=node.place.file
            )

    @property
    def files(self) -> list[str]:
        """Every file that a reference led to."""
        return sorted(self._files)

    def resolve(self, ref: str, place: Place, document: Document, hops: int = 0) -> Target:
        """Where `ref`, standing in `document`, leads. Fault."""
        if hops > _HOPS:
            raise Fault(
                error("M204", place, f"$ref {ref!r} goes round in a circle", hint="describe the schema somewhere")
            )
        base, _, fragment = ref.partition("#")
        fragment = unquote(fragment)
        tokens = tuple(unescape(token) for token in fragment.split("/")[1:]) if fragment.startswith("/") else None
        if base:
            document = self._document(base, ref, place, document)
        if tokens and tokens[0] == "schemas" and document.in_spec:
            if len(tokens) == 1:
                raise Fault(error("M203", place, f"$ref {ref!r} is the whole section; write #/schemas/NAME"))
            if tokens[1] not in self.named:
                raise Fault(self._missing_name(ref, tokens[1], place))
            return self._walk(self.named[tokens[1]], tokens[2:], ref, place, hops)
        if tokens is None and fragment:
            found = document.anchors.get(fragment)
            if found is None:
                known = listing(document.anchors)
                raise Fault(
                    error(
                        "M203",
                        place,
                        f"$ref {ref!r}: there is no $anchor {fragment!r} in {document.file}; it has: {known}",
                        hint=self._hint(fragment, document.anchors),
                    )
                )
            tokens = found
        return self._walk(document, tokens or (), ref, place, hops)

    def _walk(self, document: Document, tokens: tuple[str, ...], ref: str, place: Place, hops: int) -> Target:
        node, done = document.root, 0
        while done < len(tokens):
            token = tokens[done]
            inner = _member(node, token)
            if inner is None:
                onward = node.get("$ref") if isinstance(node, MapNode) else None
                following = isinstance(onward, ScalarNode) and onward.place != place  # not the reference that asks
                if following and isinstance(onward, ScalarNode) and isinstance(onward.value, str):
                    target = self.resolve(onward.value, place, document, hops + 1)
                    return self._walk(target.document, (*target.tokens, *tokens[done:]), ref, place, hops + 1)
                raise Fault(self._missing_member(ref, node, token, document, place))
            node, done = inner, done + 1
        if not is_schema(node):
            raise Fault(error("M203", place, f"$ref {ref!r} leads to {node.place}, where there is no schema"))
        return Target(document, tokens, node)

    def _hint(self, name: str, known: Iterable[str], otherwise: str = "") -> str:
        self._hints -= 1
        return suggest.hint(name, known, otherwise) if self._hints > 0 else otherwise

    def _missing_name(self, ref: str, name: str, place: Place) -> Diagnostic:
        known = f"schemas has: {listing(self.named)}"
        return error(
            "M203",
            place,
            f"$ref {ref!r}: there is no schema {name!r}; {known}",
            hint=self._hint(name, self.named, f"describe {name} under schemas"),
        )

    def _missing_member(self, ref: str, node: Node, token: str, document: Document, place: Place) -> Diagnostic:
        known = list(node.entries) if isinstance(node, MapNode) else []
        where = document.name if document.in_spec else document.file
        advice = self._hint(token, known)
        if document.in_spec and node is document.root and self.named:
            last = ref.rpartition("/")[2]
            advice = (
                f"write #/schemas/{last}"
                if last in self.named
                else (advice or "schemas of the spec are #/schemas/NAME")
            )
        return error(
            "M203", place, f"$ref {ref!r}: there is no {token!r} in {where}; it has: {listing(known)}", hint=advice
        )

    def _document(self, base: str, ref: str, place: Place, document: Document) -> Document:
        """The document of a file. Fault unless it is a readable file inside the project."""
        path = self._inside(base, ref, place, document)
        if path in self._spec_files:
            return Document(f"spec:{path}", MapNode({}, place), label=path, in_spec=True, file=path)
        if path not in self._files:
            self._files[path] = self._load(path, ref, place)
        loaded = self._files[path]
        if loaded is None:
            raise Fault(error("M203", place, f"$ref {ref!r}: {path} can't be read", hint="its own findings say why"))
        return loaded

    def _inside(self, base: str, ref: str, place: Place, document: Document) -> str:
        """The path relative to the root. Fault when the reference leaves the project."""
        if _SCHEME.match(base) or base.startswith("//"):
            raise Fault(
                error(
                    "M201",
                    place,
                    f"$ref {ref!r} leads to the network; only files of the project and #/... are read",
                    hint="save the schema as a file of the project and refer to that",
                )
            )
        name = unquote(base)
        if "\\" in name or "\0" in name or name.startswith("/") or _DRIVE.match(name):
            raise Fault(
                error(
                    "M202",
                    place,
                    f"$ref {ref!r} is not a path inside the project",
                    hint="write it relative to this file, with forward slashes, like ./schemas/order.json",
                )
            )
        path = posixpath.normpath(posixpath.join(document.folder, name))
        real = os.path.realpath(os.path.join(self._root, path))
        if path.startswith("..") or not real.startswith(self._root + os.sep):
            raise Fault(
                error(
                    "M202",
                    place,
                    f"$ref {ref!r} leads outside of the project",
                    hint="move the file into the project; symbolic links out of it are not followed",
                )
            )
        return path

    def _load(self, path: str, ref: str, place: Place) -> Document | None:
        full = os.path.join(self._root, path)
        if not os.path.isfile(full):
            raise Fault(error("M203", place, f"$ref {ref!r}: there is no file {path}", hint=self._near_file(path)))
        if len(self._files) >= MOST_FILES:
            raise Fault(error("M214", place, f"the spec refers to more than {MOST_FILES:,} files"))
        node, diagnostics = self._read(path)
        self.diagnostics += diagnostics
        if node is None:
            return None
        stem = posixpath.basename(path).partition(".")[0]
        return Document(path, node, label=stem, in_spec=False, file=path)

    def _near_file(self, path: str) -> str:
        folder = posixpath.dirname(path)
        try:
            names = os.listdir(os.path.join(self._root, folder))
        except OSError:
            return f"there is no folder {folder}" if folder else ""
        found = suggest.near(posixpath.basename(path), names[:10_000])
        return f'did you mean "{posixpath.join(folder, found)}"?' if found else ""


def _member(node: Node, token: str) -> Node | None:
    if isinstance(node, MapNode):
        return node.get(token)
    if isinstance(node, ListNode) and token.isdecimal() and len(token) < 7 and int(token) < len(node.items):
        return node.items[int(token)]
    return None
