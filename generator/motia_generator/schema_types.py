"""JSON Schema to Python types for msgspec, exact where msgspec can say it, wider where not.

`SchemaTypes` walks the schemas of a project once. Each schema site gets a `Typ`: the type's expression and its gaps, the keywords
that the type alone does not enforce; the runtime then validates a second time, with the schema itself. Everything named becomes a class
or an alias of the module `motia_types.schemas`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from motia_generator import scalars, shapes
from motia_generator.defaults import default_of
from motia_generator.names import CLASS_RESERVED, Scope, class_name, field_names
from motia_generator.shapes import Object, assertions, kinds, resolve
from motia_generator.source import Expr, call, either, index, literal, text
from motia_spec.model import Project, Schema
from motia_spec.node import JSON

ANY = text("Any")
NULL = text("None")
ANY_OBJECT = index("dict", text("str"), ANY)
ANY_LIST = index("list", ANY)


class Typ(msgspec.Struct, frozen=True):
    """A type and what it does not enforce: its own keywords, and the schemas it refers to (True: as a member of a tagged union)."""

    expr: Expr
    gaps: frozenset[str] = frozenset()
    refs: frozenset[tuple[str, bool]] = frozenset()

    def but(self, *keywords: str) -> Typ:
        return Typ(self.expr, self.gaps | set(keywords), self.refs)


class Field(msgspec.Struct, frozen=True):
    name: str
    wire: str
    typ: Typ
    optional: bool
    default: Expr | None  # a value to fill in; None: there is none


class Class(msgspec.Struct):
    """A class to be written. `tag` is set when the class turns out to be a member of a tagged union."""

    name: str
    doc: tuple[str, ...]
    fields: list[Field] = []
    closed: bool = False
    tag: tuple[str, str] | None = None  # wire name and value


class Definition(msgspec.Struct):
    """A schema of `Project.defs`, while it is made and after."""

    name: str
    is_class: bool
    typ: Typ = Typ(ANY)
    done: bool = False


def merged_typ(parts: list[Typ]) -> Typ:
    gaps = frozenset[str]().union(*(p.gaps for p in parts))
    return Typ(either(p.expr for p in parts), gaps, frozenset[tuple[str, bool]]().union(*(p.refs for p in parts)))


class SchemaTypes:
    """Types for every schema of a project. `scope` holds the names that are taken in `motia_types`."""

    def __init__(self, project: Project, scope: Scope | None = None) -> None:
        self.defs = project.defs
        self.scope = scope or Scope(CLASS_RESERVED)
        self.classes: dict[str, Class] = {}
        self.aliases: dict[str, tuple[tuple[str, ...], Expr]] = {}  # in the order in which they can be evaluated
        self.definitions: dict[str, Definition] = {}
        self.sites: dict[str, Typ] = {}
        self._built: dict[int, tuple[JSON, Typ]] = {}
        self._names: dict[str, str] = {}  # def key -> name
        self._open: list[str | None] = []  # def keys being made; None: inside a class, where names are resolved late

    def name_section(self, project: Project) -> dict[str, str]:
        """Give the schemas of the `schemas:` section their names, before anything else takes one: section name -> Python name."""
        named = {}
        for name, schema in project.schemas.items():
            named[name] = self.scope.unique(class_name(name))
            key = shapes.ref_key(schema.value)
            if key is not None and key in self.defs:
                self._names.setdefault(key, named[name])
        return named

    def name_rest(self) -> None:
        """Name the other shared schemas."""
        for key in self.defs:
            if key not in self._names:
                self._names[key] = self.scope.unique(class_name(key.rpartition("/")[2] or key))

    def site(self, schema: Schema, hint: str) -> Typ:
        """The type at one place of the spec. `hint` names the class, if one has to be made for it."""
        typ = self.sites.get(schema.id)
        if typ is None:
            typ = self.sites[schema.id] = self.build(schema.value, hint)
        return typ

    def alias(self, name: str, typ: Typ, doc: tuple[str, ...] = ()) -> None:
        self.aliases[name] = (doc, typ.expr)

    def gaps(self, typ: Typ) -> tuple[str, ...]:
        """The keywords that a type does not enforce, those of everything it refers to included. Sorted."""
        found, todo, seen = set(typ.gaps), list(typ.refs), set[tuple[str, bool]]()
        while todo:
            ref = todo.pop()
            if ref in seen:
                continue
            seen.add(ref)
            definition = self.definitions[ref[0]]
            found |= definition.typ.gaps
            cls = self.classes.get(definition.name)
            if cls is not None and cls.tag is not None and not ref[1]:
                found.add("required")  # msgspec lets the tag of a lone class be absent
            todo += definition.typ.refs
        return tuple(sorted(found))

    # -- one schema ----------------------------------------------------------------------------------------------

    def build(self, schema: JSON, hint: str) -> Typ:
        typ = self._build(schema, hint)
        known = self._built.get(id(schema))
        both = typ if known is None else Typ(typ.expr, typ.gaps | known[1].gaps, typ.refs | known[1].refs)
        self._built[id(schema)] = schema, both  # the schema is kept as well, so that its id stays its own
        return typ

    def built(self, schema: JSON) -> Typ | None:
        """What was made of a schema object, its gaps at all places together. None when nothing was."""
        known = self._built.get(id(schema))
        return None if known is None else known[1]

    def _build(self, schema: JSON, hint: str) -> Typ:
        found = assertions(schema)
        if not isinstance(found, dict):
            return Typ(ANY) if found else Typ(ANY, frozenset({"false"}))
        if set(found) == {"$ref"}:
            return self.ref(shapes.ref_key(found) or "")
        if "const" in found or "enum" in found:
            return self._constants(found)
        admitted = kinds(found, self.defs)
        found = {k: v for k, v in found.items() if shapes.KIND_OF.get(k) in {None, *admitted}}
        if not found or not admitted:
            return Typ(ANY, frozenset() if admitted else frozenset({"type"}))
        if shapes.is_class(found, self.defs):
            return self._class(self.scope.unique(class_name(hint)), found, _doc(schema))
        for keyword in ("anyOf", "oneOf"):
            if keyword in found and not (set(found) - {keyword, "type"}) and self._type_adds_nothing(found, keyword):
                return self._union(keyword, found[keyword], hint)
        if "$ref" in found:
            rest = set(found) - {"$ref"}
            rest -= self._implied(found, rest)
            if rest and admitted & _LOSSY:
                return Typ(_generic(admitted), frozenset(found))
            return self.ref(shapes.ref_key(found) or "").but(*rest)
        if "allOf" in found:
            return self._all_of(found, admitted, hint)
        return self._plain(found, admitted, hint)

    def ref(self, key: str, *, in_union: bool = False) -> Typ:
        if key not in self.defs:
            return Typ(ANY, frozenset({"$ref"}))
        definition = self.definitions.get(key)
        if definition is None:
            definition = self._define(key)
        elif not definition.done and None not in self._open[self._open.index(key) :]:
            return Typ(ANY, frozenset({"$ref"}))  # an alias can't refer to itself
        return Typ(text(definition.name), frozenset(), frozenset({(key, in_union)}))

    def _define(self, key: str) -> Definition:
        schema = self.defs[key]
        name = self._names.get(key) or self.scope.unique(class_name(key))
        found = assertions(schema)
        definition = Definition(
            name, isinstance(found, dict) and "$ref" not in found and shapes.is_class(found, self.defs)
        )
        self.definitions[key] = definition
        self._open.append(key)
        if definition.is_class and isinstance(found, dict):
            definition.typ = self._class(name, found, _doc(schema))
        else:
            definition.typ = self.build(schema, name)
            self.alias(name, definition.typ, _doc(schema))
        self._open.pop()
        definition.done = True
        return definition

    def _type_adds_nothing(self, found: Object, keyword: str) -> bool:
        """A `type` beside a union only repeats what its members say."""
        bare = {k: v for k, v in found.items() if k != "type"}
        return "integer" not in shapes.types_of(found) and kinds(bare, self.defs) == kinds(found, self.defs)

    def _implied(self, found: Object, rest: set[str]) -> set[str]:
        """A `type` beside a `$ref` that the target has as well."""
        target = {"$ref": found["$ref"]}
        same = "integer" not in shapes.types_of(found) and kinds(target, self.defs) == kinds(found, self.defs)
        return {"type"} & rest if same else set()

    # -- classes ---------------------------------------------------------------------------------------------------

    def _class(self, name: str, found: Object, doc: tuple[str, ...]) -> Typ:
        merged = shapes.merge(found, self.defs)
        described = list(dict.fromkeys([*merged.properties, *merged.required, *merged.mentioned]))
        undescribed = merged.closed and any(wire not in merged.properties for wire in merged.required)
        cls = self.classes[name] = Class(name, doc, closed=merged.closed)
        names = field_names(described)
        self._open.append(None)
        for wire in described:
            schema = merged.properties.get(wire, True)
            typ = self.build(schema, name + class_name(wire))
            optional = wire not in merged.required
            judged = wire in merged.mentioned  # by its presence: it is not to be made up
            default = default_of(schema, typ.expr, self.defs) if optional and not judged else None
            cls.fields.append(Field(names[wire], wire, typ, optional, default))
        self._open.pop()
        inner = merged_typ([f.typ for f in cls.fields])
        gaps = inner.gaps | merged.gaps | ({"required"} if undescribed else set())
        return Typ(text(name), gaps, inner.refs)

    # -- alternatives ----------------------------------------------------------------------------------------------

    def _constants(self, found: Object) -> Typ:
        values: list[JSON] = list(found["enum"]) if "enum" in found else [found["const"]]
        rest = set(found) - {"enum", "const", "type"}
        if "enum" in found and "const" in found:
            rest.add("const")
        words = shapes.types_of(found)
        if words:
            values = [v for v in values if scalars.is_type(v, words)]
        expr, exact = scalars.constants(values)
        return Typ(expr, frozenset(rest if exact else rest | {"enum" if "enum" in found else "const"}))

    def _union(self, keyword: str, members: list[JSON], hint: str) -> Typ:
        members = [m for m in members if kinds(m, self.defs)]
        values = scalars.constant_members(members)
        if values is not None:
            expr, exact = scalars.constants(values)
            repeated = keyword == "oneOf" and len(
                {(type(v), v) for v in values if not isinstance(v, list | dict)}
            ) < len(values)
            return Typ(expr, frozenset() if exact and not repeated else frozenset({keyword}))
        admitted = [kinds(m, self.defs) for m in members]
        objects = [m for m, k in zip(members, admitted, strict=True) if k == {"object"}]
        others = [(m, k) for m, k in zip(members, admitted, strict=True) if k != {"object"}]
        counts = Counter(kind for _, admits in others for kind in admits)
        counts.update({"object"} if objects else ())
        overlapping = {kind for kind, count in counts.items() if count > 1}
        containers = any({"array", "object"} & admits for _, admits in others)
        containers |= not all(shapes.is_class(resolve(m, self.defs)[1], self.defs) for m in objects)
        parts, gap = [], bool(overlapping) or not members
        if "object" in overlapping:
            parts.append(Typ(ANY_OBJECT))
        elif len(objects) == 1:
            parts.append(self.build(objects[0], hint))
        elif objects:
            tagged = self._tagged(objects, hint)
            gap |= tagged is None
            containers |= tagged is None
            parts.append(tagged or Typ(ANY_OBJECT))
        for member, admits in others:
            unsafe = containers and "string" in admits and shapes.has_pattern(member, self.defs)  # see _plain
            gap |= unsafe
            if unsafe or admits & overlapping:
                parts += [Typ(_GENERIC[kind]) for kind in sorted(admits)]
            else:
                parts.append(self.build(member, hint))
        typ = merged_typ(parts) if parts else Typ(ANY)
        return typ.but(keyword) if gap else typ

    def _tagged(self, members: list[JSON], hint: str) -> Typ | None:
        """A union that a constant property tells apart. None when there is no such property in every member."""
        tags = [shapes.tag_of(member, self.defs) for member in members]
        for wire in tags[0]:
            values = [t.get(wire) for t in tags]
            if None in values or len(set(values)) < len(values) or wire != field_names([wire])[wire]:
                continue
            if any(self._other_tag(m, wire, str(v)) for m, v in zip(members, values, strict=True)):
                continue
            parts = []
            for member, value in zip(members, values, strict=True):
                key, target = resolve(member, self.defs)
                if key is not None:
                    typ = self.ref(key, in_union=True)
                    cls = self.classes[self.definitions[key].name]
                else:
                    typ = self.build(target, f"{hint} {value}")
                    cls = self.classes[typ.expr.flat()]
                cls.tag = (wire, str(value))
                parts.append(typ)
            return merged_typ(parts)
        return None

    def _other_tag(self, member: JSON, wire: str, value: str) -> bool:
        """Is this member's class already told apart by something else, or not to be had as a class?"""
        key, target = resolve(member, self.defs)
        if key is None:
            return False
        found = assertions(target)
        if not isinstance(found, dict) or "$ref" in found:
            return True
        definition = self.definitions.get(key) or self._define(key)
        cls = self.classes.get(definition.name)
        return cls is None or cls.tag not in (None, (wire, value))

    def _all_of(self, found: Object, admitted: frozenset[str], hint: str) -> Typ:
        """allOf of scalars: one schema when no keyword is said twice; else the first member's type, which is wider."""
        flat: Object = {k: v for k, v in found.items() if k != "allOf"}
        for member in found["allOf"]:
            inner = assertions(member)
            if inner is True:
                continue
            if inner is False or any(k not in scalars.INDEPENDENT or flat.get(k, v) != v for k, v in inner.items()):
                break
            flat |= inner
        else:
            if set(flat) <= scalars.INDEPENDENT:
                return self.build(flat, hint)
        rest = {k: v for k, v in found.items() if k != "allOf"}
        if shapes.types_of(rest):
            return self._plain(rest, admitted, hint).but("allOf")
        first = next((m for m in found["allOf"] if kinds(m, self.defs) != shapes.KINDS), True)
        if kinds(first, self.defs) & _LOSSY:
            return Typ(_generic(admitted), frozenset(found))
        return self.build(first, hint).but("allOf", *rest)

    # -- by type ---------------------------------------------------------------------------------------------------

    def _plain(self, found: Object, admitted: frozenset[str], hint: str) -> Typ:
        if admitted == shapes.KINDS:
            return Typ(ANY, frozenset(found))
        words = shapes.types_of(found)
        order = [k for w in words if (k := "number" if w == "integer" else w) in admitted] or sorted(admitted)
        parts = []
        for kind in dict.fromkeys(order):
            own = {k: v for k, v in found.items() if shapes.KIND_OF.get(k) == kind}
            if kind in _LOSSY and not {"$ref", *shapes.IN_PLACE}.isdisjoint(found):
                parts.append(Typ(_GENERIC[kind], frozenset(own)))
            elif kind == "number":
                expr, gaps = scalars.number(own, integer="integer" in words and "number" not in words)
                parts.append(Typ(expr, frozenset(gaps)))
            elif kind == "string":
                # msgspec 0.22 frees the regular expression of a text beside a list or dict as if it were a type: memory
                # is corrupted when a decoder is dropped, and by every `convert`. So the second tier has these.
                unsafe = {"pattern", "format"} & set(own) if {"array", "object"} & set(order) else set[str]()
                expr, gaps = scalars.string({k: v for k, v in own.items() if k not in unsafe})
                parts.append(Typ(expr, frozenset(gaps | unsafe)))
            elif kind == "array":
                parts.append(self._array(own, hint))
            elif kind == "object":
                parts.append(self._object(own, hint))
            else:
                parts.append(Typ(NULL if kind == "null" else text("bool")))
        return merged_typ(parts).but(*(k for k in found if k != "type" and k not in shapes.KIND_OF))

    def _array(self, own: Object, hint: str) -> Typ:
        least, most = own.get("minItems", 0), own.get("maxItems")
        prefix = own.get("prefixItems", [])
        rest = set(own) - {"minItems", "maxItems", "items", "prefixItems"}
        if prefix:
            if own.get("items") is False and least >= len(prefix) and (most is None or most >= len(prefix)):
                items = [self.build(item, f"{hint} item {n + 1}") for n, item in enumerate(prefix)]
                inner = merged_typ(items)
                wrong_length = {"minItems"} if least > len(prefix) else set()
                return Typ(index("tuple", *(i.expr for i in items)), inner.gaps | rest | wrong_length, inner.refs)
            return Typ(_sized(ANY_LIST, least, most), frozenset(rest | {"prefixItems", *({"items"} & set(own))}))
        if own.get("items") is False:
            most = 0
        items = own.get("items", True)
        item = self.build(items, f"{hint} item") if items is not False else Typ(ANY)
        if "items" in own and kinds(items, self.defs) & _LOSSY and not {"uniqueItems", "contains"}.isdisjoint(own):
            item = Typ(_generic(kinds(items, self.defs)), frozenset({"items"}))
        big = scalars.too_long(least, most)
        expr = index("list", item.expr)
        return Typ(
            expr if big else _sized(expr, least, most), item.gaps | rest | ({"minItems"} if big else set()), item.refs
        )

    def _object(self, own: Object, hint: str) -> Typ:
        if shapes.is_class({"type": "object", **own}, self.defs):
            return self._class(self.scope.unique(class_name(hint)), {"type": "object", **own}, ())
        least, most = own.get("minProperties", 0), own.get("maxProperties")
        rest = set(own) - {"minProperties", "maxProperties"}
        value = Typ(ANY)
        if {"properties", "patternProperties", "dependentSchemas"}.isdisjoint(own):
            extra = own.get("additionalProperties", True)
            if own.get("unevaluatedProperties") is False:
                extra = False
                rest.discard("unevaluatedProperties")
            if extra is False:
                most = 0
            else:
                value = self.build(extra, f"{hint} value")
            rest.discard("additionalProperties")
        big = scalars.too_long(least, most)
        expr = index("dict", text("str"), value.expr)
        return Typ(
            expr if big else _sized(expr, least, most),
            value.gaps | rest | ({"minProperties"} if big else set()),
            value.refs,
        )


_GENERIC = {
    "null": NULL,
    "boolean": text("bool"),
    "number": text("float"),
    "string": text("str"),
    "array": ANY_LIST,
    "object": ANY_OBJECT,
}

# Kinds whose values may lose something in a type: what a class does not name. Nothing that compares whole values, or judges them by
# what a class may not name, is beside a type of these kinds: what was valid when it was decoded is valid when it is encoded.
_LOSSY = frozenset({"array", "object"})


def _generic(admitted: frozenset[str]) -> Expr:
    return either(_GENERIC[kind] for kind in sorted(admitted))


def _sized(expr: Expr, least: int | float, most: int | float | None) -> Expr:
    if not least and most is None:
        return expr
    meta = [text(f"min_length={int(least)}")] if least else []
    meta += [] if most is None else [text(f"max_length={int(most)}")]
    return index("Annotated", expr, call("Meta", *meta))


def _doc(schema: JSON) -> tuple[str, ...]:
    if not isinstance(schema, dict):
        return ()
    title, description = schema.get("title"), schema.get("description")
    return tuple(t for t in (title, description) if isinstance(t, str))


def class_lines(cls: Class) -> Iterator[tuple[str, Expr | None, Expr | None]]:
    """The statements of a class's body: name, annotation, value."""
    if cls.tag is not None:
        value = literal(cls.tag[1])
        yield cls.tag[0], index("ClassVar", index("Literal", value)), value
    for field in cls.fields:
        if cls.tag is not None and field.wire == cls.tag[0]:
            continue
        unset = field.optional and field.default is None
        annotation = either([field.typ.expr, text("UnsetType")]) if unset else field.typ.expr
        default = text("UNSET") if unset else field.default
        renamed = [text(f"name={literal(field.wire).head}")] if field.name != field.wire else []
        if default is not None and default.head == "lambda":
            value_expr: Expr | None = call(
                "field",
                *renamed,
                Expr(
                    f"default_factory=lambda: {default.parts[0].head}",
                    default.parts[0].parts,
                    default.parts[0].brackets,
                ),
            )
        elif renamed:
            value_expr = call("field", *renamed, *([text(f"default={default.head}")] if default else []))
        else:
            value_expr = default
        yield field.name, annotation, value_expr
