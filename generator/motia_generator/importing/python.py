"""Python files of a project: what `config` and its parts are, read from the syntax tree. Nothing is run.

Schemas are JSON Schema written out, or models of pydantic (`Order.model_json_schema()`), whose fields are read from their annotations.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import msgspec

from motia_generator.importing.values import Code, Note, Shape, Unknown, Value
from motia_spec.names import unused
from motia_spec.node import JSON

_PLAIN: dict[str, JSON] = {
    "str": {"type": "string"}, "int": {"type": "integer"}, "float": {"type": "number"}, "bool": {"type": "boolean"}, "None": {"type": "null"},
    "Any": {}, "object": {}, "dict": {"type": "object"}, "Dict": {"type": "object"}, "list": {"type": "array"}, "List": {"type": "array"},
    "datetime": {"type": "string", "format": "date-time"}, "date": {"type": "string", "format": "date"}, "UUID": {"type": "string", "format": "uuid"},
    "EmailStr": {"type": "string", "format": "email"}, "HttpUrl": {"type": "string", "format": "uri"}, "AnyUrl": {"type": "string", "format": "uri"},
    "bytes": {"type": "string"}, "Decimal": {"type": "number"}, "PositiveInt": {"type": "integer", "exclusiveMinimum": 0},
}  # fmt: skip
_LIMITS = {
    "gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum", "multiple_of": "multipleOf", "pattern": "pattern",
    "title": "title", "description": "description",
}  # fmt: skip
_SCHEMA_OF = ("model_json_schema", "schema", "json_schema")


class Module(msgspec.Struct):
    path: str
    values: dict[str, ast.expr] = {}
    functions: dict[str, int] = {}
    classes: dict[str, ast.ClassDef] = {}
    imports: dict[str, tuple[str, str]] = {}  # local name -> (module, name there; empty for the module itself)
    fault: Note | None = None


class Pythons:
    """The Python files of one project, each read once. As `scripts.Scripts`."""

    def __init__(self, root: Path, notes: list[Note], shared: dict[str, object]) -> None:
        self._root = root
        self._notes = notes
        self._modules: dict[str, Module] = {}
        self._open: set[tuple[str, str]] = set()
        self._deriving: set[tuple[str, str]] = set()
        self._names: dict[tuple[str, str], str] = {}
        self.shared = shared

    def module(self, path: str) -> Module:
        found = self._modules.get(path)
        if found is None:
            found = self._modules[path] = Module(path)
            try:
                _read(ast.parse((self._root / path).read_bytes()), found)
            except SyntaxError as fault:
                found.fault = Note(path, fault.lineno or 1, f"the file can't be read: {fault.msg}")
            except (ValueError, RecursionError, OSError) as fault:
                found.fault = Note(path, 1, f"the file can't be read: {fault}")
        return found

    def exported(self, path: str, name: str) -> Value | None:
        """The value of a name of a file; None when it has none."""
        module = self.module(path)
        if name in module.functions:
            return Code(path, name, module.functions[name])
        return self.value(module.values[name], module) if name in module.values else None

    def _named(self, name: str, module: Module, line: int) -> Value:
        if name in module.values:
            key = module.path, name
            if key in self._open:
                return Unknown(f"{name!r}, which leads back to itself,", line, module.path)
            self._open.add(key)
            try:
                return self.value(module.values[name], module)
            finally:
                self._open.discard(key)
        if name in module.functions:
            return Code(module.path, name, module.functions[name])
        if name in module.classes:
            return self._class(name, module)
        if name in module.imports:
            source, there = module.imports[name]
            path = self._resolve(module.path, source)
            if path is not None and there:
                return self._named(there, self.module(path), line)
            return Unknown(f"{name!r} of {source!r}", line, module.path)
        return Unknown(f"{name!r}, which the file does not define,", line, module.path)

    def _resolve(self, path: str, source: str) -> str | None:
        """The file of a module, as `a.b` from the project or one of the folders above the file, or as `.b` beside it."""
        here = Path(path).parent
        if source.startswith("."):
            ups = len(source) - len(source.lstrip("."))
            folders = [Path(os.path.normpath(here.joinpath(*[".."] * (ups - 1))))]
        else:
            folders = [here, *here.parents]
        for folder in folders:
            stem = folder.joinpath(*source.strip(".").split("."))
            for candidate in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
                if ".." not in candidate.parts and (self._root / candidate).is_file():
                    return candidate.as_posix()
        return None

    def value(self, found: ast.expr, module: Module) -> Value:
        """The value of an expression of a file."""
        if isinstance(found, ast.Constant) and (found.value is None or isinstance(found.value, str | int | float)):
            return found.value
        if isinstance(found, ast.Name):
            return self._named(found.id, module, found.lineno)
        if isinstance(found, ast.Dict):
            return self._dict(found, module)
        if isinstance(found, ast.List | ast.Tuple):
            items: list[Value] = []
            for item in found.elts:
                value = self.value(item.value if isinstance(item, ast.Starred) else item, module)
                items += value if isinstance(item, ast.Starred) and isinstance(value, list) else [value]
            return items
        if (
            isinstance(found, ast.UnaryOp)
            and isinstance(found.op, ast.USub)
            and isinstance(found.operand, ast.Constant)
        ):
            number = found.operand.value
            return -number if isinstance(number, int | float) else Unknown("a calculation", found.lineno, module.path)
        if isinstance(found, ast.BinOp) and isinstance(found.op, ast.Add | ast.Mult):
            left, right = self.value(found.left, module), self.value(found.right, module)
            if (
                type(left) is type(right)
                and isinstance(left, str | int | float)
                and not (isinstance(left, str) and isinstance(found.op, ast.Mult))
            ):
                return left + right if isinstance(found.op, ast.Add) else left * right
        if isinstance(found, ast.JoinedStr):
            parts = [self.value(p.value if isinstance(p, ast.FormattedValue) else p, module) for p in found.values]
            if all(isinstance(part, str | int) for part in parts):
                return "".join(map(str, parts))
        if isinstance(found, ast.Call):
            return self._call(found, module)
        if isinstance(found, ast.Subscript):
            whole, key = self.value(found.value, module), self.value(found.slice, module)
            if isinstance(whole, dict) and isinstance(key, str | int) and str(key) in whole:
                return whole[str(key)]
        if isinstance(found, ast.Attribute):
            return self._member(found, module)
        if isinstance(found, ast.Lambda):
            return Code(module.path, "", found.lineno)
        return Unknown(f"`{_short(found)}`", found.lineno, module.path)

    def _member(self, found: ast.Attribute, module: Module) -> Value:
        """A member of an enum, or what a class has as its value."""
        name = found.attr
        of = found.value
        if name == "value" and isinstance(of, ast.Attribute):
            return self._member(of, module)
        home = self._home(of.id, module) if isinstance(of, ast.Name) else None
        for statement in home[0].body if home else ():
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                target = statement.targets[0]
                if isinstance(target, ast.Name) and target.id == name:
                    return statement.value.value
        return Unknown(f"`{_short(found)}`", found.lineno, module.path)

    def _dict(self, found: ast.Dict, module: Module) -> Value:
        rows: dict[str, Value] = {}
        for key, item in zip(found.keys, found.values, strict=True):
            value = self.value(item, module)
            if key is None:
                if isinstance(value, dict):
                    rows.update(value)
                else:
                    self._notes.append(Note(module.path, item.lineno, "what `**` puts in here is not read"))
                continue
            name = self.value(key, module)
            if isinstance(name, str | int):
                rows[str(name)] = value
            else:
                self._notes.append(Note(module.path, key.lineno, f"the key `{_short(key)}` is not read"))
        return rows

    def _call(self, found: ast.Call, module: Module) -> Value:
        if isinstance(found.func, ast.Attribute) and found.func.attr in _SCHEMA_OF:
            target = self.value(found.func.value, module)
            if isinstance(target, Shape):
                return target
        if isinstance(found.func, ast.Name) and found.func.id == "dict" and not found.args:
            return {k.arg: self.value(k.value, module) for k in found.keywords if k.arg is not None}
        return Unknown(f"the result of `{_short(found.func)}()`", found.lineno, module.path)

    # -- models ------------------------------------------------------------------------------------------------------

    def _class(self, name: str, module: Module) -> Value:
        """The schema of a model or an enum."""
        key = module.path, name
        node = module.classes[name]
        bases = [_last(base) for base in node.bases]
        if any(base.endswith("Enum") for base in bases):
            members = [s.value for s in node.body if isinstance(s, ast.Assign)]
            values = [m.value for m in members if isinstance(m, ast.Constant) and isinstance(m.value, str | int)]
            return Shape({"enum": list(values)})
        if key not in self._names:
            properties, required = self._fields(node, module, first=key)
            if properties is None or required is None:
                return Unknown(f"the class {name!r}, which is no model of pydantic", node.lineno, module.path)
            found: dict[str, Any] = {"type": "object", "properties": properties}
            if required:
                found["required"] = required
            self.shared[self._names[key]] = found
        return Shape({"$ref": f"#/schemas/{self._names[key]}"}, key=key)

    def _fields(
        self, node: ast.ClassDef, module: Module, *, first: tuple[str, str] | None = None
    ) -> tuple[dict[str, JSON] | None, list[str] | None]:
        """Properties and required names of a model, those of the models it derives from included; None for what is no model."""
        properties: dict[str, JSON] = {}
        required: list[str] = []
        is_model = False
        key = module.path, node.name
        if key in self._deriving:
            return None, None
        self._deriving.add(key)
        for base in node.bases:
            if _last(base) in ("BaseModel", "TypedDict"):
                is_model = True
            elif isinstance(base, ast.Name):
                home = self._home(base.id, module)
                inherited = self._fields(*home) if home else (None, None)
                if inherited[0] is not None and inherited[1] is not None:
                    is_model = True
                    properties |= inherited[0]
                    required += inherited[1]
        self._deriving.discard(key)
        if not is_model:
            return None, None
        if first is not None:  # before the fields: they may lead back to it
            self._names[first] = unused(first[1], {*self._names.values(), *self.shared})
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
                described, optional = self._field(statement, module)
                if _last(statement.annotation) != "ClassVar":
                    properties[name] = described
                    required = [r for r in required if r != name] + ([] if optional else [name])
        return properties, required

    def _home(self, name: str, module: Module) -> tuple[ast.ClassDef, Module] | None:
        """Where a class is defined."""
        if name in module.classes:
            return module.classes[name], module
        source, there = module.imports.get(name, ("", ""))
        path = self._resolve(module.path, source) if there else None
        other = self.module(path) if path else None
        return (other.classes[there], other) if other is not None and there in other.classes else None

    def _field(self, statement: ast.AnnAssign, module: Module) -> tuple[JSON, bool]:
        described = self._type(statement.annotation, module)
        value = statement.value
        if value is None:
            return described, False
        found: dict[str, Any] = dict(described) if isinstance(described, dict) else {}
        if isinstance(value, ast.Call) and _last(value.func) == "Field":
            optional = False
            default = (
                value.args[0] if value.args else next((k.value for k in value.keywords if k.arg == "default"), None)
            )
            if default is not None and not (isinstance(default, ast.Constant) and default.value is ...):
                optional = True
                value = default
            optional |= (
                any(k.arg == "default_factory" for k in value.keywords) if isinstance(value, ast.Call) else False
            )
            call = statement.value
            assert isinstance(call, ast.Call)
            for option in call.keywords:
                given = self.value(option.value, module)
                if option.arg in ("alias", "serialization_alias", "validation_alias"):
                    self._notes.append(
                        Note(module.path, option.value.lineno, "an alias of a field is not carried over")
                    )
                kind = "Items" if found.get("type") == "array" else "Length"
                lengths = {
                    "min_length": f"min{kind}",
                    "max_length": f"max{kind}",
                    "min_items": "minItems",
                    "max_items": "maxItems",
                }
                word = _LIMITS.get(option.arg or "") or lengths.get(option.arg or "")
                if word and isinstance(given, str | int | float):
                    found[word] = given
            if not optional or any(k.arg == "default_factory" for k in call.keywords):
                return found, optional or any(k.arg == "default_factory" for k in call.keywords)
        default_value = self.value(value, module)
        if default_value is not None and isinstance(default_value, str | int | float):
            found["default"] = default_value
        return found, True

    def _type(self, found: ast.expr, module: Module) -> JSON:
        """The schema of an annotation; anything where it can't be read, with a note."""
        if isinstance(found, ast.Constant):
            if isinstance(found.value, str):
                try:
                    return self._type(ast.parse(found.value, mode="eval").body, module)
                except SyntaxError:
                    return {}
            return {"type": "null"} if found.value is None else {}
        if isinstance(found, ast.BinOp) and isinstance(found.op, ast.BitOr):
            return _any_of([self._type(found.left, module), self._type(found.right, module)])
        if isinstance(found, ast.Subscript):
            inner = found.slice.elts if isinstance(found.slice, ast.Tuple) else [found.slice]
            return self._generic(_last(found.value), inner, module, found)
        name = _last(found)
        if isinstance(found, ast.Name) and (self._home(name, module) is not None or name in module.values):
            value = self._named(name, module, found.lineno)
            if isinstance(value, Shape):
                return value.value
        if name in _PLAIN:
            return _PLAIN[name]
        self._notes.append(
            Note(module.path, found.lineno, f"the type `{_short(found)}` may be anything: it is not read")
        )
        return {}

    def _generic(self, name: str, inner: list[ast.expr], module: Module, found: ast.expr) -> JSON:
        if name == "Optional":
            return _any_of([self._type(inner[0], module), {"type": "null"}])
        if name == "Union":
            return _any_of([self._type(i, module) for i in inner])
        if name in ("Annotated", "Required", "NotRequired", "ClassVar", "Final"):
            return self._type(inner[0], module)
        if name == "Literal":
            values = [self.value(i, module) for i in inner]
            return {"enum": values}
        if name in ("list", "List", "Sequence", "set", "Set", "frozenset", "Iterable"):
            return {"type": "array", "items": self._type(inner[0], module)}
        if name in ("tuple", "Tuple"):
            if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
                return {"type": "array", "items": self._type(inner[0], module)}
            return {
                "type": "array",
                "prefixItems": [self._type(i, module) for i in inner],
                "items": False,
                "minItems": len(inner),
            }
        if name in ("dict", "Dict", "Mapping") and len(inner) == 2:
            further = self._type(inner[1], module)
            return {"type": "object", "additionalProperties": further} if further != {} else {"type": "object"}
        self._notes.append(
            Note(module.path, found.lineno, f"the type `{_short(found)}` may be anything: it is not read")
        )
        return {}


def _any_of(parts: list[JSON]) -> JSON:
    if {} in parts:
        return {}
    words: list[JSON] = [
        p["type"] for p in parts if isinstance(p, dict) and set(p) == {"type"} and isinstance(p["type"], str)
    ]
    return {"type": words} if len(words) == len(parts) else {"anyOf": parts}


def _last(found: ast.expr) -> str:
    """`BaseModel` of `pydantic.BaseModel`, `List` of `List[int]`."""
    if isinstance(found, ast.Subscript):
        return _last(found.value)
    return found.attr if isinstance(found, ast.Attribute) else found.id if isinstance(found, ast.Name) else ""


def _short(found: ast.expr) -> str:
    text = " ".join(ast.unparse(found).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _read(tree: ast.Module, module: Module) -> None:
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            module.functions[statement.name] = statement.lineno
        elif isinstance(statement, ast.ClassDef):
            module.classes[statement.name] = statement
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            module.values[statement.targets[0].id] = statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            module.values[statement.target.id] = statement.value
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                source = "." * statement.level + (statement.module or "")
                module.imports[alias.asname or alias.name] = source, alias.name
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                module.imports[alias.asname or alias.name.partition(".")[0]] = alias.name, ""
