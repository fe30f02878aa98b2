"""`motia_types/schemas.py`: the classes and aliases of all schemas, and how other modules refer to them."""

from __future__ import annotations

import keyword
import re

from motia_generator.module import module
from motia_generator.names import FIELD_RESERVED
from motia_generator.schema_types import ANY, Class, SchemaTypes, Typ, class_lines
from motia_generator.shapes import assertions, is_class, merge, resolve
from motia_generator.source import INDENT, Expr, assignment, call, docstring, index, quote, text
from motia_spec.model import Schema

_BUILTIN = re.compile(r"Any|None|bool|int|float|str|dict\[str, Any\]|list\[Any\]")
_KEY = re.compile(r"[a-z][a-z0-9_]*")


class Sites:
    """Types of schema sites as other modules write them: `schemas.Order`, or a builtin. What is longer gets an alias."""

    def __init__(self, types: SchemaTypes) -> None:
        self.types = types
        self.exprs: dict[str, Expr] = {}  # schema id -> expression
        self.typed_dicts: dict[str, tuple[tuple[tuple[str, Expr, bool], ...], tuple[str, ...]]] = {}

    def of(self, schema: Schema | None, hint: str) -> Expr:
        """The expression for a site; Any without a schema."""
        if schema is None:
            return ANY
        found = self.exprs.get(schema.id)
        if found is None:
            typ = self.types.site(schema, hint)
            found = self.exprs[schema.id] = self._outside(typ, hint)
        return found

    def query(self, schema: Schema, hint: str) -> Expr:
        """A TypedDict with wire names for an object of query parameters; total where a value is required or has a default."""
        _, value = resolve(schema.value, self.types.defs)
        found = assertions(value)
        if not isinstance(found, dict) or not is_class(found, self.types.defs):
            return self.of(schema, hint)
        merged = merge(found, self.types.defs)
        name = self.types.scope.unique(hint)
        keys, parts = [], []
        for wire in dict.fromkeys([*merged.properties, *merged.required]):
            described = merged.properties.get(wire, True)
            typ = self.types.build(described, hint + wire.title())
            always = wire in merged.required or (isinstance(described, dict) and "default" in described)
            keys.append((wire, typ.expr, always))
            parts.append(typ)
        gaps = frozenset(merged.gaps).union(*(p.gaps for p in parts), {"additionalProperties"} if merged.closed else ())
        refs = frozenset[tuple[str, bool]]().union(*(p.refs for p in parts))
        self.typed_dicts[name] = (tuple(keys), ())
        self.types.sites[schema.id] = Typ(text(name), gaps, refs)
        self.exprs[schema.id] = text(f"schemas.{name}")
        return self.exprs[schema.id]

    def _outside(self, typ: Typ, hint: str) -> Expr:
        flat = typ.expr.flat()
        if _BUILTIN.fullmatch(flat):
            return typ.expr
        known = flat in self.types.classes or flat in self.types.aliases
        if not known:
            flat = self.types.scope.unique(hint)
            self.types.alias(flat, typ)
        return text(f"schemas.{flat}")


def schemas_module(types: SchemaTypes, sites: Sites) -> str:
    blocks = [_class(cls) for cls in types.classes.values()]
    blocks += [typed_dict(name, keys) for name, (keys, _) in sites.typed_dicts.items()]
    body = "\n\n\n".join(blocks)
    aliases = []
    for name, (doc, expr) in types.aliases.items():
        aliases.append("\n".join([assignment(name, text("TypeAlias"), expr), *docstring(list(doc))]))
    if aliases:
        body += ("\n\n\n" if blocks else "") + "\n".join(aliases)
    return module(["The data shapes of the app."], body, modules=("formats",))


def _class(cls: Class) -> str:
    options = ["kw_only=True"]
    if cls.tag is not None:
        options += [f"tag_field={quote(cls.tag[0])}", f"tag={quote(cls.tag[1])}"]
    if cls.closed:
        options.append("forbid_unknown_fields=True")
    head = call(f"class {cls.name}", text("Model"), *map(text, options)).render("", 0, 1) + ":"
    body = docstring(cls.doc, INDENT)
    lines = [assignment(name, annotation, value, INDENT) for name, annotation, value in class_lines(cls)]
    if body and lines:
        body.append("")
    return "\n".join([head, *body, *lines])


def typed_dict(name: str, keys: tuple[tuple[str, Expr, bool], ...]) -> str:
    """A TypedDict: as a class when all keys are fitting names, else by a call. Third of a key: is it always there?"""
    typed = [(k, e if always else index("NotRequired", e)) for k, e, always in keys]
    if all(_KEY.fullmatch(k) and not keyword.iskeyword(k) and k not in FIELD_RESERVED for k, _ in typed):
        return "\n".join([f"class {name}(TypedDict):", *(assignment(k, e, None, INDENT) for k, e in typed)])
    pairs = tuple(
        Expr(f"{quote(k)}: {e.head}", e.parts, e.brackets) if e.brackets != "|" else _pair(k, e) for k, e in typed
    )
    return assignment(name, None, call("TypedDict", text(quote(name)), Expr("", pairs, "{}")))


def _pair(key: str, union: Expr) -> Expr:
    return Expr(f"{quote(key)}: {union.flat()}")
