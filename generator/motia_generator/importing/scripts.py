"""TypeScript and JavaScript files of a project: what their constants are, followed through imports of files of the project. Nothing is run."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

import msgspec

from motia_generator.importing import zod
from motia_generator.importing.expressions import (
    Array,
    Binary,
    Call,
    Constant,
    Expression,
    Function,
    Member,
    Name,
    Object,
    Regex,
    Spread,
    Template,
)
from motia_generator.importing.modules import Module, read
from motia_generator.importing.values import Code, Note, Shape, Unknown, Value
from motia_generator.importing.zod import Lazy, Zod
from motia_spec.names import pascal, unused
from motia_spec.script import Unreadable, tokens

_ENDINGS = ("", ".ts", ".js", ".mts", ".mjs", ".cjs", "/index.ts", "/index.js")
_ZOD = ("zod", "zod/v4", "zod/v3", "zod/mini", "zod/v4/core")


class Scripts:
    """The files of one project, each read once. `notes` collects what is left out; `shared` the schemas that get a name. Lives as long as one import."""

    def __init__(self, root: Path, notes: list[Note]) -> None:
        self._root = root
        self._notes = notes
        self._modules: dict[str, Module] = {}
        self._values: dict[tuple[str, str], Value] = {}
        self._open: set[tuple[str, str]] = set()
        self._recursive: set[tuple[str, str]] = set()
        self._names: dict[tuple[str, str], str] = {}
        self.shared: dict[str, object] = {}  # name in `schemas:` -> JSON Schema

    def module(self, path: str) -> Module:
        found = self._modules.get(path)
        if found is None:
            found = self._modules[path] = Module(path)
            try:
                read(tokens((self._root / path).read_bytes()), found)
            except Unreadable as fault:
                found.fault = Note(path, fault.line, f"the file can't be read: {fault.reason}")
            except OSError as fault:
                found.fault = Note(path, 1, f"the file can't be read: {(fault.strerror or 'no file').lower()}")
        return found

    def exported(self, path: str, name: str) -> Value | None:
        """The value that a file exports under a name; None when it exports none."""
        module = self.module(path)
        local = module.exports.get(name)
        return None if local is None else self._named(local, module, 1)

    def _named(self, name: str, module: Module, line: int) -> Value:
        """The value of a name of a file."""
        if name in module.constants:
            return self._constant(name, module)
        if name in module.functions:
            exported = next((outer for outer, inner in module.exports.items() if inner == name), "")
            return Code(module.path, exported, module.functions[name])
        if name in module.enums:
            return module.enums[name]
        if name in module.imports:
            return self._imported(name, module, line)
        return Unknown(f"{name!r}, which the file does not define,", line, module.path)

    def _constant(self, name: str, module: Module) -> Value:
        key = module.path, name
        if key in self._open:  # a schema that has itself in it
            self._recursive.add(key)
            return Shape({"$ref": f"#/schemas/{self._schema_name(key)}"})
        if key not in self._values:
            self._open.add(key)
            expression = module.constants[name]
            value = self.value(expression, module)
            self._open.discard(key)
            if isinstance(value, Code) and not value.name:
                exported = next((outer for outer, inner in module.exports.items() if inner == name), "")
                value = Code(module.path, exported, expression.line)
            shown = isinstance(value, Shape) and value.members is not None and name in module.exports.values()
            if isinstance(value, Shape) and value.key is None and (shown or key in self._recursive):
                named = self._schema_name(key)
                self.shared[named] = value.value
                value = Shape({"$ref": f"#/schemas/{named}"}, value.optional, value.members, key)
            self._values[key] = value
        return self._values[key]

    def _schema_name(self, key: tuple[str, str]) -> str:
        if key not in self._names:
            words = pascal(key[1])
            name = words.removesuffix("Schema") or words
            self._names[key] = unused(name, set(self._names.values()))
        return self._names[key]

    def _imported(self, name: str, module: Module, line: int) -> Value:
        key = module.path, f"import {name}"
        if key in self._open:
            return Unknown(f"{name!r}, which leads back to itself,", line, module.path)
        self._open.add(key)
        try:
            return self._followed(name, module, line)
        finally:
            self._open.discard(key)

    def _followed(self, name: str, module: Module, line: int) -> Value:
        source, there = module.imports[name]
        if source in _ZOD:
            return Zod() if there in ("*", "z", "default") else Unknown(f"{name!r} of zod", line, module.path)
        if source == "zod-to-json-schema":
            return Zod("toJSONSchema")
        if not source.startswith("."):
            return Unknown(f"{name!r} of the package {source!r}", line, module.path)
        path = self._resolve(module.path, source)
        if path is None:
            return Unknown(f"{name!r} of {source!r}, which is no file of the project,", line, module.path)
        other = self.module(path)
        if there == "*":
            return {outer: self._named(inner, other, line) for outer, inner in other.exports.items()}
        local = other.exports.get(there)
        if local is None:
            return Unknown(f"{name!r}, which {path} does not export,", line, module.path)
        return self._named(local, other, line)

    def _resolve(self, path: str, source: str) -> str | None:
        base = posixpath.normpath(posixpath.join(posixpath.dirname(path), source))
        if base.startswith(".."):
            return None
        stems = [base, base.removesuffix(".js")] if base.endswith(".js") else [base]
        candidates = [stem + ending for stem in stems for ending in _ENDINGS]
        return next((c for c in candidates if (self._root / c).is_file()), None)

    def _tell(self, module: Module, line: int, text: str) -> None:
        self._notes.append(Note(module.path, line, text))

    def value(self, found: Expression, module: Module) -> Value:
        """The value of an expression of a file."""
        if isinstance(found, Constant):
            return found.value
        if isinstance(found, Name):
            return self._named(found.name, module, found.line)
        if isinstance(found, Object):
            return self._object(found, module)
        if isinstance(found, Array):
            return self._array(found, module)
        if isinstance(found, Template):
            return self._template(found, module)
        if isinstance(found, Call):
            return self._call(found, module)
        if isinstance(found, Member):
            return self._member(found, module)
        if isinstance(found, Function):
            return Code(module.path, "", found.line) if found.body is None else Lazy(found)
        if isinstance(found, Regex):
            body, _, flags = found.source[1:].rpartition("/")
            return (
                Unknown("a regular expression with flags", found.line, module.path)
                if flags.strip("u")
                else Shape({"pattern": body})
            )
        if isinstance(found, Binary):
            return self._binary(found, module)
        return Unknown(getattr(found, "what", "an expression"), found.line, module.path)

    def _object(self, found: Object, module: Module) -> Value:
        rows: dict[str, Value] = {}
        for key, expression in found.rows:
            if isinstance(expression, Spread):
                value = self.value(expression.of, module)
                if isinstance(value, dict):
                    rows.update(value)
                else:
                    self._tell(module, expression.line, "what `...` puts in here is not read")
            else:
                rows[key] = self._settled(self.value(expression, module), module)
        return rows

    def _array(self, found: Array, module: Module) -> Value:
        items: list[Value] = []
        for expression in found.items:
            if isinstance(expression, Spread):
                value = self.value(expression.of, module)
                items += (
                    value
                    if isinstance(value, list)
                    else [Unknown("what `...` puts in here", expression.line, module.path)]
                )
            else:
                items.append(self._settled(self.value(expression, module), module))
        return items

    def _settled(self, value: Value, module: Module) -> Value:
        """A function that was kept for `z.lazy` is an ordinary one anywhere else."""
        return Code(module.path, "", value.value.line) if isinstance(value, Lazy) else value

    def _template(self, found: Template, module: Module) -> Value:
        text = found.strings[0]
        for part, after in zip(found.parts, found.strings[1:], strict=True):
            value = self.value(part, module)
            if not isinstance(value, str | int | float):
                return Unknown("a template", found.line, module.path)
            text += f"{value}{after}"
        return text

    def _binary(self, found: Binary, module: Module) -> Value:
        left, right = self.value(found.left, module), self.value(found.right, module)
        if found.operator in ("??", "||") and not isinstance(left, Unknown):
            return left if left else right
        if found.operator == "+" and isinstance(left, str) and isinstance(right, str):
            return left + right
        numbers = [v for v in (left, right) if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == 2 and found.operator in ("+", "-", "*"):
            a, b = numbers
            return a + b if found.operator == "+" else a - b if found.operator == "-" else a * b
        return Unknown("a calculation", found.line, module.path)

    def _call(self, found: Call, module: Module) -> Value:
        def tell(line: int, text: str) -> None:
            self._tell(module, line, text)

        arguments = list(self._arguments(found, module))
        if isinstance(found.function, Name):
            target = self.value(found.function, module)
            if isinstance(target, Zod) and target.part:  # it is imported by its own name
                return zod.construct(target, target.part, arguments, found.line, tell)
            source = module.imports.get(found.function.name, ("", ""))[0]
            if (
                source == "motia" and arguments
            ):  # `config({...})`, `defineConfig({...})`: it gives back what it is given
                return self._settled(arguments[0], module)
            return Unknown(f"the result of {found.function.name}()", found.line, module.path)
        if isinstance(found.function, Member):
            target = self.value(found.function.of, module)
            if isinstance(target, Zod):
                return self._located(zod.construct(target, found.function.name, arguments, found.line, tell), module)
            if isinstance(target, Shape):
                return self._located(zod.method(target, found.function.name, arguments, found.line, tell), module)
            if isinstance(target, Unknown):
                return target
            return Unknown(f"the result of .{found.function.name}()", found.line, module.path)
        return Unknown("the result of a call", found.line, module.path)

    def _located(self, value: Value, module: Module) -> Value:
        return (
            msgspec.structs.replace(value, file=module.path) if isinstance(value, Unknown) and not value.file else value
        )

    def _arguments(self, found: Call, module: Module) -> Iterator[Value]:
        for argument in found.arguments:
            value = self.value(argument, module)
            if isinstance(value, Lazy) and isinstance(value.value, Function) and value.value.body is not None:
                value = Lazy(self.value(value.value.body, module))
            yield value

    def _member(self, found: Member, module: Module) -> Value:
        target = self.value(found.of, module)
        if isinstance(target, Zod):
            return Zod(found.name)
        if isinstance(target, Shape):
            if found.name == "shape" and target.members is not None:
                return dict(target.members)
            inside = target.value.get("items") if isinstance(target.value, dict) else None
            if found.name == "element" and inside is not None:
                return Shape(inside)
            if found.name in ("enum", "options") and isinstance(target.value, dict) and "enum" in target.value:
                values = target.value["enum"]
                assert isinstance(values, list)
                return values if found.name == "options" else {str(v): v for v in values}
        if isinstance(target, dict) and found.name in target:
            return target[found.name]
        if isinstance(target, Unknown):
            return target
        return Unknown(f"the member {found.name!r}", found.line, module.path)
