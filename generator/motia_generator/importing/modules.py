"""What a TypeScript or JavaScript file says at its top: its constants, functions, imports and exports, each as it is written."""

from __future__ import annotations

import msgspec

from motia_generator.importing.expressions import Constant, Expression, Name, Object, parse
from motia_generator.importing.values import Note, Value
from motia_spec.script import Token


class Module(msgspec.Struct):
    """One file: what its names are."""

    path: str
    constants: dict[str, Expression] = {}
    functions: dict[str, int] = {}  # name -> line
    enums: dict[str, dict[str, Value]] = {}
    imports: dict[str, tuple[str, str]] = {}  # local name -> (module, name there; "*" for all of it)
    exports: dict[str, str] = {}  # exported name -> local name
    fault: Note | None = None


def read(found: list[Token], module: Module) -> None:
    """The names of a file, from its statements at the top."""
    at, depth = 0, 0
    while at < len(found):
        token = found[at]
        if token.kind == "mark":
            depth += token.text in ("(", "[", "{")
            depth -= token.text in (")", "]", "}")
        if depth == 0 and token.kind == "name":
            if token.text == "import":
                at = _import(found, at + 1, module)
                continue
            if token.text == "export":
                at = _export(found, at + 1, module)
                continue
            if token.text in ("const", "let", "var", "function", "async", "class", "enum"):
                at = _declaration(found, at, module, exported=False)
                continue
            if token.text in ("module", "exports"):
                at = _common(found, at, module)
                continue
        at += 1


def _text(found: list[Token], at: int) -> str:
    return found[at].text if at < len(found) and found[at].kind in ("mark", "name") else ""


def _import(found: list[Token], at: int, module: Module) -> int:
    """`import a, { b as c } from "x"`, `import * as z from "x"`."""
    rows: list[tuple[str, str]] = []
    while at < len(found) and found[at].kind != "string" and not (found[at].text == "(" and not rows):
        word = _text(found, at)
        if word == "*" and _text(found, at + 1) == "as":
            rows.append((_text(found, at + 2), "*"))
            at += 3
        elif word == "as":
            rows[-1] = (_text(found, at + 1), rows[-1][1])
            at += 2
        else:
            if found[at].kind == "name" and word not in ("from", "type"):
                inside = _text(found, at - 1) in ("{", ",") or _text(found, at - 1) == "type"
                rows.append((word, word if inside else "default"))
            at += 1
    if at < len(found) and found[at].kind == "string":
        for local, there in rows:
            module.imports[local] = found[at].text, there
    return at + 1


def _export(found: list[Token], at: int, module: Module) -> int:
    word = _text(found, at)
    if word == "{":
        end = next((n for n in range(at, len(found)) if _text(found, n) == "}"), len(found))
        source = found[end + 2].text if _text(found, end + 1) == "from" and end + 2 < len(found) else None
        row: list[str] = []
        for token in found[at + 1 : end + 1]:
            if token.text in (",", "}"):
                if row and row[0] != "type":
                    module.exports[row[-1]] = row[0]
                    if source is not None:
                        module.imports[row[0]] = source, row[0]
                row = []
            else:
                row.append(token.text)
        return end + 1
    if word == "default":
        if _text(found, at + 1) in ("async", "function", "class"):
            return _declaration(found, at + 1, module, exported=True)
        module.constants["default"], after = parse(found, at + 1)
        module.exports["default"] = "default"
        return max(after, at + 1)
    return _declaration(found, at, module, exported=True)


def _declaration(found: list[Token], at: int, module: Module, *, exported: bool) -> int:
    """One of `const`, `function`, `class`, `enum`; anything else is stepped over."""
    while _text(found, at) in ("async", "declare") or (_text(found, at) == "const" and _text(found, at + 1) == "enum"):
        at += 1
    word, name = _text(found, at), _text(found, at + 1)
    if word == "function" and name == "*":
        at, name = at + 1, _text(found, at + 2)
    if word in ("function", "class"):
        module.functions[name] = found[at].line
    elif word == "enum":
        module.enums[name] = _enum(found, at + 3)
    elif word in ("const", "let", "var"):
        if name == "{":
            return _required(found, at + 1, module)
        equals = _equals(found, at + 2)
        if equals is None:
            return at + 1
        if _text(found, equals + 1) == "require" and equals + 3 < len(found) and found[equals + 3].kind == "string":
            module.imports[name] = found[equals + 3].text, "*"
            return equals + 5
        module.constants[name], after = parse(found, equals + 1)
        if exported:
            module.exports[name] = name
        return max(after, equals + 1)
    else:
        return at + 1
    if exported:
        module.exports[name] = name
    return at + 2


def _equals(found: list[Token], at: int) -> int | None:
    """The `=` of a declaration, behind the type if it has one."""
    depth = 0
    for number in range(at, min(at + 400, len(found))):
        word = _text(found, number)
        if word == "=" and depth == 0:
            return number
        if word == ";" and depth == 0:
            return None
        depth += word in ("(", "[", "{", "<")
        depth -= word in (")", "]", "}", ">")
    return None


def _required(found: list[Token], at: int, module: Module) -> int:
    """`const { a, b: c } = require("./x")`."""
    end = next((n for n in range(at, len(found)) if _text(found, n) == "}"), len(found))
    if _text(found, end + 1) == "=" and _text(found, end + 2) == "require" and end + 4 < len(found):
        row: list[str] = []
        for token in found[at + 1 : end + 1]:
            if token.text in (",", "}"):
                if row:
                    module.imports[row[-1]] = found[end + 4].text, row[0]
                row = []
            elif token.text != ":":
                row.append(token.text)
        return end + 6
    return end + 1


def _enum(found: list[Token], at: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    number = 0
    while at < len(found) and _text(found, at) != "}":
        name = found[at].text
        at += 1
        if _text(found, at) == "=":
            expression, at = parse(found, at + 1)
            values[name] = expression.value if isinstance(expression, Constant) else name
        else:
            values[name] = number
        last = values[name]
        number = int(last) + 1 if isinstance(last, int | float) else 0
        at += _text(found, at) == ","
    return values


def _common(found: list[Token], at: int, module: Module) -> int:
    """`module.exports = { ... }` and `exports.name = ...`."""
    at += 3 if _text(found, at) == "module" and _text(found, at + 1) == "." else 1
    name = ""
    if _text(found, at) == ".":
        name = _text(found, at + 1)
        at += 2
    if _text(found, at) != "=":
        return at + 1
    expression, after = parse(found, at + 1)
    rows = [(name, expression)] if name else expression.rows if isinstance(expression, Object) else ()
    for key, value in rows:
        if isinstance(value, Name):
            module.exports[key] = value.name
        elif key:
            local = f"exports.{key}"  # no name of the file can be that
            module.constants[local] = value
            module.exports[key] = local
    return max(after, at + 1)
