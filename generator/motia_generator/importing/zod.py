"""zod's schemas as JSON Schema: what `z.toJSONSchema(schema, {io: "input"})` gives, read from the calls instead of run.

An object takes further properties unless it is `strict`, as zod's own do. What zod does to values (transform, refine, coerce) has no JSON Schema; the
shape is kept and a note says what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from motia_generator.importing.values import Shape, Unknown, Value, first_unknown, is_plain
from motia_spec.node import JSON

Tell = Callable[[int, str], None]  # line, text

_PLAIN: dict[str, JSON] = {
    "string": {"type": "string"}, "number": {"type": "number"}, "boolean": {"type": "boolean"}, "null": {"type": "null"},
    "int": {"type": "integer"}, "int32": {"type": "integer"}, "bigint": {"type": "integer"}, "any": {}, "unknown": {}, "never": {"not": {}},
    "float32": {"type": "number"}, "float64": {"type": "number"}, "date": {"type": "string", "format": "date-time"},
    "nan": {"type": "number"}, "json": {},
}  # fmt: skip
_FORMATS = {
    "email": "email", "url": "uri", "uuid": "uuid", "guid": "uuid", "uuidv4": "uuid", "datetime": "date-time", "date": "date", "time": "time",
    "duration": "duration", "ipv4": "ipv4", "ipv6": "ipv6",
}  # fmt: skip
_STRINGS = frozenset(
    {
        *_FORMATS,
        "cuid",
        "cuid2",
        "ulid",
        "nanoid",
        "base64",
        "base64url",
        "jwt",
        "emoji",
        "ip",
        "cidr",
        "cidrv4",
        "cidrv6",
        "e164",
        "xid",
        "ksuid",
    }
)
_KEPT = frozenset(
    {
        "trim",
        "toLowerCase",
        "toUpperCase",
        "normalize",
        "brand",
        "readonly",
        "finite",
        "safe",
        "strip",
        "describe",
        "meta",
        "openapi",
        "overwrite",
    }
)
_LOSSY = {
    "transform": "values are not transformed", "refine": "the check is not made", "superRefine": "the check is not made", "check": "the check is not made",
    "pipe": "the second schema is not applied", "catch": "values that don't fit are refused", "preprocess": "values are not changed before",
    "coerce": "values are not converted",
}  # fmt: skip


class Zod(msgspec.Struct, frozen=True):
    """The module zod, or a part of it such as `z.coerce`."""

    part: str = ""


class Lazy(msgspec.Struct, frozen=True):
    """A function without parameters that gives a value, as `z.lazy` takes it."""

    value: Value


def construct(zod: Zod, name: str, arguments: list[Value], line: int, tell: Tell) -> Value:
    """`z.name(...)`: a Shape, or Unknown."""
    args = [a for a in arguments if not isinstance(a, Unknown)]
    if name == "lazy":
        inner = arguments[0] if arguments else None
        return (
            inner.value
            if isinstance(inner, Lazy)
            else Unknown("z.lazy with a function that is more than an expression", line)
        )
    if name in ("toJSONSchema", "zodToJsonSchema") and args and isinstance(args[0], Shape):
        return args[0]
    if zod.part == "iso" and name in _FORMATS:
        return Shape({"type": "string", "format": _FORMATS[name]})
    if zod.part == "coerce" and name in _PLAIN:
        tell(line, f"z.coerce.{name}: {_LOSSY['coerce']}")
    if name in ("undefined", "void", "any", "unknown"):
        return Shape({}, optional=True)  # zod takes objects without such a property
    if name in _PLAIN:
        return Shape(_PLAIN[name])
    if name in _STRINGS:
        return Shape(_string_format(name))
    if name in ("nativeEnum", "enum") and args:
        values = list(args[0].values()) if isinstance(args[0], dict) else args[0]
        if isinstance(values, list) and is_plain(values):
            kinds = {"string" if isinstance(v, str) else "number" for v in values}
            return Shape({"type": kinds.pop(), "enum": values} if len(kinds) == 1 else {"enum": values})
    if name == "literal" and args and is_plain(args[0]):
        values = args[0] if isinstance(args[0], list) else [args[0]]
        return Shape({"const": values[0]} if len(values) == 1 else {"enum": values})
    if name in ("object", "strictObject", "looseObject", "interface"):
        rows = args[0] if args else {}
        if isinstance(rows, dict):
            return _object(rows, line, tell, closed=name == "strictObject")
    if name == "preprocess" and len(args) > 1 and isinstance(args[1], Shape):
        tell(line, f"z.preprocess: {_LOSSY['preprocess']}")
        return args[1]
    return _composed(name, args, line)


def _composed(name: str, args: list[Value], line: int) -> Value:
    first = args[0] if args else None
    shapes = [a for a in args if isinstance(a, Shape)]
    if name == "array" and isinstance(first, Shape):
        return Shape({"type": "array", "items": first.value})
    if name in ("optional", "nullable", "nullish") and isinstance(first, Shape):
        return method(first, name, [], line, lambda _line, _text: None)
    if name == "tuple" and isinstance(first, list) and all(isinstance(item, Shape) for item in first):
        items: list[JSON] = [item.value for item in first]
        return Shape(
            {
                "type": "array",
                "prefixItems": items,
                "items": shapes[0].value if shapes else False,
                "minItems": len(items),
            }
        )
    members = first if isinstance(first, list) else args[1] if len(args) > 1 else None
    if (
        name in ("union", "discriminatedUnion", "xor")
        and isinstance(members, list)
        and all(isinstance(m, Shape) for m in members)
    ):
        return Shape({"anyOf": [m.value for m in members]}, optional=any(m.optional for m in members))
    if name == "intersection" and len(shapes) == 2:
        return Shape({"allOf": [s.value for s in shapes]})
    if name in ("record", "partialRecord", "looseRecord") and shapes:
        found: dict[str, JSON] = {"type": "object"}
        if len(shapes) > 1 and shapes[0].value != {"type": "string"}:
            found["propertyNames"] = shapes[0].value
        if shapes[-1].value != {}:
            found["additionalProperties"] = shapes[-1].value
        return Shape(found)
    return Unknown(f"z.{name}", line)


def _string_format(name: str) -> JSON:
    return {"type": "string", "format": _FORMATS[name]} if name in _FORMATS else {"type": "string"}


def _object(rows: dict[str, Value], line: int, tell: Tell, *, closed: bool = False, further: JSON = None) -> Value:
    members: dict[str, Shape] = {}
    for name, value in rows.items():
        unknown = first_unknown(value)
        if unknown is not None or not isinstance(value, Shape):
            tell(
                unknown.line if unknown else line,
                f"property {name!r} may be anything: {unknown.why if unknown else 'it is no schema'} is not read",
            )
            value = Shape({}, optional=True)
        members[name] = value
    found: dict[str, Any] = {"type": "object", "properties": {name: m.value for name, m in members.items()}}
    required = [name for name, m in members.items() if not m.optional]
    if required:
        found["required"] = required
    if closed:
        found["additionalProperties"] = False
    elif further is not None:
        found["additionalProperties"] = further
    return Shape(found, members=members)


def method(shape: Shape, name: str, arguments: list[Value], line: int, tell: Tell) -> Value:
    """`shape.name(...)`: a Shape, or Unknown."""
    args = arguments
    first = args[0] if args else None
    if name == "optional" or name == "exactOptional":
        return msgspec.structs.replace(shape, optional=True)
    if name == "nullable":
        return _with(shape, _nullable(shape.value))
    if name == "nullish":
        return msgspec.structs.replace(_with(shape, _nullable(shape.value)), optional=True)
    if name in ("nonoptional", "unwrap"):
        return msgspec.structs.replace(shape, optional=False)
    if name in ("default", "prefault"):
        if is_plain(first):
            return msgspec.structs.replace(_with(shape, {**_mapping(shape.value), "default": first}), optional=True)
        tell(line, f"{name}: the value is not read, so the property may be absent without one")
        return msgspec.structs.replace(shape, optional=True)
    if name in ("describe", "meta"):
        texts = {"description": first} if isinstance(first, str) else first if isinstance(first, dict) else {}
        kept = {
            k: v for k, v in texts.items() if k in ("title", "description", "examples", "deprecated") and is_plain(v)
        }
        return _with(shape, {**_mapping(shape.value), **kept}) if kept else shape
    if name in _KEPT:
        return shape
    if name in _LOSSY:
        tell(line, f"{name}: {_LOSSY[name]}")
        return shape
    if name == "array":
        return Shape({"type": "array", "items": shape.value})
    if name in ("or", "and") and isinstance(first, Shape):
        return Shape({"anyOf" if name == "or" else "allOf": [shape.value, first.value]})
    if shape.members is not None:
        found = _of_object(shape, shape.members, name, first, line, tell)
        if found is not None:
            return found
    limited = _limited(_mapping(shape.value), name, first)
    if limited is not None:
        return _with(shape, limited)
    if name == "regex" and isinstance(first, Unknown):
        tell(line, "a regular expression with flags, or one that is made elsewhere, is not carried over")
        return shape
    return Unknown(f".{name}()", line)


def _of_object(shape: Shape, members: dict[str, Shape], name: str, first: Value, line: int, tell: Tell) -> Value | None:
    rows: dict[str, Value] = dict(members)
    given = first if isinstance(first, dict) else {}
    found = _mapping(shape.value)
    closed = found.get("additionalProperties") is False
    if name in ("extend", "safeExtend", "augment"):
        other = first.members if isinstance(first, Shape) else given
        return _object({**rows, **(other or {})}, line, tell, closed=closed)
    if name == "merge" and isinstance(first, Shape) and first.members is not None:
        return _object({**rows, **first.members}, line, tell, closed=closed)
    if name in ("pick", "omit"):
        return _object({n: m for n, m in rows.items() if (n in given) == (name == "pick")}, line, tell, closed=closed)
    if name in ("partial", "deepPartial", "required"):
        chosen = {
            n: msgspec.structs.replace(m, optional=name != "required") if not given or n in given else m
            for n, m in members.items()
        }
        return _object(dict(chosen), line, tell, closed=closed)
    if name in ("strict", "passthrough", "loose", "strip", "catchall"):
        further = first.value if name == "catchall" and isinstance(first, Shape) else None
        return _object(rows, line, tell, closed=name == "strict", further=further)
    if name == "keyof":
        return Shape({"type": "string", "enum": list(members)})
    return None


def _limited(found: dict[str, Any], name: str, value: Value) -> dict[str, Any] | None:
    """A string, number or array with one limit more; None for what is no limit."""
    kind = found.get("type")
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    words = {
        "string": ("minLength", "maxLength"),
        "array": ("minItems", "maxItems"),
        "number": ("minimum", "maximum"),
        "integer": ("minimum", "maximum"),
    }
    low, high = words.get(kind, ("", "")) if isinstance(kind, str) else ("", "")
    if not low:
        return None
    if kind in ("number", "integer"):
        fixed: dict[str, tuple[str, Any]] = {
            "positive": ("exclusiveMinimum", 0), "negative": ("exclusiveMaximum", 0), "nonnegative": ("minimum", 0), "nonpositive": ("maximum", 0),
            "int": ("type", "integer"),
        }  # fmt: skip
        named = {
            "gt": "exclusiveMinimum",
            "lt": "exclusiveMaximum",
            "gte": low,
            "lte": high,
            "min": low,
            "max": high,
            "multipleOf": "multipleOf",
            "step": "multipleOf",
        }
        if name in fixed:
            return {**found, fixed[name][0]: fixed[name][1]}
        return {**found, named[name]: number} if name in named and number is not None else None
    if name == "nonempty":
        return {**found, low: 1}
    if name in ("min", "max") and number is not None:
        return {**found, low if name == "min" else high: number}
    if name == "length" and number is not None:
        return {**found, low: number, high: number}
    if kind == "array":
        return None
    if name in _STRINGS:
        return {**found, **_mapping(_string_format(name))}
    if name == "regex" and isinstance(value, Shape):  # a pattern, as the reader of expressions gives it
        return {**found, **_mapping(value.value)}
    if name in ("startsWith", "endsWith", "includes") and isinstance(value, str):
        plain = re.escape(value)
        return {**found, "pattern": {"startsWith": f"^{plain}", "endsWith": f"{plain}$", "includes": plain}[name]}
    return None


def _nullable(schema: JSON) -> JSON:
    found = _mapping(schema)
    if found in ({}, {"type": "null"}):
        return schema
    if isinstance(found.get("type"), str) and not {"enum", "const"} & set(found):
        return {**found, "type": [found["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _with(shape: Shape, value: JSON) -> Shape:
    """The same with another schema. It is no shared one any more."""
    return msgspec.structs.replace(shape, value=value, key=None)


def _mapping(schema: JSON) -> dict[str, Any]:
    return schema if isinstance(schema, dict) else {}
